"""WebM and Matroska (RFC 8794, RFC 9559)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from maie_aiohttp.structure.evidence import Evidence, undecided

_EBML, _DOC_TYPE, _SEGMENT = 0x1A45DFA3, 0x4282, 0x18538067
_TRACKS, _TRACK_ENTRY, _TRACK_TYPE, _CLUSTER = 0x1654AE6B, 0xAE, 0x83, 0x1F43B675
_SEEK_HEAD, _INFO, _CUES, _VOID, _CRC32 = 0x114D9B74, 0x1549A966, 0x1C53BB6B, 0xEC, 0xBF
_ATTACHMENTS, _CHAPTERS, _TAGS = 0x1941A469, 0x1043A770, 0x1254C367
_BEFORE_TRACKS = frozenset((_SEEK_HEAD, _INFO, _CUES, _VOID, _CRC32, _ATTACHMENTS, _CHAPTERS, _TAGS))
_VIDEO_TRACK, _AUDIO_TRACK = 1, 2

# Elements looked at on each level. 64 KiB of two-byte elements would cost tens of milliseconds without them.
_MOST_TOP_LEVEL, _MOST_TRACKS, _MOST_IN_TRACK = 128, 32, 32


class _Element(NamedTuple):
    id: int
    start: int
    end: int


def probe_webm(head: bytes, complete: bool) -> Evidence:
    """DocType `webm` with an audio track and no video track."""
    return _probe(head, complete, b"webm")


def probe_matroska(head: bytes, complete: bool) -> Evidence:
    """DocType `matroska` with an audio track and no video track."""
    return _probe(head, complete, b"matroska")


def _probe(head: bytes, complete: bool, doc_type: bytes) -> Evidence:
    header = _element(head, 0, len(head))
    if header is None or header.id != _EBML or _doc_type(head, header) != doc_type:
        return Evidence.NONE
    segment = _first(head, header.end, len(head), _SEGMENT)
    if segment is None:
        return Evidence.NONE
    for element in islice(_elements(head, segment.start, segment.end), _MOST_TOP_LEVEL):
        if element.id == _TRACKS:
            return _judge_tracks(head, element, complete)
        if element.id == _CLUSTER:
            break
        if element.id not in _BEFORE_TRACKS and element.end > len(head):
            return Evidence.NONE
    return undecided(complete)


def _doc_type(head: bytes, header: _Element) -> bytes:
    found = _first(head, header.start, header.end, _DOC_TYPE)
    return b"" if found is None else head[found.start : found.end].rstrip(b"\0")


def _judge_tracks(head: bytes, tracks: _Element, complete: bool) -> Evidence:
    entries = islice(_elements(head, tracks.start, tracks.end), _MOST_TRACKS)
    types = {_track_type(head, entry) for entry in entries if entry.id == _TRACK_ENTRY}
    if _VIDEO_TRACK in types:
        return Evidence.VIDEO
    if tracks.end > len(head):
        return undecided(complete)
    return Evidence.AUDIO if _AUDIO_TRACK in types else Evidence.NONE


def _track_type(head: bytes, entry: _Element) -> int:
    found = _first(head, entry.start, entry.end, _TRACK_TYPE)
    return 0 if found is None else int.from_bytes(head[found.start : found.end][:8], "big")


def _first(head: bytes, at: int, end: int, wanted: int) -> _Element | None:
    """The first element with this id among the first few of its level."""
    level = islice(_elements(head, at, end), _MOST_IN_TRACK)
    return next((element for element in level if element.id == wanted), None)


def _elements(head: bytes, at: int, end: int) -> Iterator[_Element]:
    """The elements between two offsets; the last one's body may reach past the head."""
    while at < end:
        element = _element(head, at, end)
        if element is None:
            return
        yield element
        at = element.end


def _element(head: bytes, at: int, end: int) -> _Element | None:
    """The element at `at` (RFC 8794, sections 4 to 6); one of unknown size goes on to the end of its parent."""
    id_bytes = _width(head, at)
    size_bytes = _width(head, at + id_bytes)
    start = at + id_bytes + size_bytes
    if not id_bytes or id_bytes > 4 or not size_bytes or start > len(head):
        return None
    size = int.from_bytes(head[at + id_bytes : start], "big") - (1 << 7 * size_bytes)
    unknown = size == (1 << 7 * size_bytes) - 1
    return _Element(int.from_bytes(head[at : at + id_bytes], "big"), start, end if unknown else start + size)


def _width(head: bytes, at: int) -> int:
    """Bytes of the variable-size integer at `at`, by its leading zeros; 0 when there is none."""
    return 9 - head[at].bit_length() if at < len(head) and head[at] else 0
