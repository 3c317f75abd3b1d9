"""What is found out about recordings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Finding(StrEnum):
    """What is amiss with a recording that was accepted all the same. The values are part of the HTTP interface."""

    TRUNCATED = "truncated"
    """It ends before its header says."""
    NO_AUDIO = "no-audio"
    """There is a header, and nothing behind it that could be decoded."""
    SILENT = "silent"
    """There is nothing to hear, from the beginning to the end."""
    CLIPPED = "clipped"
    """It was recorded too loud: tops are cut off."""
    CORRUPT = "corrupt"
    """Some of it, in the middle, cannot be decoded."""
    UNEXAMINED = "unexamined"
    """Those who should have listened crashed, or took too long."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a recording is, as far as it could be found out."""

    codec: str | None = None
    """FFmpeg's name for it."""
    duration: float | None = None
    """Seconds."""
    sample_rate: int | None = None
    """Hertz."""
    channels: int | None = None
    bit_rate: int | None = None
    """Bits a second, of the whole file."""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Outline:
    """How loud a recording is, stretch by stretch."""

    sample_rate: int
    """Hertz."""
    stretch: int
    """Samples in each, of all channels together."""
    pairs: bytes
    """The lowest and the highest of each, as two numbers of 16 bits, little-endian."""


@dataclass(frozen=True, slots=True)
class Sought:
    """Which facts an upload must have to be listed; None says nothing of it."""

    duration_min: float | None = None
    """Seconds, as the next."""
    duration_max: float | None = None
    codec: str | None = None
    finding: Finding | None = None


ANY_FACTS = Sought()
