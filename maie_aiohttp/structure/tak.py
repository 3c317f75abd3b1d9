"""TAK, Tom's lossless Audio Kompressor."""

from __future__ import annotations

from maie_aiohttp.structure.evidence import Evidence

_STREAM_INFO, _LAST_TYPE = 1, 7
_BLOCK_HEADER = 4


def probe(head: bytes, _complete: bool) -> Evidence:
    """The magic, a stream info block of a plausible size, and another metadata block after it."""
    if head[:4] != b"tBaK" or len(head) < 64:
        return Evidence.NONE
    size = int.from_bytes(head[5:8], "little")
    after = 4 + _BLOCK_HEADER + size
    good = head[4] & 0x7F == _STREAM_INFO and 10 <= size <= 48 and head[after] & 0x7F <= _LAST_TYPE
    return Evidence.AUDIO if good else Evidence.NONE
