"""How many blocks of all uploads there may be, and who gathers one.

The disk is given few large blocks: with each small one, threads wake each other and fight over the interpreter's lock.
Where a thousand uploads run, a few gather at a time, and the others' bytes wait in the network. Whoever has nothing to
gather at the moment leaves its place to the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from maie_aiohttp.limits import allocator

CROWD = 100
"""Uploads; when so many fall silent, what their blocks have left in memory is worth looking for."""

PATIENCE = 0.5
"""Seconds after which a block that is not full is written as it is: at the latest after twice as long."""

HURRY = 0.05
"""Seconds in which a block must grow while somebody waits for a place: at the latest in twice as long."""

SMALLEST_CRUMB, LARGEST_CRUMB = 4 * 1024, 60 * 1024
"""Bytes that a block may have without a place, so that uploads which drip keep nobody waiting."""

MUCH = 32 * 1024
"""Bytes in somebody's hands."""

OTHERS_TURN = 8
"""Of so many places, one is not for those who have much in their hands, unless nobody else waits."""


class Gathers(Protocol):
    """One upload, with a block or without."""

    def write_if_old(self) -> None:
        """Pass on a block that was begun before the last call, full or not."""
        ...

    def write_if_still(self) -> None:
        """Pass on a block that has not grown since the last call, or the place for it."""
        ...


class BlockBudget:
    """Memory for blocks: two thirds of `total` bytes in places of `block_size` each, one third in crumbs, which need no
    place."""

    def __init__(self, *, largest: int, total: int) -> None:
        self.block_size = largest
        """Bytes to gather before the next write."""
        self._crumbs = total // 3
        self._places = self._free = max(1, (total - self._crumbs) // largest)
        self._given = 0
        """How often a place was."""
        self._line: deque[asyncio.Future[None]] = deque()
        """Who waits for a place."""
        self._laden: deque[asyncio.Future[None]] = deque()
        """The same, of those who have much in their hands."""
        self._used = False
        """Whether a place was taken since memory was last given back."""
        self._running: set[Gathers] = set()
        self._filling: set[Gathers] = set()
        """Who gathers in a place, or is about to."""
        self._timer: asyncio.TimerHandle | None = None
        self._hurries = False

    @property
    def crumb(self) -> int:
        """Bytes that a block may have without a place."""
        return max(SMALLEST_CRUMB, min(LARGEST_CRUMB, self._crumbs // max(1, len(self._running))))

    async def take_place(self, gatherer: Gathers, in_hand: int = 0) -> None:
        """Wait until another block may be gathered; meanwhile the client waits, and its bytes with it. Those who have
        much in their hands go before the others, mostly."""
        if self._free:
            self._free -= 1
        else:
            await self._stand_in(self._laden if in_hand > MUCH else self._line)
        self._used = True
        self._filling.add(gatherer)

    def filled(self, gatherer: Gathers) -> None:
        """Its block goes to the disk, and takes the place with it."""
        self._filling.discard(gatherer)

    def give_place(self) -> None:
        """A block was written, or a place not used."""
        self._given += 1
        lines = (self._laden, self._line) if self._given % OTHERS_TURN else (self._line, self._laden)
        for line in lines:
            while line:
                turn = line.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1

    def enter(self, gatherer: Gathers) -> None:
        """Count an upload in, and look after its block."""
        self._running.add(gatherer)
        if self._timer is None:
            self._tick_later()

    def leave(self, gatherer: Gathers) -> None:
        """Count an upload out; if it has a place, that is still to be given back. A second call does nothing."""
        self._running.discard(gatherer)
        self._filling.discard(gatherer)
        if not self._running and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _stand_in(self, line: deque[asyncio.Future[None]]) -> None:
        turn = asyncio.get_running_loop().create_future()
        line.append(turn)
        self._hurry()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give_place()
            raise

    def _hurry(self) -> None:
        """Somebody waits for a place: look who does not need theirs."""
        if (self._line or self._laden) and not self._hurries:
            self._hurries = True
            asyncio.get_running_loop().call_later(HURRY, self._hasten)

    def _hasten(self) -> None:
        self._hurries = False
        self._hurry()
        for gatherer in tuple(self._filling):
            gatherer.write_if_still()

    def _tick_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._tick)

    def _tick(self) -> None:
        self._tick_later()
        for gatherer in self._running:
            gatherer.write_if_old()
        if self._used and self._free == self._places and len(self._running) >= CROWD:
            self._used = False
            asyncio.get_running_loop().run_in_executor(None, allocator.trim)
