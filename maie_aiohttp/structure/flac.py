"""FLAC (RFC 9639)."""

from __future__ import annotations

from maie_aiohttp.structure import id3
from maie_aiohttp.structure.evidence import Evidence, undecided
from maie_aiohttp.structure.fields import u16be, u24be, u64be
from maie_aiohttp.structure.span import ratio

_STREAMINFO = 34
_LAST_TYPE = 6  # PICTURE; 7 to 126 are reserved and 127 is forbidden (section 8.1)
_MOST_BLOCKS = 256


def probe(head: bytes, complete: bool) -> Evidence:
    """A sane STREAMINFO, metadata blocks that chain, then the sync code of a frame."""
    start = id3.skip_tags(head)
    if not head.startswith(b"fLaC\0", start) and not head.startswith(b"fLaC\x80", start):
        return Evidence.NONE
    if not _sane(head[start + 4 : start + 8 + _STREAMINFO]):
        return Evidence.NONE
    return _walk_blocks(head, complete, start + 4)


def span(head: bytes) -> float | None:
    """By the number of samples in STREAMINFO: 36 bits, 0 where the encoder did not know (section 8.2)."""
    block = head[id3.skip_tags(head) + 4 :][: 4 + _STREAMINFO]
    return ratio(u64be(block, 14) & (1 << 36) - 1, u24be(block, 14) >> 4)


def _sane(block: bytes) -> bool:
    """STREAMINFO with its header (section 8.2): block sizes in order and a sample rate."""
    smallest, largest = u16be(block, 4), u16be(block, 6)
    return (
        len(block) == 4 + _STREAMINFO
        and u24be(block, 1) == _STREAMINFO
        and 16 <= smallest <= largest
        and u24be(block, 14) >> 4 > 0
    )


def _walk_blocks(head: bytes, complete: bool, at: int) -> Evidence:
    for _ in range(_MOST_BLOCKS):
        if at + 4 > len(head):
            return undecided(complete)
        flags, size = head[at], u24be(head, at + 1)
        if flags & 0x7F > _LAST_TYPE:
            return Evidence.NONE
        at += 4 + size
        if flags & 0x80:
            return _judge_frame(head, complete, at)
    return Evidence.NONE


def _judge_frame(head: bytes, complete: bool, at: int) -> Evidence:
    """The frame after the last metadata block starts with a 15-bit sync code (section 9.1)."""
    if at + 2 > len(head):
        return undecided(complete)
    return Evidence.AUDIO if head[at] == 0xFF and head[at + 1] & 0xFE == 0xF8 else Evidence.NONE
