"""Limits of time for work that may be interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Deadlines:
    """All limits of one kind of work."""

    def __init__(self) -> None:
        self._running: set[asyncio.Timeout] = set()
        self._left: dict[asyncio.Timeout, float] = {}
        """During an interruption: of each, the seconds that are left."""
        self._moving = asyncio.Event()
        self._moving.set()

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Raises TimeoutError in what takes longer. During an interruption, nothing begins."""
        while not self._moving.is_set():
            await self._moving.wait()
        async with asyncio.timeout(seconds) as limit:
            self._running.add(limit)
            try:
                yield
            finally:
                self._running.remove(limit)

    def interrupt(self) -> None:
        """Until they `go_on`, no time passes."""
        self._moving.clear()
        now = asyncio.get_running_loop().time()
        for limit in self._running:
            ends_at = limit.when()
            if ends_at is not None and not limit.expired():
                self._left[limit] = ends_at - now
                limit.reschedule(None)

    def go_on(self) -> None:
        """With the time that was left."""
        now = asyncio.get_running_loop().time()
        for limit in self._running & self._left.keys():
            limit.reschedule(now + self._left[limit])
        self._left.clear()
        self._moving.set()
