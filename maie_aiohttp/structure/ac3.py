"""AC-3 and E-AC-3 (ATSC A/52, ETSI TS 102 366)."""

from __future__ import annotations

from maie_aiohttp.structure import frames
from maie_aiohttp.structure.evidence import Evidence
from maie_aiohttp.structure.fields import u16be
from maie_aiohttp.structure.frames import Frame

_SYNC = b"\x0b\x77"
_HIGHEST_AC3, _LOWEST_EAC3, _HIGHEST_EAC3 = 10, 11, 16
_BIT_RATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


def probe_ac3(head: bytes, complete: bool) -> Evidence:
    """AC-3 frames that chain."""
    return frames.chain(head, complete, 0, _read_ac3)


def probe_eac3(head: bytes, complete: bool) -> Evidence:
    """E-AC-3 frames that chain."""
    return frames.chain(head, complete, 0, _read_eac3)


def _read_ac3(head: bytes, at: int) -> Frame | None:
    """`syncinfo` (A/52, section 5.3.1) and `bsid`."""
    if head[at : at + 2] != _SYNC or at + 6 > len(head):
        return None
    rate_code, size_code, stream_id = head[at + 4] >> 6, head[at + 4] & 0x3F, head[at + 5] >> 3
    if rate_code == 3 or size_code >> 1 >= len(_BIT_RATES) or stream_id > _HIGHEST_AC3:
        return None
    bit_rate = _BIT_RATES[size_code >> 1]
    words = (bit_rate * 2, bit_rate * 320 // 147 + (size_code & 1), bit_rate * 3)[rate_code]
    return Frame(rate_code, words * 2)


def _read_eac3(head: bytes, at: int) -> Frame | None:
    """`bsi` of annex E: substream, frame size in words, `bsid`. Dependent substreams have sizes of their own."""
    if head[at : at + 2] != _SYNC or at + 6 > len(head):
        return None
    stream_id = head[at + 5] >> 3
    if not _LOWEST_EAC3 <= stream_id <= _HIGHEST_EAC3:
        return None
    return Frame(head[at + 4] >> 6, ((u16be(head, at + 2) & 0x7FF) + 1) * 2)
