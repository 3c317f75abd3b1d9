"""Sony Wave64: RIFF with GUIDs for ids and 64-bit sizes that count their own header."""

from __future__ import annotations

from maie_aiohttp.structure import chunks, waveformat
from maie_aiohttp.structure.evidence import Evidence
from maie_aiohttp.structure.waveformat import Names

_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_WAVE = b"wave" + _TAIL
_NAMES = Names(
    fmt=b"fmt " + _TAIL,
    data=b"data" + _TAIL,
    known=frozenset(name + _TAIL for name in (b"fmt ", b"fact", b"levl", b"junk", b"bext")),
)
_LAYOUT = chunks.Layout("little", id_bytes=16, size_bytes=8, alignment=8, counts_header=True)


def probe(head: bytes, complete: bool) -> Evidence:
    """The riff and wave GUIDs, then `fmt ` and `data` as in RIFF."""
    if head[:16] != _RIFF or head[24:40] != _WAVE:
        return Evidence.NONE
    return waveformat.judge(head, complete, chunks.walk(head, 40, _LAYOUT), _NAMES, "little")


def span(head: bytes) -> float | None:
    """By the size of `data`."""
    return waveformat.span(head, chunks.walk(head, 40, _LAYOUT), _NAMES, "little")
