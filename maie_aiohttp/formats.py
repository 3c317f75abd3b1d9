"""The audio formats the server accepts, one row each, and the verdict on the first bytes of an upload.

libmagic's answer narrows the choice and refuses what is plainly something else; the structure of the bytes decides;
names and declared types only ever refuse.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from maie_aiohttp import errors
from maie_aiohttp.structure import (
    ac3,
    adts,
    aiff,
    amr,
    ape,
    asf,
    au,
    caf,
    dsd,
    dts,
    ebml,
    flac,
    loas,
    mp4,
    mpc,
    mpeg,
    ogg,
    riff,
    tak,
    tta,
    w64,
    wavpack,
)
from maie_aiohttp.structure.evidence import Evidence, Probe
from maie_aiohttp.structure.span import Span, untold

NO_OPINION = "application/octet-stream"
"""libmagic's answer when it does not know."""


@dataclass(frozen=True, slots=True)
class Format:
    """One accepted audio format."""

    name: str
    """What settings and messages call it."""
    media_type: str
    """The canonical type, recorded and served."""
    extension: str
    """The canonical extension, with its dot."""
    extensions: frozenset[str]
    """Every extension files of this format go by, lower case, with the dot."""
    magic: frozenset[str]
    """The MIME types libmagic gives such files, beside `NO_OPINION`."""
    demuxer: str
    """FFmpeg's name for its reader, forced on decoding so that it never guesses another."""
    probe: Probe
    """What the head proves about this format."""
    core: bool = True
    """Accepted unless the settings say otherwise."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An accepted head."""

    format: Format
    needs_decode: bool
    """Whether only decoding the finished file can confirm it; plain linear PCM in sight needs none."""


def _row(
    name: str, media_type: str, extensions: str, magic: str, demuxer: str, probe: Probe, *, core: bool = True
) -> Format:
    """A format from words separated by spaces; the first extension is the canonical one."""
    words = extensions.split()
    return Format(name, media_type, words[0], frozenset(words), frozenset(magic.split()), demuxer, probe, core)


# What libmagic says, where several rows share it. It tells audio from video in none of the containers, and behind an
# ID3v2 tag everything is audio/mpeg to it.
_WAV = "audio/x-wav audio/wav audio/vnd.wave"
_ID3 = "audio/mpeg audio/mp3"
_OGG = "audio/ogg application/ogg video/ogg"
_EBML = "video/webm audio/webm video/x-matroska audio/x-matroska application/x-matroska"
_MP4 = "audio/mp4 audio/x-m4a audio/3gpp audio/3gpp2 video/mp4 video/x-m4v video/quicktime video/3gpp video/3gpp2"
_MP4_NAMES = ".m4a .m4b .m4p .m4r .f4a .mp4 .mov .3gp .3gpp .3g2 .3ga .aac"
_ASF = "video/x-ms-asf audio/x-ms-wma video/x-ms-wmv"
_SYNC = "audio/mpeg audio/mp3 audio/x-hx-aac-adts audio/aac audio/x-aac"
_DOLBY = "audio/vnd.dolby.dd-raw audio/ac3 audio/eac3"
_MUSEPACK = "audio/x-musepack"

# The first row whose probe finds anything decides; so formats known by a sync word alone come after those with a
# header.
FORMATS: tuple[Format, ...] = (
    # name, media type, extensions, libmagic, FFmpeg, probe
    _row("wav", "audio/wav", ".wav .wave .bwf .rf64 .amb", _WAV, "wav", riff.probe),
    _row("w64", "audio/x-w64", ".w64", "audio/x-w64", "w64", w64.probe),
    _row("flac", "audio/flac", ".flac .fla", "audio/flac audio/x-flac " + _ID3, "flac", flac.probe),
    _row("ogg", "audio/ogg", ".ogg .oga .ogx .opus .spx", _OGG, "ogg", ogg.probe),
    _row("webm", "audio/webm", ".webm .weba", _EBML, "webm", ebml.probe_webm),
    _row("matroska", "audio/x-matroska", ".mka .mkv", _EBML, "matroska", ebml.probe_matroska),
    _row("mp4", "audio/mp4", _MP4_NAMES, _MP4, "mov", mp4.probe),
    _row("aiff", "audio/aiff", ".aiff .aif .aifc", "audio/x-aiff audio/aiff", "aiff", aiff.probe),
    _row("au", "audio/basic", ".au .snd", "audio/basic audio/x-adpcm", "au", au.probe),
    _row("amr", "audio/amr", ".amr .awb .3ga", "audio/amr audio/AMR", "amr", amr.probe),
    _row("caf", "audio/x-caf", ".caf", "audio/x-caf", "caf", caf.probe),
    _row("wma", "audio/x-ms-wma", ".wma .asf", _ASF, "asf", asf.probe),
    _row("mp3", "audio/mpeg", ".mp3 .mp2 .mp1 .m2a .mpga .mpa .mpeg", _SYNC, "mp3", mpeg.probe),
    _row("aac", "audio/aac", ".aac .adts", _SYNC, "aac", adts.probe),
    _row("ac3", "audio/ac3", ".ac3", _DOLBY, "ac3", ac3.probe_ac3, core=False),
    _row("eac3", "audio/eac3", ".eac3 .ec3", _DOLBY, "eac3", ac3.probe_eac3, core=False),
    _row("dts", "audio/vnd.dts", ".dts", "audio/vnd.dts", "dts", dts.probe, core=False),
    _row("ape", "audio/x-ape", ".ape", "audio/x-ape", "ape", ape.probe, core=False),
    _row("mpc7", "audio/x-musepack", ".mpc .mp+ .mpp", _MUSEPACK, "mpc", mpc.probe_sv7, core=False),
    _row("mpc8", "audio/x-musepack", ".mpc", _MUSEPACK, "mpc8", mpc.probe_sv8, core=False),
    _row("wavpack", "audio/x-wavpack", ".wv", "audio/x-wavpack", "wv", wavpack.probe, core=False),
    _row("tta", "audio/x-tta", ".tta", "audio/x-tta", "tta", tta.probe, core=False),
    _row("tak", "audio/x-tak", ".tak", "audio/x-tak", "tak", tak.probe, core=False),
    _row("dsf", "audio/x-dsf", ".dsf", "audio/x-dsf", "dsf", dsd.probe_dsf, core=False),
    _row("dff", "audio/x-dff", ".dff", "audio/x-dff", "iff", dsd.probe_dff, core=False),
    _row("latm", "audio/x-mp4a-latm", ".latm .loas .aac", "audio/x-mp4a-latm", "loas", loas.probe, core=False),
)

