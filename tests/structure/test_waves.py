"""WAV, Wave64, AIFF, AU and CAF: the formats that hold plain samples."""

from __future__ import annotations

import pytest

from maie_aiohttp.structure import aiff as aiff_family
from maie_aiohttp.structure import au as au_family
from maie_aiohttp.structure import caf as caf_family
from maie_aiohttp.structure import riff
from maie_aiohttp.structure import w64 as w64_family
from maie_aiohttp.structure.evidence import Evidence
from tests.structure import headers
from tests.structure.headers import aiff, au, caf, chunk, common, w64, wav, wave_format

HTML = b"<!DOCTYPE html><html><body>not a sound</body></html>\n" * 100
COVER = bytes(100_000)


@pytest.mark.parametrize("form", [b"RIFF", b"RIFX", b"RF64", b"BW64"])
def test_wav_forms(form: bytes) -> None:
    fmt = wave_format(order=">" if form == b"RIFX" else "<")
    assert riff.probe(wav(form=form, fmt=fmt), True) is Evidence.LINEAR_PCM


@pytest.mark.parametrize(("tag", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
def test_linear_wav_needs_no_decoder(tag: int, bits: int) -> None:
    assert riff.probe(wav(fmt=wave_format(tag, bits=bits)), True) is Evidence.LINEAR_PCM


@pytest.mark.parametrize(("tag", "bits"), [(2, 4), (6, 8), (7, 8), (0x11, 4), (0x55, 0), (1, 53)])
def test_other_codecs_in_wav_need_one(tag: int, bits: int) -> None:
    assert riff.probe(wav(fmt=wave_format(tag, bits=bits)), True) is Evidence.AUDIO


def test_extensible_wav_is_known_by_its_sub_format() -> None:
    linear = wave_format(0xFFFE) + bytes(8) + b"\1\0" + bytes(14)
    mp3 = wave_format(0xFFFE) + bytes(8) + b"\x55\0" + bytes(14)
    assert riff.probe(wav(fmt=linear), True) is Evidence.LINEAR_PCM
    assert riff.probe(wav(fmt=mp3), True) is Evidence.AUDIO


@pytest.mark.parametrize("fmt", [wave_format(channels=0), wave_format(rate=0), wave_format(tag=0), b"\1\0\1\0"])
def test_wav_that_cannot_be_played_is_refused(fmt: bytes) -> None:
    assert riff.probe(wav(fmt=fmt), True) is Evidence.NONE


def test_wav_without_its_samples_needs_a_decoder() -> None:
    assert riff.probe(wav(samples=b""), True) is Evidence.AUDIO


def test_samples_before_their_format_are_refused() -> None:
    assert riff.probe(b"RIFF\0\0\0\0WAVE" + chunk(b"data", bytes(100)), True) is Evidence.NONE


def test_text_behind_a_wav_header_is_refused() -> None:
    assert riff.probe(wav(samples=HTML), True) is Evidence.NONE


def test_text_where_chunks_should_be_is_refused() -> None:
    assert riff.probe(b"RIFF\0\0\0\0WAVE" + HTML, False) is Evidence.NONE


def test_metadata_with_text_in_it_is_fine() -> None:
    assert riff.probe(wav(before=chunk(b"LIST", HTML)), True) is Evidence.LINEAR_PCM


def test_unknown_chunks_are_skipped_only_where_they_end_in_the_head() -> None:
    content = wav(before=chunk(b"mine", bytes(100_000)))
    assert riff.probe(content, True) is Evidence.LINEAR_PCM
    assert riff.probe(content[:65_536], False) is Evidence.NONE


def test_long_metadata_before_the_format_leaves_it_open() -> None:
    content = wav(before=chunk(b"bext", COVER))
    assert riff.probe(content[:65_536], False) is Evidence.PROVISIONAL
    assert riff.probe(content[:65_536], True) is Evidence.NONE


def test_a_head_that_ends_inside_the_format_leaves_it_open() -> None:
    assert riff.probe(wav()[:30], False) is Evidence.PROVISIONAL
    assert w64_family.probe(w64()[:70], False) is Evidence.PROVISIONAL


@pytest.mark.parametrize("head", [b"RIFF\0\0\0\0AVI " + bytes(100), b"RIFF\0\0\0\0sfbk" + bytes(100)])
def test_other_riff_forms_are_not_wav(head: bytes) -> None:
    assert riff.probe(head, False) is Evidence.NONE


def test_w64_has_the_same_codecs_as_wav() -> None:
    assert w64_family.probe(w64(), True) is Evidence.LINEAR_PCM
    assert w64_family.probe(w64(wave_format(7, bits=8)), True) is Evidence.AUDIO
    assert w64_family.probe(w64(wave_format(channels=0)), True) is Evidence.NONE


@pytest.mark.parametrize("compression", [b"", b"NONE\0\0", b"sowt\0\0", b"fl32\0\0", b"in24\0\0"])
def test_linear_aiff_needs_no_decoder(compression: bytes) -> None:
    assert aiff_family.probe(aiff(comm=common(compression=compression)), True) is Evidence.LINEAR_PCM


@pytest.mark.parametrize("compression", [b"ulaw\0\0", b"alaw\0\0", b"ima4\0\0"])
def test_compressed_aiff_needs_one(compression: bytes) -> None:
    assert aiff_family.probe(aiff(comm=common(compression=compression)), True) is Evidence.AUDIO


@pytest.mark.parametrize("comm", [common(channels=0), common(exponent=0), common(exponent=0xC00C), common(bits=99)])
def test_aiff_that_cannot_be_played_is_refused(comm: bytes) -> None:
    assert aiff_family.probe(aiff(comm=comm), True) is Evidence.NONE


def test_aiff_with_a_long_tag_in_front_is_left_open() -> None:
    assert aiff_family.probe(aiff(before=chunk(b"ID3 ", COVER, ">"))[:65_536], False) is Evidence.PROVISIONAL


def test_aiff_may_describe_its_samples_after_them() -> None:
    chunks = chunk(b"SSND", bytes(8) + bytes(range(128, 256)), ">") + chunk(b"COMM", common(), ">")
    assert aiff_family.probe(b"FORM\0\0\0\0AIFF" + chunks, True) is Evidence.LINEAR_PCM


@pytest.mark.parametrize("encoding", [2, 3, 4, 5, 6, 7])
def test_linear_au_needs_no_decoder(encoding: int) -> None:
    assert au_family.probe(au(encoding=encoding), True) is Evidence.LINEAR_PCM


@pytest.mark.parametrize("encoding", [1, 23, 27])
def test_compressed_au_needs_one(encoding: int) -> None:
    assert au_family.probe(au(encoding=encoding), True) is Evidence.AUDIO


@pytest.mark.parametrize(
    "content", [au(encoding=99), au(rate=0), au(channels=0), au(channels=4096), au(samples=HTML), b".snd" + HTML]
)
def test_au_that_cannot_be_played_is_refused(content: bytes) -> None:
    assert au_family.probe(content, True) is Evidence.NONE


def test_au_without_samples_is_left_open() -> None:
    assert au_family.probe(au(samples=b""), False) is Evidence.PROVISIONAL
    assert au_family.probe(au(samples=b""), True) is Evidence.NONE


def test_caf_codecs() -> None:
    assert caf_family.probe(caf(), True) is Evidence.LINEAR_PCM
    assert caf_family.probe(caf(codec=b"alac", bits=0), True) is Evidence.AUDIO


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_caf_without_a_rate_is_refused(rate: float) -> None:
    assert caf_family.probe(caf(rate=rate), True) is Evidence.NONE


def test_caf_without_channels_or_with_junk_for_chunks_is_refused() -> None:
    assert caf_family.probe(caf(channels=0), True) is Evidence.NONE
    assert caf_family.probe(caf()[:52] + HTML, False) is Evidence.NONE


def test_caf_with_a_long_packet_table_in_front_is_left_open() -> None:
    table = b"pakt" + (100_000).to_bytes(8, "big") + bytes(100_000)
    assert caf_family.probe((caf()[:52] + table)[:65_536], False) is Evidence.PROVISIONAL
    assert headers.caf()[52:56] == b"data"
