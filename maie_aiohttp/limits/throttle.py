"""A rate that background work keeps to, so that uploads do not feel it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Pace = Callable[[int], Awaitable[None]]
"""Hears of bytes that were read, and takes as long as they may take."""


async def unhurried(_: int) -> None:
    """As fast as it goes."""


class Throttle:
    """Reading at `rate` bytes a second at the most."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._free_at = 0.0
        self.passed = 0
        """Bytes so far."""

    async def spend(self, size: int) -> None:
        """Wait until `size` bytes have had their time. What was not used before is not made up for."""
        self.passed += size
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + size / self._rate
        await asyncio.sleep(self._free_at - now)
