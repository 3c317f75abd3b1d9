"""How long a recording plays, by where its packets stand in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.packet import Packet

NEGATIVE = 1 << 31
"""Of an Ogg that ends before its last packet would, FFmpeg gives the negative rest as 32 bits without a sign: 27 h."""


@dataclass(slots=True)
class Timeline:
    """The packets of one stream."""

    tick: float
    """Seconds."""
    packets: int = 0
    is_measured: bool = True
    """Whether the last packet says how long it lasts."""
    _first: int | None = None
    _end: int = 0

    @classmethod
    def of(cls, stream: AudioStream) -> Timeline:
        """Nothing has been seen of it yet."""
        return cls(float(stream.time_base or 0))

    def see(self, packet: Packet[AudioStream]) -> None:
        """The next one."""
        lasts = packet.duration or 0
        self.packets += 1
        self.is_measured = lasts > 0
        if packet.pts is not None:
            end = packet.pts + (lasts if lasts < NEGATIVE else 0)
            self._first = packet.pts if self._first is None else min(self._first, packet.pts)
            self._end = end if self.packets == 1 else max(self._end, end)

    @property
    def seconds(self) -> float:
        """From the first packet to the end of the last."""
        return 0.0 if self._first is None else max(0.0, (self._end - self._first) * self.tick)
