"""Outlines: what is kept of a recording's samples, and how it is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maie_aiohttp.inspection import envelope
from maie_aiohttp.inspection.envelope import FIRST, FULL_SCALE, Envelope
from maie_aiohttp.inspection.sound import Samples
from maie_aiohttp.model import Outline
from maie_aiohttp.pages.waveform import drawn


def noise(samples: int, channels: int = 1) -> Samples:
    """The same each time."""
    found: Samples = np.random.default_rng(samples).uniform(-1, 1, (channels, samples)).astype(np.float32)
    return found


def by_hand(mono: Samples, stretch: int) -> list[tuple[int, int]]:
    stretches = (mono[at : at + stretch] for at in range(0, len(mono), stretch))
    return [(rounded(part.min()), rounded(part.max())) for part in stretches]


def rounded(value: np.float32) -> int:
    return int(np.rint(value * np.float32(FULL_SCALE)))


@settings(deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=12), st.integers(2, 30).map(lambda half: 2 * half))
def test_is_the_lowest_and_the_highest_however_the_blocks_come(blocks: list[int], most: int) -> None:
    sound = noise(sum(blocks))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(envelope, "MOST", most)
        drawing, at = Envelope(), 0
        for size in blocks:
            drawing.see(sound[:, at : at + size])
            at += size
        pairs = [(int(low), int(high)) for low, high in drawing.pairs()]
    assert len(pairs) <= most
    assert drawing.stretch == FIRST or len(pairs) >= most // 2
    assert pairs == by_hand(sound[0], drawing.stretch)


def test_channels_are_mixed() -> None:
    drawing, sound = Envelope(), noise(160, channels=2)
    drawing.see(sound)
    assert drawing.pairs().tolist() == [list(pair) for pair in by_hand(sound.mean(axis=0), FIRST)]


def test_what_is_too_loud_is_cut_off() -> None:
    drawing = Envelope()
    drawing.see(np.array([[8.0, -8.0] * 8], np.float32))
    assert drawing.pairs().tolist() == [[-32_768, 32_767]]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-32_768, 0), st.integers(0, 32_767)), min_size=1, max_size=200),
    st.integers(1, 250),
)
def test_is_drawn_in_so_many_points_or_fewer(pairs: list[tuple[int, int]], points: int) -> None:
    outline = Outline(8_000, 16, np.array(pairs, "<i2").tobytes())
    said = drawn(outline, points)
    width = -(-len(pairs) // points)
    groups = [pairs[at : at + width] for at in range(0, len(pairs), width)]
    assert said["samples_per_pixel"] == 16 * width
    assert said["length"] == len(groups) <= points
    assert said["data"] == [
        peak for group in groups for peak in (min(low for low, _ in group), max(high for _, high in group))
    ]
