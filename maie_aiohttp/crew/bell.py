"""A bell that any process of this machine rings, and that one hears: a FIFO.

Nobody waits for anybody. Rung many times before it is heard, it is heard once; rung while nobody listens, it is heard
by whoever listens next. In the process that hears it there may be several who listen, and each of them hears it.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from maie_aiohttp.errors import StorageFailed

Heard = Callable[[], Awaitable[None]]
"""Returns when it was rung since the last time."""

FULL = 64 * 1024
"""Bytes that can wait in a FIFO, in Linux."""


class Bell:
    """As one process has it."""

    def __init__(self, file: Path) -> None:
        """`file` is made if it is missing. Raises `StorageFailed`."""
        try:
            with suppress(FileExistsError):
                os.mkfifo(file, 0o600)
            # For reading too: without a reader, writing would fail.
            self._fifo = os.open(file, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise StorageFailed(f"{file}: {error.strerror}.") from error
        self._is_closed = False
        if not stat.S_ISFIFO(os.fstat(self._fifo).st_mode):
            self.close()
            raise StorageFailed(f"{file} is not what this server put there; take it away.")
        self._listeners: set[asyncio.Event] = set()
        """One for each; set from when it is rung until that one hears it."""
        self._waiting = 0
        """How many wait for it. As long as nobody does, the FIFO keeps what is rung, and the loop has nothing to do."""

    def close(self) -> None:
        """For when nobody listens any more. Whoever still rings is not heard."""
        self._is_closed = True
        os.close(self._fifo)

    def ring(self) -> None:
        """Let it be heard once more."""
        if self._is_closed:
            return
        with suppress(BlockingIOError):  # it is full of rings that nobody has heard yet
            os.write(self._fifo, b"!")

    @contextmanager
    def listening(self) -> Iterator[Heard]:
        """For one who listens, also to what is rung while that one does something else."""
        rung = asyncio.Event()

        async def heard() -> None:
            with self._reading():
                await rung.wait()
            rung.clear()

        self._listeners.add(rung)
        try:
            yield heard
        finally:
            self._listeners.discard(rung)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """As long as anybody waits."""
        loop = asyncio.get_running_loop()
        self._waiting += 1
        if self._waiting == 1:
            loop.add_reader(self._fifo, self._hear)
        try:
            yield
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                loop.remove_reader(self._fifo)

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._fifo, FULL)
        for rung in self._listeners:
            rung.set()
