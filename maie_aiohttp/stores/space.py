"""Free space: what uploads may still take of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic
from typing import TypeVar

from maie_aiohttp.errors import StorageFull
from maie_aiohttp.limits.ledger import Claim, Ledger
from maie_aiohttp.stores import fsio

Answer = TypeVar("Answer")

FRESH = 0.1
"""Seconds for which one measurement is good enough to promise room. It takes a hop to a thread, since a disk that hangs
must not stop all else."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """Free space that uploads leave alone: the smaller of `size` bytes and `ratio` of the file system."""

    size: int
    ratio: float

    def free(self, descriptor: int) -> int:
        """Bytes that uploads may take on the file system of an open file or folder; negative where the reserve
        is already touched. Raises OSError."""
        found = fsio.fstatvfs(descriptor)
        kept = min(self.size, int(self.ratio * found.f_blocks * found.f_frsize))
        return found.f_bavail * found.f_frsize - kept


class Space:
    """The ledger of a file system, with the measurements it needs: one at a time, shared by all who ask."""

    def __init__(self, measure: Callable[[], Awaitable[int]]) -> None:
        self._measure = measure
        self._ledger = Ledger()
        self._measured_at = -inf
        self._measuring: asyncio.Future[None] | None = None

    async def claim(self, size: int) -> Claim:
        """Promise `size` bytes. Raises `StorageFull`, and what measuring raises."""
        return await self._asked(partial(self._ledger.claim, size))

    async def confirm(self, claim: Claim) -> None:
        """Raises `StorageFull` where others have taken what was promised, and what measuring raises."""
        await self._asked(partial(self._ledger.confirm, claim))

    def promise(self, size: int) -> Claim:
        """Promise without asking."""
        return self._ledger.promise(size)

    async def _asked(self, ask: Callable[[], Answer]) -> Answer:
        """What the ledger says. It does not refuse because of what was measured before."""
        if monotonic() - self._measured_at >= FRESH:
            await self._look()
        with suppress(StorageFull):
            return ask()
        await self._look()
        return ask()

    async def _look(self) -> None:
        if self._measuring is None:
            self._measuring = asyncio.ensure_future(self._measure_now())
            self._measuring.add_done_callback(self._measured)
        await asyncio.shield(self._measuring)

    async def _measure_now(self) -> None:
        begun, spent = monotonic(), self._ledger.spent
        self._ledger.measured(await self._measure(), spent)
        self._measured_at = begun

    def _measured(self, measuring: asyncio.Future[None]) -> None:
        self._measuring = None
        if not measuring.cancelled():
            measuring.exception()  # seen, also where nobody waits for it any more
