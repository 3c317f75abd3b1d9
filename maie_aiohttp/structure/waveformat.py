"""WAVEFORMATEX and WAVEFORMATEXTENSIBLE, the format description in RIFF, RF64 and W64."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from maie_aiohttp.structure import chunks, samples
from maie_aiohttp.structure.chunks import Chunk, Order
from maie_aiohttp.structure.evidence import Evidence, undecided
from maie_aiohttp.structure.span import ratio, told

_PCM, _FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_A_LAW, _MU_LAW = 0x0006, 0x0007
_LINEAR_BITS = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}


@dataclass(frozen=True, slots=True)
class WaveFormat:
    """The fields that matter here; `tag` is that of the sub-format where the format is extensible."""

    tag: int
    channels: int
    rate: int
    block: int
    bits: int

    @property
    def sane(self) -> bool:
        """Whether a decoder could start at all."""
        return self.tag != 0 and self.channels > 0 and self.rate > 0

    @property
    def linear(self) -> bool:
        """Whether the samples are whole bytes of plain linear PCM, packed without gaps."""
        bits = _LINEAR_BITS.get(self.tag, ())
        return self.bits in bits and self.block == self.channels * self.bits // 8

    @property
    def speed(self) -> int:
        """Bytes a second; 0 where they cannot be told from the format. What encoders write there is often wrong."""
        return self.rate * self.block if self.linear or self.tag in (_A_LAW, _MU_LAW) else 0


@dataclass(frozen=True, slots=True)
class Names:
    """The chunk ids of one form of WAVE."""

    fmt: bytes
    data: bytes
    known: frozenset[bytes]
    """The format and whatever else may stand before the samples, however long."""


def judge(head: bytes, complete: bool, found: Iterable[Chunk], names: Names, order: Order) -> Evidence:
    """What the chunks of a WAVE file prove: known ones, a format with a codec, a rate and channels, then samples."""
    described: WaveFormat | None = None
    for chunk in found:
        if chunk.id == names.data:
            return _judge_samples(head, chunk, described)
        if not chunks.passable(chunk, head, names.known):
            return Evidence.NONE
        if chunk.id == names.fmt and chunk.end <= len(head):
            described = _parse(head[chunk.start : chunk.end], order)
            if not described.sane:
                return Evidence.NONE
    return undecided(complete)


def span(head: bytes, found: Iterable[Chunk], names: Names, order: Order) -> float | None:
    """Seconds, by the size of the samples' chunk; that of RF64 stands elsewhere (EBU Tech 3306)."""
    speed, large = 0, None
    for chunk in found:
        if chunk.id == b"ds64":
            large = told(int.from_bytes(head[chunk.start + 8 : chunk.start + 16], order))
        elif chunk.id == names.fmt:
            speed = _parse(head[chunk.start : chunk.end], order).speed
        elif chunk.id == names.data:
            return ratio(large or told(chunk.size), speed)
    return None


def _judge_samples(head: bytes, data: Chunk, described: WaveFormat | None) -> Evidence:
    if described is None:
        return Evidence.NONE
    if not described.linear:
        return Evidence.AUDIO
    return samples.judge(head, data.start, data.end, described.block)


def _parse(body: bytes, order: Order) -> WaveFormat:
    """The body of a format chunk; fields it is too short for are 0."""
    tag = int.from_bytes(body[0:2], order)
    if tag == _EXTENSIBLE:
        tag = int.from_bytes(body[24:26], order)  # the sub-format's GUID starts with the plain tag
    return WaveFormat(
        tag=tag,
        channels=int.from_bytes(body[2:4], order),
        rate=int.from_bytes(body[4:8], order),
        block=int.from_bytes(body[12:14], order),
        bits=int.from_bytes(body[14:16], order),
    )
