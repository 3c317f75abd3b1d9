"""How long a recording plays, as its head tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Span: TypeAlias = Callable[[bytes], float | None]
"""`span(head)`: seconds, from the first bytes of a file that is of the format; None where they do not tell, as those of
a file that was written to a pipe. Never raises, and believes what it reads."""

_UNKNOWN_FROM = 0x7FFF_0000
_UNKNOWN_TO = 0xFFFF_FFFF


def untold(_: bytes) -> float | None:
    """The head of this format does not tell."""
    return None


def told(size: int) -> int | None:
    """The bytes of sound that a header speaks of. Writers that do not know write 0, or the largest number that they
    can, less what stands before (FFmpeg 0xFFFFFFFF, SoX 0x7FFFFFFF)."""
    return None if size == 0 or _UNKNOWN_FROM <= size <= _UNKNOWN_TO else size


def ratio(count: int | None, rate: int) -> float | None:
    """Seconds that so many take at `rate` a second."""
    return count / rate if count and rate else None
