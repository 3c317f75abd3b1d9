"""Gathering of chunks into blocks, under one memory budget for all uploads.

A hop to a thread costs more than writing 64 KiB does: threads wake each other and fight over the interpreter's lock.
So chunks are gathered, up to the largest block where few uploads run and down to 64 KiB where many do, and a block is
written while the next one gathers. What waits for its client too long is written as it is, and its memory given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from maie_aiohttp.interfaces import HEAD, Chunk

SMALL = 256 * 1024
"""Bytes; an upload known to be no larger is written in one hop, verdict included."""

IDLE = 0.5
"""Seconds without a byte after which a block is written although it is not full."""


class BlockBudget:
    """How large a block may grow, given how many uploads run at this moment."""

    def __init__(self, *, largest: int, total: int) -> None:
        self._largest = largest
        self._total = total
        self._running: set[Gatherer] = set()
        self._timer: asyncio.TimerHandle | None = None

    def block_size(self) -> int:
        """Bytes to gather before the next write."""
        share = self._total // max(1, len(self._running))
        return max(HEAD, min(self._largest, share))

    def enter(self, gatherer: Gatherer) -> None:
        """Count an upload in, and look after it while its client is silent."""
        self._running.add(gatherer)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(IDLE, self._tick)

    def leave(self, gatherer: Gatherer) -> None:
        """Count an upload out."""
        self._running.discard(gatherer)
        if not self._running and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        for gatherer in self._running:
            gatherer.write_if_idle()
        self._timer = asyncio.get_running_loop().call_later(IDLE, self._tick)


class Gatherer:
    """One upload's block: filled here, written by `write` in another thread, one block at a time and in order."""

    def __init__(self, budget: BlockBudget, write: Callable[[Chunk], Awaitable[None]], *, at_most: int | None) -> None:
        self._budget = budget
        self._write = write
        self._block = bytearray()
        self._goal = at_most + 1 if at_most is not None and at_most <= SMALL else HEAD
        self._first = True
        self._silent = False
        self._writing: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Gatherer:
        self._budget.enter(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._budget.leave(self)
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)

    async def add(self, chunk: bytes) -> None:
        """Take a chunk. Raises what writing the blocks before it raised."""
        self._block += chunk
        self._silent = False
        if len(self._block) >= self._goal:
            await self._written()
            self._begin_write()
            if self._first:
                await self._written()
                self._first = False
            self._goal = self._budget.block_size()

    async def rest(self) -> Chunk:
        """The end of the upload: what is left to write, once everything before it is written."""
        await self._written()
        rest, self._block = self._block, bytearray()
        return rest

    def write_if_idle(self) -> None:
        """Begin to write an unfilled block whose client has been silent since the last call."""
        if self._silent and self._writing is None:
            self._begin_write()
        self._silent = True

    def _begin_write(self) -> None:
        if self._block:
            block, self._block = self._block, bytearray()
            self._writing = asyncio.ensure_future(self._write_block(block))

    async def _write_block(self, block: Chunk) -> None:
        await self._write(block)
        self._writing = None  # After a failure it stays, for whoever adds next.

    async def _written(self) -> None:
        while self._writing is not None:
            await self._writing
