"""Work for which nobody waits gives way to uploads: while this process is busy, it gets a tenth of the time.

Low priority alone is not enough. A child process that decodes takes nothing from uploads while they run, but the caches
and the memory's bandwidth are everybody's: beside one, an upload of 500 MB got 600 MB/s instead of 1,000.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic, process_time

REST = 9.0
"""Seconds of rest for each second of work."""

BUSY = 0.5
"""Of one core."""

LOOK = 0.25
"""Seconds between two looks at whether it still is."""


class Load:
    """How busy this process is."""

    def __init__(self) -> None:
        self._begin()

    @property
    def seconds(self) -> float:
        """Since the beginning, or since the last time it was measured."""
        return monotonic() - self._since

    def measured(self) -> float:
        """Of one core, in that time; more than 1 where several were used."""
        load = (process_time() - self._used) / max(self.seconds, 1e-6)
        self._begin()
        return load

    def _begin(self) -> None:
        self._since, self._used = monotonic(), process_time()


@asynccontextmanager
async def giving_way() -> AsyncIterator[None]:
    """Work in another process. Where this one was busy meanwhile, rest behind it, until it is not any more."""
    load = Load()
    yield
    left = REST * load.seconds
    while left > 0 and load.measured() > BUSY:
        pause = min(left, LOOK)
        await asyncio.sleep(pause)
        left -= pause
