"""Sony Wave64: RIFF with GUIDs for ids and 64-bit sizes that count their own header."""

from __future__ import annotations

from maie_aiohttp.structure import chunks, riff, waveformat
from maie_aiohttp.structure.evidence import Evidence, undecided
from maie_aiohttp.structure.waveformat import WaveFormat

_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_WAVE, _FMT, _DATA = (name + _TAIL for name in (b"wave", b"fmt ", b"data"))
_KNOWN = frozenset(name + _TAIL for name in (b"fact", b"levl", b"junk", b"bext"))
_LAYOUT = chunks.Layout("little", id_bytes=16, size_bytes=8, alignment=8, counts_header=True)


def probe(head: bytes, complete: bool) -> Evidence:
    """The riff and wave GUIDs, then `fmt ` and `data` as in RIFF."""
    if head[:16] != _RIFF or head[24:40] != _WAVE:
        return Evidence.NONE
    described: WaveFormat | None = None
    for chunk in chunks.walk(head, 40, _LAYOUT):
        if chunk.id == _FMT:
            if chunk.end > len(head):
                break
            described = waveformat.parse(head[chunk.start : chunk.end])
            if described is None or not described.sane:
                return Evidence.NONE
        elif chunk.id == _DATA:
            return riff.judge_samples(described, chunk, head)
        elif chunk.id not in _KNOWN and chunk.end > len(head):
            return Evidence.NONE
    return undecided(complete)
