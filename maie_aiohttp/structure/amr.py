"""AMR and AMR-WB storage format (RFC 4867, section 5)."""

from __future__ import annotations

from maie_aiohttp.structure import frames
from maie_aiohttp.structure.evidence import Evidence
from maie_aiohttp.structure.frames import Frame

_NARROW, _WIDE = b"#!AMR\n", b"#!AMR-WB\n"

# Bytes of a frame with its header, by frame type; 0 is reserved. 15 is "no data", 14 of AMR-WB "speech lost".
_NARROW_BYTES = (13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1)
_WIDE_BYTES = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1)


def probe(head: bytes, complete: bool) -> Evidence:
    """The magic line, then frames that chain."""
    if head.startswith(_NARROW):
        return frames.chain(head, complete, len(_NARROW), _read_narrow)
    if head.startswith(_WIDE):
        return frames.chain(head, complete, len(_WIDE), _read_wide)
    return Evidence.NONE


def _read_narrow(head: bytes, at: int) -> Frame | None:
    return _read(head, at, _NARROW_BYTES)


def _read_wide(head: bytes, at: int) -> Frame | None:
    return _read(head, at, _WIDE_BYTES)


def _read(head: bytes, at: int, sizes: tuple[int, ...]) -> Frame | None:
    """The one-byte header: type in bits 3 to 6, quality in bit 2, the rest zero (section 5.3)."""
    if at >= len(head) or head[at] & 0x83:
        return None
    length = sizes[head[at] >> 3]
    return Frame(0, length) if length else None
