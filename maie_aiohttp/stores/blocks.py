"""Gathering of chunks into blocks, under one memory budget for all uploads.

A hop to a thread costs more than writing 64 KiB does: threads wake each other and fight over the interpreter's lock.
So chunks are gathered, up to the largest block where few uploads run and down to 64 KiB where many do, and blocks are
written while the next one gathers. What waits for its client too long is written as it is, and its memory given back;
and when the budget is used up, uploads wait for a place before they read on.
"""

from __future__ import annotations

import asyncio

from maie_aiohttp.interfaces import HEAD, Chunk
from maie_aiohttp.limits import allocator
from maie_aiohttp.stores.writer import DEPTH, Writer

SMALL = 256 * 1024
"""Bytes; an upload known to be no larger is written in one hop, verdict included."""

CRUMB = 4 * 1024
"""Bytes that a block may hold without a place, so that clients which drip keep nobody waiting."""

CROWD = 100
"""Uploads; when so many fall silent, what their blocks have left in memory is worth looking for."""

PATIENCE = 0.5
"""Seconds after which a block that is not full is written as it is: at the latest after twice as long."""

HURRY = 0.05
"""The same while somebody waits for a place."""


class BlockBudget:
    """How large a block may grow, given how many uploads run at this moment, and how many blocks there may be."""

    def __init__(self, *, largest: int, total: int) -> None:
        self._largest = largest
        self._total = total
        self._places = asyncio.Semaphore(max(1, total // HEAD))
        self._taken = 0
        self._used = False
        """Whether a place was taken since memory was last given back."""
        self._running: set[Gatherer] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._hurried = False

    def block_size(self) -> int:
        """Bytes to gather before the next write."""
        share = self._total // (max(1, len(self._running)) * (1 + DEPTH))
        return max(HEAD, min(self._largest, share))

    async def take_place(self) -> None:
        """Wait until another block may be gathered; meanwhile the client waits, and its bytes with it."""
        if self._places.locked():
            self._hurry()
        await self._places.acquire()
        self._taken += 1
        self._used = True

    def give_place(self) -> None:
        """A block was written."""
        self._taken -= 1
        self._places.release()

    def enter(self, gatherer: Gatherer) -> None:
        """Count an upload in, and look after its block."""
        self._running.add(gatherer)
        if self._timer is None:
            self._tick_in(PATIENCE)

    def leave(self, gatherer: Gatherer) -> None:
        """Count an upload out."""
        self._running.discard(gatherer)
        if not self._running and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hurry(self) -> None:
        """Somebody waits for a place: look sooner who does not need theirs."""
        if self._timer is not None and not self._hurried:
            self._timer.cancel()
            self._tick_in(HURRY)

    def _tick_in(self, seconds: float) -> None:
        self._hurried = seconds == HURRY
        self._timer = asyncio.get_running_loop().call_later(seconds, self._tick)

    def _tick(self) -> None:
        self._tick_in(HURRY if self._places.locked() else PATIENCE)
        for gatherer in self._running:
            gatherer.write_if_old()
        if self._used and not self._taken and len(self._running) >= CROWD:
            self._used = False
            asyncio.get_running_loop().run_in_executor(None, allocator.trim)


class Gatherer:
    """One upload's block: filled here, then passed on to the `writer`."""

    def __init__(self, budget: BlockBudget, writer: Writer, *, at_most: int | None) -> None:
        self._budget = budget
        self._writer = writer
        self._block = bytearray()
        small = min(SMALL, budget.block_size())
        self._goal = at_most + 1 if at_most is not None and at_most <= small else HEAD
        self._first = True
        self._placed = False
        self._old = False

    async def __aenter__(self) -> Gatherer:
        self._budget.enter(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._budget.leave(self)
        if self._placed:
            self._budget.give_place()

    async def add(self, chunk: bytes) -> None:
        """Take a chunk. Raises what writing the blocks before it raised, also to clients too slow to fill one."""
        self._writer.check()
        if not self._placed and len(self._block) + len(chunk) > CRUMB:
            await self._budget.take_place()
            self._placed = True
        self._block += chunk
        if len(self._block) >= self._goal:
            await self._writer.room()
            self._pass_on()
            if self._first:
                await self._writer.written()
                self._first = False
            self._goal = self._budget.block_size()

    async def rest(self) -> Chunk:
        """The end of the upload: what is left to write, once everything before it is written."""
        await self._writer.written()
        rest, self._block = self._block, bytearray()
        return rest

    def write_if_old(self) -> None:
        """Begin to write a block that was begun before the last call and is not full yet."""
        if self._old and self._writer.is_idle:
            self._pass_on()
        self._old = bool(self._block)

    def _pass_on(self) -> None:
        if self._block:
            self._writer.put(self._block, self._budget.give_place if self._placed else _nothing)
            self._block, self._placed, self._old = bytearray(), False, False


def _nothing() -> None:
    """A crumb has no place to give back."""
