"""A bell that any process of this machine rings, and that one hears: a FIFO.

Nobody waits for anybody. Rung many times before it is heard, it is heard once; rung while nobody listens, it is heard
by whoever listens next.
"""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import suppress
from pathlib import Path

from maie_aiohttp.errors import StorageFailed

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
        if not stat.S_ISFIFO(os.fstat(self._fifo).st_mode):
            self.close()
            raise StorageFailed(f"{file} is not what this server put there; take it away.")

    def close(self) -> None:
        """For when nobody rings or listens any more."""
        os.close(self._fifo)

    def ring(self) -> None:
        """Let it be heard once more."""
        with suppress(BlockingIOError):  # it is full of rings that nobody has heard yet
            os.write(self._fifo, b"!")

    async def heard(self) -> None:
        """Returns when it was rung since the last time."""
        loop, rung = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._fifo, rung.set)
        try:
            await rung.wait()
        finally:
            loop.remove_reader(self._fifo)
        with suppress(BlockingIOError):
            os.read(self._fifo, FULL)
