"""What looks for malware."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol

Begin = Callable[[], Awaitable[None]]
"""Hears that a scan begins."""


class Scanner(Protocol):
    """Looks through finished files for malware. Raises `errors.Busy` while it cannot."""

    @property
    def has_a_say(self) -> bool:
        """Whether files wait for its verdict, or nobody looks."""
        ...

    async def admit(self) -> None:
        """Raise what an upload would meet, if the last one met it and it is still so."""
        ...

    async def probe(self) -> None:
        """Raise what an upload would meet now."""
        ...

    async def scan(self, chunks: AsyncGenerator[bytes, None], begin: Begin) -> None:
        """Look through a file, and let `begin` know before that. Raises `errors.Infected`; `errors.TooLarge` if it is
        more than the scanner looks through; `errors.Draining` when the scanner stops; and what `chunks` and `begin`
        raise."""
        ...

    async def stop(self) -> None:
        """End all scans, and begin no more."""
        ...
