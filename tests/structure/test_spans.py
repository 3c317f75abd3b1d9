"""How long a recording plays, as its head tells it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maie_aiohttp.formats import BY_NAME, FORMATS, span
from maie_aiohttp.structure import aiff, au, flac, mp4, mpeg, riff, w64
from tests import audio
from tests.structure import headers

TOLD = {"wav", "w64", "flac", "mp4", "aiff", "au", "mp3"}
SECONDS = len(headers.SPEECH) / 32_000
UNTOLD = {"wav-adpcm", "wav-ima-adpcm", "mp3-bare", "mp2", "mp4-fragmented", "m4a-index-beyond-head"}
"""Where the head does not say: nothing is reckoned from average rates, and an index may come later."""


@pytest.mark.parametrize("name", audio.NAMES)
def test_of_what_encoders_write(name: str) -> None:
    sample = audio.sample(name)
    told = span(BY_NAME[sample.format], sample.content[:65_536])
    if sample.format in TOLD and name not in UNTOLD:
        assert told == pytest.approx(1.2, abs=0.1)
    else:
        assert told is None


@pytest.mark.parametrize("form", [b"RIFF", b"RIFX"])
def test_a_wav_says_so_by_the_size_of_its_samples(form: bytes) -> None:
    order = ">" if form == b"RIFX" else "<"
    assert riff.span(headers.wav(form=form, fmt=headers.wave_format(order=order))) == SECONDS
    assert riff.span(headers.wav(form=form, fmt=headers.wave_format(tag=7, bits=8, order=order))) == 2 * SECONDS


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0xFFFFFFFF - 44, 0x7FFFFFFF, 0x7FFFFFFF - 36])
def test_a_wav_that_was_written_to_a_pipe_does_not_say(size: int) -> None:
    """As FFmpeg, SoX and others write it."""
    content = headers.wav()
    at = content.index(b"data") + 4
    assert riff.span(content[:at] + struct.pack("<I", size) + content[at + 4 :]) is None


def test_a_wav_of_more_than_four_gigabytes_says_so_elsewhere() -> None:
    large = headers.chunk(b"ds64", struct.pack("<QQQI", 0, 32_000 * 86_400 * 3, 0, 0))
    content = headers.wav(form=b"RF64", before=large)
    at = content.index(b"data") + 4
    assert riff.span(content[:at] + b"\xff" * 4 + content[at + 4 :]) == 3 * 86_400


def test_wave64_aiff_and_au() -> None:
    assert w64.span(headers.w64()) == SECONDS
    assert aiff.span(headers.aiff()) == 1000 / 16_000
    assert au.span(headers.au()) is None
    size, known = headers.au().index(b"\xff\xff\xff\xff"), struct.pack(">I", 64_000)
    assert au.span(headers.au()[:size] + known + headers.au()[size + 4 :]) == 2
    adpcm = headers.au(encoding=23)
    assert au.span(adpcm[:size] + known + adpcm[size + 4 :]) is None


def test_flac_counts_samples() -> None:
    for count in (0, 16_000, (1 << 36) - 1):
        info = headers.stream_info()
        number = int.from_bytes(info[10:18], "big") | count
        block = b"\x80\0\0\x22" + info[:10] + number.to_bytes(8, "big") + info[18:]
        assert flac.span(headers.id3() + b"fLaC" + block) == (count / 16_000 if count else None)


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"\0" * 12 + struct.pack(">II", 1000, 90_000), 90),
        (b"\1" + b"\0" * 19 + struct.pack(">IQ", 1000, 1 << 40), (1 << 40) / 1000),
        (b"\0" * 12 + struct.pack(">II", 1000, 0xFFFFFFFF), None),
        (b"\1" + b"\0" * 19 + struct.pack(">IQ", 1000, (1 << 64) - 1), None),
        (b"\0" * 12 + struct.pack(">II", 0, 90_000), None),
        (b"", None),
    ],
)
def test_mp4_says_so_in_the_movies_header(header: bytes, seconds: float | None) -> None:
    assert mp4.span(box(b"ftyp", b"M4A \0\0\0\0") + box(b"moov", box(b"mvhd", header))) == seconds


def test_mp3_counts_frames_in_a_first_one_without_sound() -> None:
    tag = b"Info" + struct.pack(">II", 1, 1000)
    stereo, mono = headers.mp3_frame()[:4], b"\xff\xfb\x90\xc0"
    assert mpeg.span(headers.id3() + stereo + bytes(32) + tag) == 1000 * 1152 / 44_100
    assert mpeg.span(mono + bytes(17) + tag) == 1000 * 1152 / 44_100
    assert mpeg.span(headers.mpeg2_frame()[:4] + bytes(17) + b"Xing" + tag[4:]) == 1000 * 576 / 16_000
    assert mpeg.span(stereo + bytes(32) + b"Info" + bytes(8)) is None
    assert mpeg.span(headers.mp2_frame() * 3) is None


@pytest.mark.parametrize("name", sorted(TOLD))
@settings(deadline=None)
@given(st.data())
def test_no_head_makes_it_raise(name: str, data: st.DataObject) -> None:
    """Whatever a probe has let through."""
    sample = next(sample for sample in audio.samples() if sample.format == name).content[:4096]
    content = bytearray(sample)
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, min(256, len(content) - 1)))] = data.draw(st.integers(0, 255))
    head = bytes(content[: data.draw(st.integers(0, len(content)))])
    format = BY_NAME[name]
    if format.probe(head, True).name not in ("NONE", "VIDEO"):
        told = span(format, head)
        assert told is None or told > 0


def test_every_format_that_tells_is_one() -> None:
    assert {format.name for format in FORMATS} >= TOLD
