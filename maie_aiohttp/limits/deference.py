"""Work for which nobody waits gives way to uploads: while this process is busy, it gets a tenth of the time.

Low priority alone is not enough: the caches and the memory's bandwidth are everybody's. Beside a child process of low
priority that decodes, an upload of 500 MB got 800 MB/s instead of 950.
"""

from __future__ import annotations

import asyncio
from time import monotonic, process_time
from typing import NoReturn, Protocol

REST = 9.0
"""Seconds of rest for each second of work."""

BUSY = 0.5
"""Of one core."""

LOOK = 0.05
"""Seconds between two looks at whether this process is busy. No work between two rests is shorter."""


class Interruptible(Protocol):
    """Work in other processes, with limits of time."""

    def interrupt(self) -> None:
        """Let it stand still. No time passes for it."""

    def go_on(self) -> None:
        """Let it go on."""


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


async def give_way(work: Interruptible, under_way: asyncio.Event) -> NoReturn:
    """Whenever this process is busy while work is `under_way`, interrupt it for a while."""
    while True:
        await under_way.wait()
        load = Load()
        await asyncio.sleep(LOOK)
        worked = load.seconds
        if load.measured() > BUSY:
            await _rest(work, load, REST * worked)


async def _rest(work: Interruptible, load: Load, seconds: float) -> None:
    """For so long, or until this process is not busy any more."""
    ends_at = monotonic() + seconds
    try:
        work.interrupt()
        while monotonic() < ends_at:
            await asyncio.sleep(LOOK)
            if load.measured() <= BUSY:
                return
    finally:
        work.go_on()
