"""DTS Coherent Acoustics, 16-bit big-endian core frames (ETSI TS 102 114, section 5.3)."""

from __future__ import annotations

from maie_aiohttp.structure import frames
from maie_aiohttp.structure.evidence import Evidence
from maie_aiohttp.structure.fields import u32be, u64be
from maie_aiohttp.structure.frames import Frame

_SYNC = b"\x7f\xfe\x80\x01"
_EXTENSION = 0x64582025  # DTS-HD substream, which may follow a core frame (section 7.5.1)
_SHORTEST = 96


def probe(head: bytes, complete: bool) -> Evidence:
    """Core frames that chain."""
    return frames.chain(head, complete, 0, _read)


def _read(head: bytes, at: int) -> Frame | None:
    header = u64be(head, at + 4) if head[at : at + 4] == _SYNC and at + 12 <= len(head) else 0
    length = (header >> 36 & 0x3FFF) + 1  # FSIZE, after type, deficit, CRC flag and block count
    if length < _SHORTEST:
        return None
    return Frame(0, length + _extension_length(head, at + length))


def _extension_length(head: bytes, at: int) -> int:
    if u32be(head, at) != _EXTENSION:
        return 0
    header = int.from_bytes(head[at + 5 : at + 11], "big")
    wide = header >> 45 & 1
    return (header >> 13 & 0xFFFFF if wide else header >> 21 & 0xFFFF) + 1
