"""Ogg (RFC 3533): the first page of each logical stream says its codec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from maie_aiohttp.structure.evidence import Evidence, undecided

_AUDIO = (b"\x01vorbis", b"OpusHead", b"Speex   ", b"\x7fFLAC", b"fLaC\0", b"CELT    ", b"PCM     ")
_VIDEO = (
    b"\x80theora",
    b"OVP80",
    b"BBCD\0",
    b"\x01video\0",
    b"\x80daala",
    b"UVS ",
    b"YUV4MPEG",
    b"\x8aMNG",
    b"\x89PNG",
)

_BEGINS_STREAM = 0x02
_MOST_STREAMS = 64
_HEADER = 27


class _Page(NamedTuple):
    flags: int
    body: int
    end: int


def probe(head: bytes, complete: bool) -> Evidence:
    """First pages with an audio codec and no video codec, then the pages that continue the streams.

    A stream of an unknown codec beside a known one (Skeleton, subtitles, something new) is left to the decoder:
    RFC 5334 tells readers to ignore what they do not know.
    """
    starts: list[bytes] = []
    end = 0
    for page in _pages(head):
        if not page.flags & _BEGINS_STREAM:
            return _judge(starts)
        starts.append(head[page.body : page.body + 9])
        end = page.end
    found = _judge(starts)
    if found is not Evidence.AUDIO:
        return found
    return undecided(complete) if end + _HEADER > len(head) else Evidence.NONE


def _judge(starts: list[bytes]) -> Evidence:
    if any(start.startswith(_VIDEO) for start in starts):
        return Evidence.VIDEO
    return Evidence.AUDIO if any(start.startswith(_AUDIO) for start in starts) else Evidence.NONE


def _pages(head: bytes) -> Iterator[_Page]:
    """The pages from the start on, while each stands where the one before it ends."""
    at = 0
    for _ in range(_MOST_STREAMS):
        table = at + _HEADER
        if head[at : at + 5] != b"OggS\0" or table > len(head):
            return
        body = table + head[table - 1]
        page = _Page(head[at + 5], body, body + sum(head[table:body]))
        yield page
        at = page.end
