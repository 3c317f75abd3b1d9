"""MP4, M4A, QuickTime and 3GPP (ISO/IEC 14496-12): the handlers in `moov` say what the tracks are.

The brand in `ftyp` is ignored both ways: phones write audio under video brands, and a video may call itself M4A.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from maie_aiohttp.structure.evidence import Evidence, undecided
from maie_aiohttp.structure.fields import fourccs, u32be, u64be
from maie_aiohttp.structure.span import ratio

_KNOWN = fourccs("ftyp styp moov mdat free skip wide pnot PICT uuid udta meta moof mfra sidx ssix pdin prft emsg junk")
_STILL_IMAGES = fourccs("heic heix heim heis hevc hevx mif1 mif2 msf1 avif avis jxl jp2 jpm jpx crx")

# Boxes looked at on each level. Real files have under twenty; empty boxes would fill 64 KiB with 8,192.
_MOST_BOXES, _MOST_IN_TRACK = 48, 12


class _Box(NamedTuple):
    type: bytes
    start: int
    end: int


def probe(head: bytes, complete: bool) -> Evidence:
    """A `moov` with a sound track and no video track."""
    if head[4:8] not in _KNOWN or (head[4:8] == b"ftyp" and head[8:12] in _STILL_IMAGES):
        return Evidence.NONE
    for box in islice(_boxes(head, 0, len(head)), _MOST_BOXES):
        if box.type == b"moov":
            return _judge_movie(head, box, complete)
        if box.type not in _KNOWN and box.end > len(head):
            return Evidence.NONE
    return undecided(complete)


def span(head: bytes) -> float | None:
    """By the movie's header (section 8.2.2), if it stands in the head; 0 or all ones where it does not know."""
    top = islice(_boxes(head, 0, len(head)), _MOST_BOXES)
    movie = next((box for box in top if box.type == b"moov"), None)
    header = movie and _first(head, movie, b"mvhd")
    if not header:
        return None
    if head[header.start : header.start + 1] == b"\1":
        scale, length, unknown = u32be(head, header.start + 20), u64be(head, header.start + 24), (1 << 64) - 1
    else:
        scale, length, unknown = u32be(head, header.start + 12), u32be(head, header.start + 16), (1 << 32) - 1
    return None if length == unknown else ratio(length, scale)


def _judge_movie(head: bytes, movie: _Box, complete: bool) -> Evidence:
    tracks = islice(_boxes(head, movie.start, movie.end), _MOST_BOXES)
    handlers = {_handler(head, track) for track in tracks if track.type == b"trak"}
    if b"vide" in handlers:
        return Evidence.VIDEO
    if movie.end > len(head):
        return undecided(complete)
    return Evidence.AUDIO if b"soun" in handlers else Evidence.NONE


def _handler(head: bytes, track: _Box) -> bytes:
    """The handler type of a track, in its `mdia` box's `hdlr` (section 8.4.3)."""
    media = _first(head, track, b"mdia")
    handler = media and _first(head, media, b"hdlr")
    return head[handler.start + 8 : handler.start + 12] if handler else b""


def _first(head: bytes, parent: _Box, wanted: bytes) -> _Box | None:
    level = islice(_boxes(head, parent.start, parent.end), _MOST_IN_TRACK)
    return next((box for box in level if box.type == wanted), None)


def _boxes(head: bytes, at: int, end: int) -> Iterator[_Box]:
    """The boxes between two offsets (section 4.2); the last one's body may reach past the head."""
    while at + 8 <= min(end, len(head)):
        size, start = u32be(head, at), at + 8
        if size == 1:
            size, start = u64be(head, at + 8), at + 16
        stop = at + size if size else end
        if stop < start:
            return
        yield _Box(head[at + 4 : at + 8], start, stop)
        at = stop
