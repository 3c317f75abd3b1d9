"""WavPack, versions 4 and 5."""

from __future__ import annotations

from maie_aiohttp.structure import frames, id3
from maie_aiohttp.structure.evidence import Evidence, undecided
from maie_aiohttp.structure.fields import u16le, u32le

_LONGEST_BLOCK = 1 << 20


def probe(head: bytes, complete: bool) -> Evidence:
    """A block header of a known version, and another one where it ends."""
    at = id3.skip_tags(head)
    length = _block_length(head, at)
    if not length:
        return Evidence.NONE
    after = at + length
    if after + 32 > len(head):
        return undecided(complete) if after > len(head) else Evidence.AUDIO
    ends = _block_length(head, after) or frames.trailer(head, after)
    return Evidence.AUDIO if ends else Evidence.NONE


def _block_length(head: bytes, at: int) -> int:
    """Bytes of the block at `at`, header included; 0 when there is none."""
    size = u32le(head, at + 4)
    good = head[at : at + 4] == b"wvpk" and 0x402 <= u16le(head, at + 8) <= 0x410 and 24 <= size < _LONGEST_BLOCK
    return size + 8 if good else 0
