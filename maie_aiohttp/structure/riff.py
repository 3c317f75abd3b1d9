"""WAVE in RIFF, RIFX (big-endian), RF64 and BW64 (64-bit sizes: EBU Tech 3306, ITU-R BS.2088)."""

from __future__ import annotations

from maie_aiohttp.structure import chunks, waveformat
from maie_aiohttp.structure.chunks import Order
from maie_aiohttp.structure.evidence import Evidence
from maie_aiohttp.structure.fields import fourccs
from maie_aiohttp.structure.waveformat import Names

_ORDERS: dict[bytes, Order] = {
    b"RIFF": "little",
    b"RIFX": "big",
    b"RF64": "little",
    b"BW64": "little",
}

# Beside the format: broadcast metadata, padding, cover art.
_KNOWN = fourccs(
    "fmt JUNK junk PAD FLLR LIST fact ds64 bext iXML axml chna cart id3 ID3 _PMX cue smpl inst acid PEAK umid minf"
    " elm1 regn levl plst DISP afsp mext qlty dbmd"
)

_NAMES = Names(b"fmt ", b"data", _KNOWN)


def probe(head: bytes, complete: bool) -> Evidence:
    """Known chunks, then `fmt ` with a codec, a rate and channels, then `data`."""
    order = _ORDERS.get(head[:4])
    if order is None or head[8:12] != b"WAVE":
        return Evidence.NONE
    return waveformat.judge(head, complete, chunks.walk(head, 12, chunks.Layout(order)), _NAMES, order)


def span(head: bytes) -> float | None:
    """By the size of `data`."""
    order = _ORDERS.get(head[:4], "little")
    return waveformat.span(head, chunks.walk(head, 12, chunks.Layout(order)), _NAMES, order)