BY_NAME: Mapping[str, Format] = MappingProxyType({row.name: row for row in FORMATS})
CORE: frozenset[str] = frozenset(row.name for row in FORMATS if row.core)
OPTIONAL: frozenset[str] = frozenset(BY_NAME) - CORE

_SPANS: Mapping[str, Span] = {
    "wav": riff.span,
    "w64": w64.span,
    "flac": flac.span,
    "mp4": mp4.span,
    "aiff": aiff.span,
    "au": au.span,
    "mp3": mpeg.span,
}
_EXTENSIONS = frozenset().union(*(row.extensions for row in FORMATS))
_CANDIDATES = {magic: tuple(row for row in FORMATS if magic in row.magic) for row in FORMATS for magic in row.magic}

_REFUSALS = {
    "video": "The content is video; only audio is accepted.",
    "image": "The content is an image; only audio is accepted.",
    "text": "The content is text; only audio is accepted.",
    "audio": "The content is a kind of audio this server does not accept.",
}
_NOT_RECOGNISED = "The content is not recognised as audio of an accepted format."


def identify(head: bytes, complete: bool, magic_type: str, enabled: Container[str]) -> Verdict:
    """The format of an upload, from its first bytes.

    `head` is best 64 KiB; `complete` says that it is the whole file. `magic_type` is libmagic's MIME type for it, and
    `enabled` holds the names of the accepted formats. Raises `NotAudio` for anything else.
    """
    found, evidence = _probe(head, complete, _candidates(magic_type))
    if evidence is Evidence.VIDEO:
        raise errors.NotAudio(_REFUSALS["video"])
    if found.name not in enabled:
        raise errors.NotAudio(f"The content is {found.name} audio, which this server is not set up to accept.")
    return Verdict(found, needs_decode=evidence is not Evidence.LINEAR_PCM)


def _candidates(magic_type: str) -> tuple[Format, ...]:
    """The formats libmagic's answer leaves open: all of them when it has no opinion."""
    if magic_type == NO_OPINION:
        return FORMATS
    if magic_type not in _CANDIDATES:
        kind = magic_type.partition("/")[0]
        raise errors.NotAudio(_REFUSALS.get(kind, _NOT_RECOGNISED))
    return _CANDIDATES[magic_type]


def _probe(head: bytes, complete: bool, candidates: tuple[Format, ...]) -> tuple[Format, Evidence]:
    """The first candidate whose structure the head shows."""
    for candidate in candidates:
        evidence = candidate.probe(head, complete)
        if evidence is not Evidence.NONE:
            return candidate, evidence
    if candidates is FORMATS:
        raise errors.NotAudio(_NOT_RECOGNISED)
    raise errors.NotAudio(f"The content begins like {candidates[0].name} but is broken or something else.")


def span(format: Format, head: bytes) -> float | None:
    """How long a recording plays, in seconds, by the first bytes of it; None where they do not tell."""
    return _SPANS.get(format.name, untold)(head)


# Longer suffixes and those without a letter are part of the name: "interview 12.05.2026", "Mr. Abernathy".
_EXTENSION = re.compile(r"(?=[0-9+]*[a-z])[a-z0-9+]{1,5}", re.ASCII)


def check_name(filename: str | None) -> None:
    """Raise `NotAudio` for a file name that ends in something else's extension. None and "" say nothing.

    The extension of another audio format is fine: content decides.
    """
    _, dot, suffix = (filename or "").rstrip(". ").lower().rpartition(".")
    if dot and _EXTENSION.fullmatch(suffix) and f".{suffix}" not in _EXTENSIONS:
        raise errors.NotAudio("The file name ends in an extension that is not one of an accepted audio format.")


# type "/" subtype of RFC 9110, section 8.3.1; parameters say nothing here.
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf"[ \t]*({_NAME}/{_NAME})[ \t]*(?:;.*)?", re.DOTALL)
# What audio is also declared as: types that say nothing, those of containers, and old names.
_OTHER_TYPES = frozenset(
    (
        "application/octet-stream",
        "binary/octet-stream",
        "application/ogg",
        "application/x-ogg",
        "application/mp4",
        "application/x-flac",
        "application/x-matroska",
        "application/vnd.ms-asf",
    )
)


def check_type(media_type: str | None) -> None:
    """Raise `NotAudio` for a declared type that is neither audio nor video nor one of `_OTHER_TYPES`, or malformed.

    Browsers declare video types for audio in containers that hold both. None and "" say nothing.
    """
    if not media_type:
        return
    parsed = _MEDIA_TYPE.fullmatch(media_type)
    if parsed is None:
        raise errors.NotAudio("The declared media type is malformed.")
    declared = parsed[1].lower()
    if not declared.startswith(("audio/", "video/")) and declared not in _OTHER_TYPES:
        raise errors.NotAudio("The declared media type is not an audio type.")
