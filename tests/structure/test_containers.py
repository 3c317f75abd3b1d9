"""MP4, Matroska, Ogg and ASF, which hold audio and video alike; FLAC and the other lossless ones."""

from __future__ import annotations

import random

import pytest

from maie_aiohttp.structure import ape, dsd, ebml, mp4, mpc, tak, tta, wavpack
from maie_aiohttp.structure import asf as asf_family
from maie_aiohttp.structure import flac as flac_family
from maie_aiohttp.structure import ogg as ogg_family
from maie_aiohttp.structure.evidence import Evidence, Probe
from tests.structure import headers
from tests.structure.headers import (
    ASF_AUDIO,
    ASF_VIDEO,
    asf,
    box,
    element,
    flac,
    id3,
    matroska,
    ogg,
    ogg_page,
    track,
    trak,
)

NOISE = random.Random(5).randbytes(70_000)
LONG = bytes(100_000)
KIB64 = 65_536


@pytest.mark.parametrize("brand", [b"M4A ", b"isom", b"qt  ", b"3gp4", b"zzzz"])
def test_mp4_is_judged_by_its_tracks_and_not_its_brand(brand: bytes) -> None:
    assert mp4.probe(headers.mp4(b"soun", b"text", brand=brand), True) is Evidence.AUDIO
    assert mp4.probe(headers.mp4(b"soun", b"vide", brand=brand), True) is Evidence.VIDEO
    assert mp4.probe(headers.mp4(b"text", brand=brand), True) is Evidence.NONE


@pytest.mark.parametrize("brand", [b"heic", b"avif", b"mif1", b"jp2 "])
def test_still_images_are_not_mp4_audio(brand: bytes) -> None:
    assert mp4.probe(headers.mp4(b"soun", brand=brand), False) is Evidence.NONE


def test_an_index_past_the_head_is_left_open() -> None:
    start = box(b"ftyp", b"isom")
    assert mp4.probe((start + box(b"mdat", LONG))[:KIB64], False) is Evidence.PROVISIONAL
    assert mp4.probe((start + box(b"mdat", LONG))[:KIB64], True) is Evidence.NONE


def test_an_index_cut_off_by_the_head_is_left_open_unless_video_shows() -> None:
    cover = box(b"udta", LONG)
    assert mp4.probe(box(b"moov", trak(b"soun"), cover)[:KIB64], False) is Evidence.PROVISIONAL
    assert mp4.probe(box(b"moov", trak(b"vide"), cover)[:KIB64], False) is Evidence.VIDEO


def test_boxes_may_have_long_sizes_or_reach_to_the_end() -> None:
    index = box(b"moov", trak(b"soun"))
    long = b"\0\0\0\1mdat" + (1016).to_bytes(8, "big") + bytes(1000)
    assert mp4.probe(long + index, True) is Evidence.AUDIO
    assert mp4.probe(b"\0\0\0\0" + index[4:], True) is Evidence.AUDIO
    assert mp4.probe(b"\0\0\0\4" + index[4:], True) is Evidence.NONE


@pytest.mark.parametrize("junk", [b"<!DOCTYPE html>" * 100, NOISE])
def test_junk_behind_a_brand_is_refused(junk: bytes) -> None:
    assert mp4.probe(box(b"ftyp", b"M4A ", bytes(4)) + junk, False) is Evidence.NONE


@pytest.mark.parametrize(("doc_type", "own"), [(b"webm", ebml.probe_webm), (b"matroska\0", ebml.probe_matroska)])
def test_matroska_and_webm_by_their_document_type(doc_type: bytes, own: Probe) -> None:
    other = ebml.probe_webm if own is ebml.probe_matroska else ebml.probe_matroska
    content = matroska(track(2), doc_type=doc_type)
    assert own(content, True) is Evidence.AUDIO
    assert other(content, True) is Evidence.NONE


@pytest.mark.parametrize(
    ("tracks", "expected"),
    [
        ((2, 17), Evidence.AUDIO),
        ((2, 1), Evidence.VIDEO),
        ((1,), Evidence.VIDEO),
        ((17,), Evidence.NONE),
        ((), Evidence.NONE),
    ],
)
def test_track_types(tracks: tuple[int, ...], expected: Evidence) -> None:
    assert ebml.probe_webm(matroska(*map(track, tracks)), True) is expected


def test_metadata_before_the_tracks_is_skipped_or_leaves_it_open() -> None:
    assert ebml.probe_webm(matroska(track(2), before=element("ec", bytes(500))), True) is Evidence.AUDIO
    long = matroska(track(2), before=element("1254c367", LONG))
    assert ebml.probe_webm(long[:KIB64], False) is Evidence.PROVISIONAL


def test_tracks_cut_off_by_the_head_are_left_open_unless_video_shows() -> None:
    private = element("63a2", LONG)
    assert ebml.probe_webm(matroska(track(2), private)[:KIB64], False) is Evidence.PROVISIONAL
    assert ebml.probe_webm(matroska(track(1), private)[:KIB64], False) is Evidence.VIDEO


def test_sound_before_the_tracks_leaves_it_open() -> None:
    content = matroska(before=element("1f43b675", bytes(100)))
    assert ebml.probe_webm(content[:KIB64], False) is Evidence.PROVISIONAL


@pytest.mark.parametrize("junk", [b"<!DOCTYPE html>" * 100, bytes(5000)])
def test_junk_behind_an_ebml_header_is_refused(junk: bytes) -> None:
    header = element("1a45dfa3", element("4282", b"webm"))
    assert ebml.probe_webm(header + junk, False) is Evidence.NONE
    assert ebml.probe_webm(header + element("18538067", element("4fffff", LONG))[:KIB64], False) is Evidence.NONE


