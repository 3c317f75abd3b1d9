"""WAVE in RIFF, RIFX (big-endian), RF64 and BW64 (64-bit sizes: EBU Tech 3306, ITU-R BS.2088)."""

from __future__ import annotations

from typing import Literal

from maie_aiohttp.structure import chunks, samples, waveformat
from maie_aiohttp.structure.chunks import Chunk
from maie_aiohttp.structure.evidence import Evidence, undecided
from maie_aiohttp.structure.fields import fourccs
from maie_aiohttp.structure.waveformat import WaveFormat

_ORDERS: dict[bytes, Literal["big", "little"]] = {
    b"RIFF": "little",
    b"RIFX": "big",
    b"RF64": "little",
    b"BW64": "little",
}

# Chunks that may fill the head before the samples: broadcast metadata, padding, cover art.
_KNOWN = fourccs(
    "JUNK junk PAD FLLR LIST fact ds64 bext iXML axml chna cart id3 ID3 _PMX cue smpl inst acid PEAK umid minf elm1"
    " regn levl plst DISP afsp mext qlty dbmd"
)


def probe(head: bytes, complete: bool) -> Evidence:
    """Known chunks, then `fmt ` with a codec, a rate and channels, then `data`."""
    order = _ORDERS.get(head[:4])
    if order is None or head[8:12] != b"WAVE":
        return Evidence.NONE
    described: WaveFormat | None = None
    for chunk in chunks.walk(head, 12, chunks.Layout(order)):
        if chunk.id == b"fmt ":
            if chunk.end > len(head):
                break
            described = waveformat.parse(head[chunk.start : chunk.end], order)
            if described is None or not described.sane:
                return Evidence.NONE
        elif chunk.id == b"data":
            return judge_samples(described, chunk, head)
        elif not chunks.passable(chunk, head, _KNOWN):
            return Evidence.NONE
    return undecided(complete)


def judge_samples(described: WaveFormat | None, data: Chunk, head: bytes) -> Evidence:
    """What a `data` chunk proves, after the format that describes its samples (or without one)."""
    if described is None:
        return Evidence.NONE
    if not described.linear:
        return Evidence.AUDIO
    return samples.judge(head, data.start, data.end, described.block)
