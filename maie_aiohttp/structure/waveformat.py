"""WAVEFORMATEX and WAVEFORMATEXTENSIBLE, the format description in RIFF, RF64 and W64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_PCM, _FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
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


def parse(body: bytes, order: Literal["big", "little"] = "little") -> WaveFormat | None:
    """Read the body of a `fmt ` chunk; None when it is shorter than the 14 bytes of a WAVEFORMAT."""
    if len(body) < 14:
        return None
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
