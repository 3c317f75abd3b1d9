from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maie_aiohttp.errors import NotAudio
from maie_aiohttp.formats import BY_NAME, FORMATS, NO_OPINION, OPTIONAL, Format, check_name, check_type, identify
from tests.structure import headers

EVERY = frozenset(BY_NAME)
CORE = EVERY - OPTIONAL


def test_names_are_unique_and_found() -> None:
    assert [BY_NAME[row.name] for row in FORMATS] == list(FORMATS)


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
def test_the_canonical_name_and_type_of_each_format_are_acceptable_themselves(row: Format) -> None:
    check_name(f"recording{row.extension}")
    check_type(row.media_type)
    assert row.extension in row.extensions


@pytest.mark.parametrize(
    ("content", "magic_type", "name", "needs_decode"),
    [
        (headers.wav(), "audio/x-wav", "wav", False),
        (headers.wav(fmt=headers.wave_format(7, bits=8)), "audio/x-wav", "wav", True),
        (headers.wav(form=b"RIFX", fmt=headers.wave_format(order=">")), NO_OPINION, "wav", False),
        (headers.caf(), NO_OPINION, "caf", False),
        (headers.mp3_frame() * 9, "audio/mpeg", "mp3", True),
        (bytes(900) + headers.mp3_frame() * 9, NO_OPINION, "mp3", True),
        (headers.mp4(b"soun"), "video/mp4", "mp4", True),
        (headers.matroska(headers.track(2)), "video/webm", "webm", True),
        (headers.matroska(headers.track(2), doc_type=b"matroska"), "video/x-matroska", "matroska", True),
        (headers.asf(headers.ASF_AUDIO), "video/x-ms-asf", "wma", True),
    ],
)
def test_accepted_heads(content: bytes, magic_type: str, name: str, needs_decode: bool) -> None:
    verdict = identify(content, True, magic_type, CORE)
    assert (verdict.format.name, verdict.needs_decode) == (name, needs_decode)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (headers.id3() + headers.adts_frame() * 9, "aac"),
        (headers.id3() + headers.flac(), "flac"),
        (headers.id3() + headers.mp3_frame() * 9, "mp3"),
        (headers.id3(bytes(100_000)), "mp3"),
    ],
)
def test_behind_a_tag_libmagic_calls_everything_mpeg(content: bytes, name: str) -> None:
    assert identify(content[:65_536], False, "audio/mpeg", CORE).format.name == name


@pytest.mark.parametrize(
    ("content", "magic_type", "reason"),
    [
        (headers.mp4(b"soun", b"vide", brand=b"M4A "), "audio/x-m4a", "video"),
        (headers.matroska(headers.track(1)), "video/webm", "video"),
        (b"\0\0\1\xba", "video/mpeg", "video"),
        (b"\x89PNG", "image/png", "image"),
        (b"a,b", "text/csv", "text"),
        (b"MThd", "audio/midi", "does not accept"),
        (b"PK\3\4", "application/zip", "not recognised"),
        (b"\0" * 65_536, NO_OPINION, "not recognised"),
        (b"RIFF\0\0\0\0WAVE<html>", "audio/x-wav", "wav"),
        (headers.wav(), "application/x-executable", "not recognised"),
    ],
)
def test_refused_heads_get_a_reason(content: bytes, magic_type: str, reason: str) -> None:
    with pytest.raises(NotAudio, match=reason):
        identify(content, True, magic_type, EVERY)


def test_optional_formats_are_refused_by_name_until_enabled() -> None:
    content = headers.tta()
    with pytest.raises(NotAudio, match="tta"):
        identify(content, True, NO_OPINION, CORE)
    assert identify(content, True, NO_OPINION, CORE | {"tta"}).format.name == "tta"


def test_a_video_whose_frames_sound_like_mp3_stays_a_video() -> None:
    content = headers.mp4(b"soun", b"vide").replace(headers.SPEECH, headers.mp3_frame() * 100)
    with pytest.raises(NotAudio, match="video"):
        identify(content, True, NO_OPINION, EVERY)


@given(st.binary(max_size=300), st.sampled_from([NO_OPINION, "audio/mpeg", "audio/x-wav", "video/mp4", "a", ""]))
def test_any_head_is_accepted_or_refused(head: bytes, magic_type: str) -> None:
    for complete in (True, False):
        try:
            verdict = identify(head, complete, magic_type, EVERY)
        except NotAudio:
            continue
        assert verdict.format in FORMATS


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "recording",
        "interview 12.05.2026",
        "Mr. Abernathy",
        "a.mp3",
        "A.WAV",
        "a.b.Flac",
        "trailing.mp3. .",
        "clip.mp4",
        "piece.mp+",
        "a.dsf",
        "версия.ogg",
        "a.звук",
        "a.3gpp",
        "a.f4a",
        "a.m2a",
        "a.m4p",
        "a.mp1",
        "a.mpeg",
        "a.ogx",
        "...",
    ],
)
def test_names_of_audio_and_names_without_an_extension_are_fine(name: str | None) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name", ["a.txt", "a.wav.exe", "a.PDF", "a.html.", "a.7z", "a.avi", ".html", "a.mid", "a.mp3.zip "]
)
def test_names_of_other_things_are_refused(name: str) -> None:
    with pytest.raises(NotAudio, match="extension"):
        check_name(name)


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        "audio/wav",
        "AUDIO/X-WAV",
        "video/webm;codecs=opus",
        "audio/ogg ; codecs=opus",
        "audio/unheard-of",
        "application/octet-stream",
        "application/ogg",
        "application/x-flac",
        "application/x-matroska",
        "binary/octet-stream",
    ],
)
def test_types_of_audio_and_types_that_say_nothing_are_fine(media_type: str | None) -> None:
    check_type(media_type)


@pytest.mark.parametrize("media_type", ["text/html", "image/png", "application/json", "application/pdf; a=audio/wav"])
def test_types_of_other_things_are_refused(media_type: str) -> None:
    with pytest.raises(NotAudio, match="not an audio type"):
        check_type(media_type)


@pytest.mark.parametrize("media_type", ["audio", "audio/", "/wav", "audio/wav audio/mp3", "audio/é", "a b/c", " "])
def test_malformed_types_are_refused(media_type: str) -> None:
    with pytest.raises(NotAudio, match="malformed"):
        check_type(media_type)


@given(st.text(max_size=60))
@example("audio")
@example("application/ogg;")
def test_refusals_never_echo_what_was_sent(text: str) -> None:
    for check in (check_name, check_type):
        with pytest.raises(NotAudio) as refusal:
            check(f"zzq{text}/zzqzz.zzq")  # Begun otherwise, "audio/" and anything would be a type.
        assert "zzq" not in str(refusal.value)
