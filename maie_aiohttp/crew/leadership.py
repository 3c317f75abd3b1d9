"""Work that one process at a time does for all; where it dies, another takes over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from uuid import UUID

from maie_aiohttp.errors import Locked
from maie_aiohttp.intake.locks import Locks

LOOK_AGAIN = 2.0
"""Seconds between two attempts to take over."""

HOUSEKEEPING = UUID(int=0)
"""No upload has this id."""


@asynccontextmanager
async def leading(locks: Locks) -> AsyncIterator[None]:
    """Wait until no other living process is in here, however long that takes."""
    with ExitStack() as place:
        while not _is_won(locks, place):  # noqa: ASYNC110 - another process cannot set an event
            await asyncio.sleep(LOOK_AGAIN)
        yield


def _is_won(locks: Locks, place: ExitStack) -> bool:
    try:
        place.enter_context(locks.own(HOUSEKEEPING))
    except Locked:
        return False
    return True
