"""Stopping without losing uploads. aiohttp's own shutdown drops all input first, so that no upload under way could
ever end; this one refuses new work, lets what runs finish, and tells the rest to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from maie_aiohttp.errors import Draining, IntakeError


class Interruptible(Protocol):
    """A body that is being read."""

    def interrupt(self, error: IntakeError) -> None:
        """Make whoever waits for its next byte, now or later, get `error` instead."""
        ...


class Drain:
    """Counts the uploads that run, and ends them when their time is up."""

    def __init__(self) -> None:
        self._running: set[Interruptible] = set()
        self._streams: set[Callable[[], None]] = set()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._running)

    def check(self) -> None:
        """Raises `Draining` when the server is stopping."""
        if self._draining:
            raise _stopping()

    @contextmanager
    def upload(self, body: Interruptible) -> Iterator[None]:
        """Counts one upload while it runs. Raises `Draining`, at once or from its next read."""
        self.check()
        self._running.add(body)
        self._empty.clear()
        try:
            yield
        finally:
            self._running.discard(body)
            if not self._running:
                self._empty.set()

    @contextmanager
    def stream(self, end: Callable[[], None]) -> Iterator[None]:
        """Something that goes on until `end` is called, which stopping begins with. Raises `Draining`."""
        self.check()
        self._streams.add(end)
        try:
            yield
        finally:
            self._streams.discard(end)

    async def run(self, patience: float, give_up: Callable[[], Awaitable[None]]) -> int:
        """End all streams, refuse new uploads and wait `patience` seconds for those that run. Then interrupt them, let
        `give_up` end what they wait for besides their bodies, and wait for those that are beyond interrupting. Returns
        how many still ran."""
        self._draining = True
        for end in self._streams:
            end()
        try:
            async with asyncio.timeout(patience):
                await self._empty.wait()
        except TimeoutError:
            return await self._interrupt(give_up)
        return 0

    async def _interrupt(self, give_up: Callable[[], Awaitable[None]]) -> int:
        late = len(self._running)
        for body in self._running:
            body.interrupt(_stopping())
        await give_up()
        await self._empty.wait()
        return late


def _stopping() -> Draining:
    return Draining("The server is stopping; send the upload again.")