@pytest.mark.parametrize("start", [b"\x01vorbis", b"OpusHead", b"Speex   ", b"\x7fFLAC"])
def test_ogg_codecs(start: bytes) -> None:
    assert ogg_family.probe(ogg(start), True) is Evidence.AUDIO
    assert ogg_family.probe(ogg(b"fishead\0", start), True) is Evidence.AUDIO


@pytest.mark.parametrize("start", [b"\x80theora", b"OVP80", b"BBCD\0", b"\x01video\0"])
def test_ogg_video(start: bytes) -> None:
    assert ogg_family.probe(ogg(b"\x01vorbis", start), True) is Evidence.VIDEO
    assert ogg_family.probe(ogg(start), True) is Evidence.VIDEO


def test_ogg_of_unknown_streams_alone_is_refused() -> None:
    assert ogg_family.probe(ogg(b"\x81someday"), True) is Evidence.NONE


@pytest.mark.parametrize("junk", [b"<!DOCTYPE html>" * 100, NOISE])
def test_ogg_pages_must_follow_each_other(junk: bytes) -> None:
    assert ogg_family.probe(ogg(b"OpusHead", rest=junk), True) is Evidence.NONE
    assert ogg_family.probe(b"OggS" + junk, True) is Evidence.NONE


def test_ogg_whose_first_pages_are_all_there_is_is_left_open() -> None:
    assert ogg_family.probe(ogg_page(b"OpusHead", flags=2), False) is Evidence.PROVISIONAL
    assert ogg_family.probe(ogg_page(b"OpusHead", flags=2), True) is Evidence.NONE


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (asf(ASF_AUDIO), Evidence.AUDIO),
        (asf(ASF_AUDIO, ASF_VIDEO), Evidence.VIDEO),
        (asf(), Evidence.NONE),
        (asf(bytes(16)), Evidence.NONE),
        (asf(ASF_AUDIO)[:16] + b"<html>" * 100, Evidence.NONE),
        (asf(ASF_AUDIO, padding=100_000)[:KIB64], Evidence.PROVISIONAL),
    ],
)
def test_asf_streams(content: bytes, expected: Evidence) -> None:
    assert asf_family.probe(content, False) is expected


@pytest.mark.parametrize("blocks", [(), ((1, b""),), ((4, bytes(40)), (6, bytes(500)), (1, bytes(9)))])
def test_flac_metadata_leads_to_a_frame(blocks: tuple[tuple[int, bytes], ...]) -> None:
    assert flac_family.probe(flac(*blocks), True) is Evidence.AUDIO
    assert flac_family.probe(id3() + flac(*blocks), True) is Evidence.AUDIO
    assert flac_family.probe(flac(*blocks, frame=b"\xff\xd8"), True) is Evidence.NONE


def test_flac_with_a_large_picture_is_left_open() -> None:
    assert flac_family.probe(flac((6, LONG))[:KIB64], False) is Evidence.PROVISIONAL
    assert flac_family.probe(flac((6, LONG))[:KIB64], True) is Evidence.NONE


@pytest.mark.parametrize(
    "info",
    [
        headers.stream_info(rate=0),
        headers.stream_info(smallest=0),
        headers.stream_info(smallest=4097),
        headers.stream_info() + b"x",
    ],
)
def test_flac_that_cannot_be_played_is_refused(info: bytes) -> None:
    assert flac_family.probe(flac(info=info), True) is Evidence.NONE


def test_flac_with_unheard_of_metadata_is_refused() -> None:
    assert flac_family.probe(flac((99, bytes(10))), True) is Evidence.NONE


LOSSLESS: list[tuple[Probe, bytes]] = [
    (ape.probe, headers.ape()),
    (ape.probe, headers.ape(version=3950)),
    (mpc.probe_sv7, headers.mpc7()),
    (mpc.probe_sv8, headers.mpc8()),
    (wavpack.probe, headers.wavpack_block() * 2),
    (wavpack.probe, headers.wavpack_block() + b"APETAGEX" + bytes(100)),
    (wavpack.probe, headers.wavpack_block()),
    (tta.probe, headers.tta()),
]


@pytest.mark.parametrize(("probe", "content"), LOSSLESS)
def test_optional_formats_may_have_a_tag_in_front(probe: Probe, content: bytes) -> None:
    assert probe(id3() + content, True) is Evidence.AUDIO


@pytest.mark.parametrize(
    ("probe", "content"),
    [
        (ape.probe, headers.ape(channels=0)),
        (ape.probe, headers.ape(version=3950, rate=0)),
        (wavpack.probe, headers.wavpack_block() + NOISE),
        (tta.probe, headers.tta().replace(b"\x44\xac", b"\x45\xac")),
        (tak.probe, b"tBaK\x01\xff\xff\0" + NOISE),
        (dsd.probe_dsf, headers.dsf(channels=0)),
        (dsd.probe_dff, headers.dff().replace(b"PROP", b"ROPP")),
    ],
)
def test_damaged_optional_formats_are_refused(probe: Probe, content: bytes) -> None:
    assert probe(content, True) is Evidence.NONE


def test_a_long_wavpack_block_is_left_open() -> None:
    assert wavpack.probe(headers.wavpack_block(100_000)[:KIB64], False) is Evidence.PROVISIONAL
