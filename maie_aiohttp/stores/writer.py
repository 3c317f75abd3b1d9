"""One upload's blocks on their way to the disk.

A worker thread goes from one block to the next by itself. Were each handed over by the event loop, the disk would wait
for two threads to wake each other, a third of the time with blocks of 512 KiB.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from threading import Lock
from typing import Self

from maie_aiohttp.concurrency import to_its_end
from maie_aiohttp.interfaces import Advance, Chunk

DEPTH = 3
"""Blocks that are written or wait for it, beside the one that gathers."""

TURN = 8
"""Blocks in a row, before a thread turns to what else there is to do."""

Release = Callable[[], None]


class Writer:
    """Calls `write` in a thread of `executor`, one block at a time and in order. What it returns is the size in bytes
    that is durable by then, or None; `advance` hears it. Leaving the context waits for the block under way and drops
    those behind it."""

    def __init__(self, executor: Executor, write: Callable[[Chunk], int | None], advance: Advance) -> None:
        self._executor = executor
        self._write = write
        self._advance = advance
        self._loop = asyncio.get_running_loop()
        self._blocks: deque[tuple[Chunk, Release]] = deque()
        self._awake = False
        """Whether a thread looks after the blocks."""
        self._lock = Lock()
        """Of these two, which loop and thread both use."""
        self._unwritten = 0
        self._dropping = False
        self._failure: Exception | None = None
        self._durable: int | None = None
        self._telling: asyncio.Task[None] | None = None
        self._change = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._dropping = True
        if not self._is_at_rest():
            await to_its_end(self._until(self._is_at_rest))

    @property
    def is_idle(self) -> bool:
        """Whether all is written."""
        return not self._unwritten

    def put(self, block: Chunk, release: Release) -> None:
        """Have the block written; `release` is called when its memory is free again. Raises RuntimeError where the
        system has no thread for it."""
        with self._lock:
            self._blocks.append((block, release))
            asleep, self._awake = not self._awake, True
        if asleep:
            self._executor.submit(self._work)
        self._unwritten += 1

    async def room(self) -> None:
        """Wait until another block may be put. Raises what writing, or `advance`, raised."""
        await self._until(lambda: self._unwritten < DEPTH or self._failure is not None)
        self.check()

    async def written(self) -> None:
        """Wait until all is written, and `advance` has heard of it. Raises what either raised."""
        await self._until(self._is_at_rest)
        self.check()

    def check(self) -> None:
        """Raises what writing, or `advance`, has raised by now."""
        if self._failure is not None:
            raise self._failure

    def _is_at_rest(self) -> bool:
        return self.is_idle and self._telling is None

    async def _until(self, met: Callable[[], bool]) -> None:
        while not met():
            self._change.clear()
            await self._change.wait()

    def _work(self) -> None:
        """In the thread: write what is there, but for a turn at most."""
        for _ in range(TURN):
            block, release = self._blocks.popleft()
            self._loop.call_soon_threadsafe(self._done, release, *self._attempt(block))
            with self._lock:
                goes_on = self._awake = bool(self._blocks)
            if not goes_on:  # `_awake` may be another thread's by now
                return
        self._executor.submit(self._work)

    def _attempt(self, block: Chunk) -> tuple[int | None, Exception | None]:
        """What writing returns and what it raises. After a failure, nothing is written."""
        if self._dropping:
            return None, None
        try:
            return self._write(block), None
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the loop's
            self._dropping = True
            return None, error

    def _done(self, release: Release, durable: int | None, failure: Exception | None) -> None:
        """In the loop again."""
        release()
        self._unwritten -= 1
        self._failure = self._failure or failure
        if durable is not None and self._failure is None:
            self._durable = durable
            self._telling = self._telling or asyncio.create_task(self._tell())
        self._change.set()

    async def _tell(self) -> None:
        """Of what became durable meanwhile, the newest counts."""
        try:
            while self._durable is not None:
                durable, self._durable = self._durable, None
                await self._advance(durable)
        except Exception as error:  # noqa: BLE001 - it is raised where the upload waits next
            self._failure = self._failure or error
        self._telling = None
        self._change.set()
