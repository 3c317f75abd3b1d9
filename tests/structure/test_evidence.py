"""What every probe promises, whatever the bytes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maie_aiohttp.formats import FORMATS, Format
from maie_aiohttp.structure.evidence import Evidence
from tests.structure import headers

KIB64 = 65_536

WHOLE: dict[str, bytes] = {
    "wav": headers.wav(),
    "w64": headers.w64(),
    "flac": headers.flac(),
    "ogg": headers.ogg(b"OpusHead"),
    "webm": headers.matroska(headers.track(2)),
    "matroska": headers.matroska(headers.track(2), doc_type=b"matroska"),
    "mp4": headers.mp4(b"soun"),
    "aiff": headers.aiff(),
    "au": headers.au(),
    "amr": headers.amr(),
    "caf": headers.caf(),
    "wma": headers.asf(headers.ASF_AUDIO),
    "mp3": headers.mp3_frame() * 10,
    "aac": headers.adts_frame() * 10,
    "ac3": headers.ac3_frame() * 10,
    "eac3": headers.eac3_frame() * 10,
    "dts": headers.dts_frame() * 10,
    "ape": headers.ape(),
    "mpc7": headers.mpc7(),
    "mpc8": headers.mpc8(),
    "wavpack": headers.wavpack_block() * 10,
    "tta": headers.tta(),
    "tak": headers.tak(),
    "dsf": headers.dsf(),
    "dff": headers.dff(),
    "latm": headers.loas_frame() * 10,
}
NOISE = random.Random(7).randbytes(20_000)
LINEAR = {"wav", "w64", "aiff", "au", "caf"}

HOSTILE: dict[str, bytes] = {
    "zeros": bytes(KIB64),
    "ones": b"\xff" * KIB64,
    "newlines": b"\n" * KIB64,
    "sync words": b"\xff\xfb\x90\0" * (KIB64 // 4),
    "tags": headers.id3(b"") * (KIB64 // 10),
    "empty chunks": b"RIFF\xff\xff\xff\xffWAVE" + b"JUNK\0\0\0\0" * (KIB64 // 8),
    "tiny elements": headers.matroska(before=b"\xec\x80" * (KIB64 // 2)),
    "tiny tracks": headers.matroska(b"\xae\x80" * (KIB64 // 2)),
    "nested boxes": b"\x00\x00\xff\xffmoov" * (KIB64 // 8),
    "empty boxes": headers.box(b"moov", headers.box(b"trak") * (KIB64 // 8)),
    "empty pages": headers.ogg_page(b"", flags=2) * (KIB64 // 28),
    "empty blocks": b"fLaC\0\0\0\x22" + headers.stream_info() + b"\1\0\0\0" * (KIB64 // 4),
}

each_format = pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)


@each_format
def test_a_file_of_the_format_is_recognised(row: Format) -> None:
    content = WHOLE[row.name]
    found = row.probe(content[:KIB64], len(content) <= KIB64)
    assert found is (Evidence.LINEAR_PCM if row.name in LINEAR else Evidence.AUDIO)


@each_format
def test_files_of_other_formats_are_not_taken_for_it(row: Format) -> None:
    others = (content[:KIB64] for name, content in WHOLE.items() if name != row.name)
    assert {row.probe(other, False) for other in others} == {Evidence.NONE}


@pytest.mark.parametrize("row", [row for row in FORMATS if row.name != "mpc7"], ids=lambda row: row.name)
def test_its_magic_with_text_or_noise_behind_is_not_it(row: Format) -> None:
    """Except Musepack 7, whose header has too little in it to be wrong: the decoder decides."""
    content = WHOLE[row.name]
    for junk in (b"<!DOCTYPE html><p>Hello</p>" * 200, NOISE):
        assert row.probe(content[:12] + junk, True) in (Evidence.NONE, Evidence.VIDEO)


@each_format
def test_a_header_alone_never_counts_as_samples(row: Format) -> None:
    """What needs no decoder has shown its samples; every other prefix has yet to."""
    content = WHOLE[row.name]
    for length in range(40):
        assert row.probe(content[:length], False) is not Evidence.LINEAR_PCM or row.name == "au"


@each_format
@pytest.mark.parametrize("head", HOSTILE.values(), ids=HOSTILE)
def test_hostile_heads_are_answered_and_are_never_samples(row: Format, head: bytes) -> None:
    for complete in (True, False):
        assert row.probe(head[:KIB64], complete) is not Evidence.LINEAR_PCM


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_answered(head: bytes, complete: bool) -> None:
    for row in FORMATS:
        assert isinstance(row.probe(head, complete), Evidence)


@given(st.sampled_from(sorted(WHOLE)), st.data(), st.booleans())
def test_any_prefix_of_any_damaged_file_is_answered(name: str, data: st.DataObject, complete: bool) -> None:
    head = bytearray(WHOLE[name][: data.draw(st.integers(0, 1200))])
    if head:
        damage = st.tuples(st.integers(0, min(len(head), 200) - 1), st.integers(0, 255))
        for at, value in data.draw(st.lists(damage, max_size=8)):
            head[at] = value
    for row in FORMATS:
        assert isinstance(row.probe(bytes(head), complete), Evidence)
