"""How many blocks of all uploads there may be, and who gathers one.

The disk is given few large blocks: with each small one, threads wake each other and fight over the interpreter's lock.
Where a thousand uploads run, a few gather at a time, and the others' bytes wait in the network. Whoever has nothing to
gather at the moment gives its place to the next.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from maie_aiohttp.limits import allocator

CROWD = 100
"""Uploads; when so many fall silent, what their blocks have left in memory is worth looking for."""

PATIENCE = 0.5
"""Seconds after which a block that is not full is written as it is: at the latest after twice as long."""

HURRY = 0.005
"""Seconds in which a block must grow while somebody waits for a place: at the latest in twice as long."""


class Gathers(Protocol):
    """One upload, with a block or without."""

    def write_if_old(self) -> None:
        """Pass on a block that was begun before the last call, full or not."""
        ...

    def write_if_still(self) -> None:
        """Pass on a block that has not grown since the last call, or the place for it."""
        ...


class BlockBudget:
    """Places for blocks, of `block_size` bytes each and `total` bytes together."""

    def __init__(self, *, largest: int, total: int) -> None:
        self.block_size = largest
        """Bytes to gather before the next write."""
        self._places = asyncio.Semaphore(max(1, total // largest))
        self._taken = 0
        self._used = False
        """Whether a place was taken since memory was last given back."""
        self._running: set[Gathers] = set()
        self._filling: set[Gathers] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._hurries = False

    async def take_place(self, gatherer: Gathers) -> None:
        """Wait until another block may be gathered; meanwhile the client waits, and its bytes with it."""
        if self._places.locked():
            self._hurry()
        await self._places.acquire()
        self._taken += 1
        self._used = True
        self._filling.add(gatherer)

    def filled(self, gatherer: Gathers) -> None:
        """It gathers no more in its place, which is to be given back yet."""
        self._filling.discard(gatherer)

    def give_place(self) -> None:
        """A block was written, or a place not used."""
        self._taken -= 1
        self._places.release()

    def enter(self, gatherer: Gathers) -> None:
        """Count an upload in, and look after its block."""
        self._running.add(gatherer)
        if self._timer is None:
            self._tick_later()

    def leave(self, gatherer: Gathers) -> None:
        """Count an upload out."""
        self._running.discard(gatherer)
        self._filling.discard(gatherer)
        if not self._running and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hurry(self) -> None:
        """Somebody waits for a place: look who does not need theirs."""
        if not self._hurries:
            self._hurries = True
            asyncio.get_running_loop().call_later(HURRY, self._hasten)

    def _hasten(self) -> None:
        self._hurries = False
        for gatherer in tuple(self._filling):
            gatherer.write_if_still()
        if self._places.locked():
            self._hurry()

    def _tick_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._tick)

    def _tick(self) -> None:
        self._tick_later()
        for gatherer in self._running:
            gatherer.write_if_old()
        if self._used and not self._taken and len(self._running) >= CROWD:
            self._used = False
            asyncio.get_running_loop().run_in_executor(None, allocator.trim)
