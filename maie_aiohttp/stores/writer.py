"""One upload's blocks on their way to the disk.

A worker thread goes from one block to the next by itself. Were each handed over by the event loop, the disk would wait
for two threads to wake each other, a third of the time with blocks of 512 KiB.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from threading import Lock
from typing import Self

from maie_aiohttp.concurrency import to_its_end
from maie_aiohttp.interfaces import Chunk

DEPTH = 3
"""Blocks that are written or wait for it, beside the one that gathers."""

TURN = 8
"""Blocks in a row, before a thread turns to what else there is to do."""

Release = Callable[[], None]


class Writer:
    """Calls `write` in a thread of `executor`, one block at a time and in order. It returns whether it is time for
    `flush`, which goes on beside the next blocks; but where it is time again before one has ended, there is no room for
    more. Leaving the context waits for the block under way, and for `flush`, and drops the blocks behind it."""

    def __init__(
        self, executor: Executor, write: Callable[[Chunk], bool], flush: Callable[[], Awaitable[None]]
    ) -> None:
        self._executor = executor
        self._write = write
        self._flush = flush
        self._loop = asyncio.get_running_loop()
        self._blocks: deque[tuple[Chunk, Release]] = deque()
        self._awake = False
        """Whether a thread looks after the blocks."""
        self._lock = Lock()
        """Of these two, which loop and thread both use."""
        self._unwritten = 0
        self._dropping = False
        self._failure: BaseException | None = None
        self._is_due = False
        """Whether it is time to flush what was written since a flush began."""
        self._flushing: asyncio.Task[None] | None = None
        self._change = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._dropping = True
        if not self._is_at_rest():
            await to_its_end(self._until(self._is_at_rest))

    @property
    def keeps_up(self) -> bool:
        """Whether all is written, and no flush waits for another."""
        return not self._unwritten and not self._is_due

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
        """Wait until another block may be put. Raises what writing, or `flush`, raised."""
        await self._until(self._has_room)
        self.check()

    async def written(self) -> None:
        """Wait until all is written, and no flush is under way. Raises what either raised."""
        await self._until(self._is_at_rest)
        self.check()

    def check(self) -> None:
        """Raises what writing, or `flush`, has raised by now."""
        if self._failure is not None:
            raise self._failure

    def _has_room(self) -> bool:
        return (self._unwritten < DEPTH and not self._is_due) or self._failure is not None

    def _is_at_rest(self) -> bool:
        return not self._unwritten and self._flushing is None

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

    def _attempt(self, block: Chunk) -> tuple[bool, Exception | None]:
        """What writing returns and what it raises. After a failure, nothing is written."""
        if self._dropping:
            return False, None
        try:
            return self._write(block), None
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the loop's
            self._dropping = True
            return False, error

    def _done(self, release: Release, is_due: bool, failure: Exception | None) -> None:
        """In the loop again."""
        release()
        self._unwritten -= 1
        self._failure = self._failure or failure
        if is_due:
            self._is_due = True
            self._flushing = self._flushing or asyncio.create_task(self._flush_while_due())
        self._change.set()

    async def _flush_while_due(self) -> None:
        """One at a time, and none after a failure: the system says once that bytes were lost, and only to one of two
        who flush."""
        try:
            while self._is_due and self._failure is None:
                self._is_due = False
                self._change.set()  # there is room again
                await self._flush()
        except BaseException as error:  # noqa: BLE001 - it is raised where the upload waits next, a cancellation too
            self._failure = self._failure or error
        self._flushing = None
        self._change.set()
