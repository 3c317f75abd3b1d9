"""Whether there is anything to hear, and whether it was too loud for whoever recorded it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from maie_aiohttp.inspection.sound import Samples

QUIET = 2.0**-10
"""Of full scale, -60 dB: what swings less is noise that converters make by themselves."""

FULL = 0.9999
"""Of full scale: encoders differ in what they make of the last bits."""

RUN = 3
"""Samples in a row at full scale: a wave that just reaches it has one or two."""

RUNS = 10
"""So many runs are no accident."""


class Loudness:
    """Hears a recording, block by block."""

    def __init__(self) -> None:
        self._swing = 0.0
        self._runs = 0

    def hear(self, block: Samples) -> None:
        """The next one."""
        low, high = block.min(axis=1), block.max(axis=1)
        self._swing = max(self._swing, float((high - low).max()) / 2)
        if max(float(high.max()), -float(low.min())) >= FULL:
            self._runs += _runs(block)

    @property
    def is_silent(self) -> bool:
        """Whether nothing was heard; a constant is nothing."""
        return self._swing < QUIET

    @property
    def is_clipped(self) -> bool:
        """Whether tops are cut off."""
        return self._runs >= RUNS


def _runs(block: Samples) -> int:
    full = np.abs(block) >= FULL
    long = full[:, : 1 - RUN] & full[:, 1 : 2 - RUN] & full[:, RUN - 1 :]
    return int(np.count_nonzero(long[:, :1]) + np.count_nonzero(long[:, 1:] & ~long[:, :-1]))
