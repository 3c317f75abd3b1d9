"""Streams known by their frames: MP3, AAC, AMR, AC-3, DTS, LOAS."""

from __future__ import annotations

import random

import pytest

from maie_aiohttp.structure import ac3, adts, dts, mpeg
from maie_aiohttp.structure import amr as amr_family
from maie_aiohttp.structure.evidence import Evidence, Probe
from tests.structure.headers import (
    ac3_frame,
    adts_frame,
    amr,
    amr_wide,
    dts_extension,
    dts_frame,
    eac3_frame,
    id3,
    mp1_frame,
    mp2_frame,
    mp3_frame,
    mpeg2_frame,
)

NOISE = random.Random(3).randbytes(70_000)
STREAMS: list[tuple[Probe, bytes]] = [(mpeg.probe, mp3_frame()), (adts.probe, adts_frame())]

each_stream = pytest.mark.parametrize(("probe", "frame"), STREAMS, ids=["mp3", "aac"])


@pytest.mark.parametrize("frame", [mp1_frame(), mp2_frame(), mp3_frame(), mpeg2_frame()])
def test_layers_and_versions_of_mpeg(frame: bytes) -> None:
    assert mpeg.probe(frame * 3, True) is Evidence.AUDIO


@pytest.mark.parametrize("header", ["fffb0000", "fffbf000", "fffb9c00", "ffeb9000", "fff99000", "fffaffff"])
def test_forbidden_mpeg_headers_are_no_frames(header: str) -> None:
    assert mpeg.probe((bytes.fromhex(header) + bytes(413)) * 5, True) is Evidence.NONE


def test_bit_rates_may_change_between_frames_but_not_sample_rates() -> None:
    slow = b"\xff\xfb\x50\0" + bytes(204)
    other = b"\xff\xfb\x94\0" + bytes(380)
    assert mpeg.probe(mp3_frame() + slow + mp3_frame(), True) is Evidence.AUDIO
    assert mpeg.probe((mp3_frame() + other) * 4, True) is Evidence.NONE


@each_stream
@pytest.mark.parametrize("before", [b"", bytes(3000), id3(), id3() + id3(), id3(footer=True), id3() + bytes(1200)])
def test_tags_and_zeros_may_stand_in_front(probe: Probe, frame: bytes, before: bytes) -> None:
    assert probe(before + frame * 5, True) is Evidence.AUDIO


@each_stream
def test_a_capture_may_begin_inside_a_frame(probe: Probe, frame: bytes) -> None:
    assert probe(b"\x81" * 150 + frame * 5, True) is Evidence.AUDIO
    assert probe(b"\x81" * 9000 + frame * 50, True) is Evidence.NONE


@each_stream
def test_frames_behind_text_are_refused(probe: Probe, frame: bytes) -> None:
    assert probe(b"<!DOCTYPE html><p>" * 20 + frame * 20, True) is Evidence.NONE


@each_stream
def test_one_frame_before_noise_or_text_is_refused(probe: Probe, frame: bytes) -> None:
    assert probe(frame + NOISE, False) is Evidence.NONE
    assert probe(frame + b"<p>Hello</p>" * 1000, False) is Evidence.NONE


@each_stream
@pytest.mark.parametrize("after", [b"", b"TAG" + bytes(125), b"APETAGEX" + bytes(24), bytes(50)])
def test_a_short_file_may_end_in_a_tag(probe: Probe, frame: bytes, after: bytes) -> None:
    assert probe(frame + after, True) is Evidence.AUDIO


@each_stream
def test_a_short_file_may_end_inside_its_second_frame_but_not_its_first(probe: Probe, frame: bytes) -> None:
    assert probe(frame + frame[:-5], True) is Evidence.AUDIO
    assert probe(frame[:-5], True) is Evidence.NONE


@each_stream
def test_a_tag_longer_than_the_head_leaves_it_open(probe: Probe, frame: bytes) -> None:
    content = id3(bytes(100_000)) + frame * 5
    assert probe(content[:65_536], False) is Evidence.PROVISIONAL
    assert probe(content[:65_536], True) is Evidence.NONE
    assert probe(content, True) is Evidence.AUDIO


@each_stream
def test_a_tag_that_ends_just_before_the_head_does_leaves_it_open(probe: Probe, frame: bytes) -> None:
    content = id3(bytes(65_536 - 10 - len(frame) - 2)) + frame * 5
    assert probe(content[:65_536], False) is Evidence.PROVISIONAL


@each_stream
def test_zeros_alone_promise_nothing(probe: Probe, frame: bytes) -> None:
    assert probe(bytes(65_536), False) is Evidence.NONE
    assert probe(bytes(70_000) + frame * 5, True) is Evidence.AUDIO


@each_stream
@pytest.mark.parametrize("tag", [b"ID3\x09\0\0\0\0\0\x10", b"ID3\3\0\0\x80\0\0\x10", b"ID3\3\0"])
def test_a_broken_tag_is_not_skipped(probe: Probe, frame: bytes, tag: bytes) -> None:
    assert probe(tag + b"<p>Hello</p>" * 100 + frame, True) is Evidence.NONE


def test_mpeg_layers_and_aac_are_told_apart() -> None:
    assert mpeg.probe(adts_frame() * 10, True) is Evidence.NONE
    assert adts.probe(mp3_frame() * 10, True) is Evidence.NONE


@pytest.mark.parametrize("content", [amr(), amr(1), amr_wide(), amr()[:-10], amr() + bytes(20)])
def test_amr(content: bytes) -> None:
    assert amr_family.probe(content, True) is Evidence.AUDIO


@pytest.mark.parametrize("content", [b"#!AMR\n", b"#!AMR\n<html><p>Hello", b"#!AMR\n\x4c" + bytes(30), b"#!AMR"])
def test_amr_without_frames_is_refused(content: bytes) -> None:
    assert amr_family.probe(content, True) is Evidence.NONE


def test_ac3_and_eac3_are_told_apart() -> None:
    assert ac3.probe_ac3(ac3_frame() * 3, True) is Evidence.AUDIO
    assert ac3.probe_eac3(eac3_frame() * 3, True) is Evidence.AUDIO
    assert ac3.probe_ac3(eac3_frame() * 3, True) is Evidence.NONE
    assert ac3.probe_eac3(ac3_frame() * 3, True) is Evidence.NONE
    assert ac3.probe_ac3(ac3_frame() + NOISE, False) is Evidence.NONE


def test_dts_with_and_without_its_extension() -> None:
    assert dts.probe(dts_frame() * 3, True) is Evidence.AUDIO
    assert dts.probe((dts_frame() + dts_extension()) * 3, True) is Evidence.AUDIO
    assert dts.probe(dts_frame() + NOISE, False) is Evidence.NONE
