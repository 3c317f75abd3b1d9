"""A recording's packets, decoded as far as they can be, and their sound as numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from maie_aiohttp.inspection.timeline import Timeline

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

Samples: TypeAlias = NDArray[np.float32]
"""One row a channel; 1.0 is full scale."""

LOUDEST = 8.0
"""Times full scale; floats may say anything."""

BLOCK = 65_536
"""Samples of each channel that are looked at together: some frames hold no more than 32."""


class Playback:
    """One stream, from its first packet to its last."""

    def __init__(self, container: InputContainer, stream: AudioStream, patience: float) -> None:
        """After `patience` seconds of this process's time nothing more is decoded; the packets are counted all the
        same."""
        self._container = container
        self._stream = stream
        self._ends_at = time.process_time() + patience
        self.timeline = Timeline.of(stream)
        self.rate = stream.codec_context.sample_rate
        self.channels = stream.codec_context.channels
        self.samples = 0
        """Of each channel."""
        self.refused: list[int] = []
        """The packets that could not be decoded, counted from 1."""
        self.breaks_off = False
        """Whether there is less of the last packet than there should be, or nothing more could be read."""
        self.is_heard = True
        """Whether all of it was decoded."""

    @property
    def seconds(self) -> float:
        """So much of it was decoded."""
        return self.samples / self.rate if self.rate else 0.0

    def blocks(self) -> Iterator[Samples]:
        """Its sound."""
        gathered: list[NDArray[Any]] = []
        size = 0
        for frame in self._frames():
            part = _channels(frame)
            if gathered and (size >= BLOCK or _is_other(part, gathered[0])):
                yield _scaled(np.concatenate(gathered, axis=1))
                gathered.clear()
                size = 0
            gathered.append(part)
            size += frame.samples
        if gathered:
            yield _scaled(np.concatenate(gathered, axis=1))

    def _frames(self) -> Iterator[AudioFrame]:
        for packet in self._packets():
            if packet.size:  # the one behind the last has none
                self.timeline.see(packet)
                self.breaks_off = packet.is_corrupt
            self.is_heard = self.is_heard and time.process_time() < self._ends_at
            if self.is_heard:
                yield from self._decoded(packet)

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        try:
            yield from self._container.demux(self._stream)
        except MemoryError:
            raise
        except av.FFmpegError:
            self.breaks_off = True

    def _decoded(self, packet: Packet[AudioStream]) -> Iterator[AudioFrame]:
        try:
            frames = packet.decode()
        except MemoryError:
            raise
        except av.FFmpegError:
            self.refused.append(self.timeline.packets)
            return
        for frame in frames:
            if self.samples == 0:  # what it says is what is heard; headers have been seen to say half the rate
                self.rate, self.channels = frame.sample_rate, frame.layout.nb_channels
            self.samples += frame.samples
            yield frame


def _channels(frame: AudioFrame) -> NDArray[Any]:
    """Its samples as they are, one row a channel."""
    found: NDArray[Any] = frame.to_ndarray()
    return found if frame.format.is_planar else found.reshape(-1, frame.layout.nb_channels).T


def _is_other(part: NDArray[Any], first: NDArray[Any]) -> bool:
    """Whether it cannot stand in one block with the first."""
    return len(part) != len(first) or part.dtype != first.dtype


def _scaled(found: NDArray[Any]) -> Samples:
    sound: Samples = found.astype(np.float32, copy=False)
    if found.dtype.kind == "f":
        return np.clip(np.nan_to_num(sound), -LOUDEST, LOUDEST)
    if found.dtype.kind == "u":  # bytes, of which 128 is silence
        return (sound - np.float32(128)) / np.float32(127)
    return sound / np.float32((1 << 8 * found.dtype.itemsize - 1) - 1)
