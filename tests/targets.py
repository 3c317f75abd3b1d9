"""A target that writes down what it is told, and does what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from maie_aiohttp.errors import Undelivered
from maie_aiohttp.model import Event

React = Callable[[Event], Awaitable[None]]


async def acknowledge(_: Event) -> None:
    """Take it at once."""


async def refuse(_: Event) -> None:
    """Not take it now."""
    raise Undelivered("Not now.")


async def hang(_: Event) -> None:
    """Never answer."""
    await asyncio.Event().wait()


class Notebook:
    """See `interfaces.Handoff`."""

    def __init__(self, name: str = "notebook", react: React = acknowledge) -> None:
        self.name = name
        self.react = react
        self.told: list[Event] = []
        """In the order they came, whatever became of them."""
        self.taken: list[Event] = []
        """Those that it acknowledged."""
        self.at_once = 0
        self.most_at_once = 0
        self._news = asyncio.Event()

    async def deliver(self, event: Event) -> None:
        self.told.append(event)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self._news.set()
        try:
            await self.react(event)
        finally:
            self.at_once -= 1
        self.taken.append(event)
        self._news.set()

    async def close(self) -> None:
        """Nothing to end."""

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Wait for something that is so sooner or later, and that comes with an event."""
        while not wanted():
            self._news.clear()
            await self._news.wait()
