"""Streams of frames that start with a sync word and say their own length: MPEG audio, ADTS, LOAS, AC-3, DTS.

One sync word proves nothing: noise has one every few kilobytes. Frames of one kind, each standing where the one before
it ends, prove the format.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple, TypeAlias

from maie_aiohttp.structure import id3
from maie_aiohttp.structure.evidence import Evidence


class Frame(NamedTuple):
    """What one frame's header says."""

    identity: int
    """The fields that stay the same from frame to frame."""
    length: int
    """Bytes from this header to the next, at least 1."""


ReadFrame: TypeAlias = Callable[[bytes, int], Frame | None]
"""Reads the frame header at an offset; None where there is none."""

_FRAMES = 3
_FRAMES_AFTER_JUNK = 4
_MOST_JUNK = 8192  # longer than any MPEG or ADTS frame, so a capture that starts in the middle of one is found
_MOST_CANDIDATES = 256  # noise has about five sync words in that much; more are an attempt to keep us busy
_HEADER = 8

_ZEROS = re.compile(rb"\0*")
_TEXT = re.compile(rb"(?:\xef\xbb\xbf)?[\t\r\n -~]{16}")
_TRAILERS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"3DI")


def probe_stream(head: bytes, complete: bool, read_frame: ReadFrame, sync: re.Pattern[bytes]) -> Evidence:
    """Frames after any ID3v2 tags, zeros, or at most 8 KiB of binary junk. `sync` matches where one may start."""
    start = _skip_zeros(head, id3.skip_tags(head))
    if start >= len(head):
        return _past_the_head(head, complete)
    found = chain(head, complete, start, read_frame)
    if found is not Evidence.NONE or _TEXT.match(head, start):
        return found
    candidates = sync.finditer(head, start + 1, start + _MOST_JUNK)
    for candidate in islice(candidates, _MOST_CANDIDATES):
        if _count(head, candidate.start(), read_frame, _FRAMES_AFTER_JUNK)[0] == _FRAMES_AFTER_JUNK:
            return Evidence.AUDIO
    return Evidence.NONE


def chain(head: bytes, complete: bool, at: int, read_frame: ReadFrame) -> Evidence:
    """Three frames of one identity from offset `at` on, or all there are in a shorter file."""
    frames, end = _count(head, at, read_frame, _FRAMES)
    if frames == _FRAMES:
        return Evidence.AUDIO
    if frames == 0:
        return Evidence.NONE
    if complete:
        return Evidence.AUDIO if _ends_well(head, end, frames) else Evidence.NONE
    return Evidence.PROVISIONAL if end + _HEADER > len(head) else Evidence.NONE


def trailer(head: bytes, at: int) -> bool:
    """Whether a tag that follows audio starts at `at`: ID3v1, APE, Lyrics3."""
    return head.startswith(_TRAILERS, at)


def _count(head: bytes, at: int, read_frame: ReadFrame, enough: int) -> tuple[int, int]:
    """How many frames of one identity follow each other, at most `enough`, and where the last one ends."""
    first = read_frame(head, at)
    if first is None:
        return 0, at
    frames, at = 1, at + first.length
    while frames < enough:
        frame = read_frame(head, at)
        if frame is None or frame.identity != first.identity:
            break
        frames, at = frames + 1, at + frame.length
    return frames, at


def _ends_well(head: bytes, end: int, frames: int) -> bool:
    """Whether a stream of too few frames simply ends: exactly, in a tag, in zeros, or inside its last frame."""
    if end > len(head):
        return frames > 1
    return trailer(head, end) or _skip_zeros(head, end) == len(head)


def _past_the_head(head: bytes, complete: bool) -> Evidence:
    """Nothing but tags and zeros: with a tag the audio may still come, zeros alone promise nothing."""
    return Evidence.PROVISIONAL if head.startswith(b"ID3") and not complete else Evidence.NONE


def _skip_zeros(head: bytes, at: int) -> int:
    zeros = _ZEROS.match(head, at)
    return at if zeros is None or at > len(head) else zeros.end()
