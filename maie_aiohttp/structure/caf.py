"""Apple Core Audio Format 1.0."""

from __future__ import annotations

import struct

from maie_aiohttp.structure import chunks, samples
from maie_aiohttp.structure.evidence import Evidence, undecided
from maie_aiohttp.structure.fields import fourccs, u16be, u64be

_LAYOUT = chunks.Layout("big", size_bytes=8, alignment=1)
_DESCRIPTION = struct.Struct(">d4sIIIII")
_DATA_START = 8 + 12 + _DESCRIPTION.size
_KNOWN = fourccs("kuki chan free info uuid pakt strg mark regn inst midi umid ovvw peak edct ldat")


def probe(head: bytes, complete: bool) -> Evidence:
    """Version 1, a first chunk `desc` with a rate, a codec and channels, then known chunks up to `data`."""
    if head[:4] != b"caff" or u16be(head, 4) != 1 or head[8:12] != b"desc":
        return Evidence.NONE
    if len(head) < _DATA_START or u64be(head, 12) != _DESCRIPTION.size:
        return Evidence.NONE
    rate, codec, _, packet, _, channels, bits = _DESCRIPTION.unpack_from(head, 20)
    if not (0 < rate < 1e7 and channels > 0 and codec.isascii() and codec.strip(b"\0 ")):
        return Evidence.NONE
    linear = codec == b"lpcm" and bits in (8, 16, 24, 32) and packet == channels * bits // 8
    for chunk in chunks.walk(head, _DATA_START, _LAYOUT):
        if chunk.id == b"data":  # the samples follow a 4-byte edit count; a size of -1 means up to the end
            return samples.judge(head, chunk.start + 4, chunk.end, packet) if linear else Evidence.AUDIO
        if not chunks.passable(chunk, head, _KNOWN):
            return Evidence.NONE
    return undecided(complete)
