"""Clearing up after a process that died, while others go on: what one of them works on is not touched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from maie_aiohttp.errors import Locked
from maie_aiohttp.intake.locks import Locks
from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.upkeep.reconcile import clear_up, outliving, traces

PAUSE_FOR_USERS = 1.0
"""Seconds until an upload is looked at again that was in use."""


async def recover_beside(store: Store, catalog: Catalog, locks: Locks) -> None:
    """Do what `reconcile.recover` does, for what no living process works on. What somebody holds just now is looked at
    again. Tries until it succeeds."""
    while True:
        async with outliving("unfinished uploads not cleared up"):
            unfinished = await store.unfinished()
            while unfinished := await _recover_unused(store, catalog, locks, unfinished):  # noqa: ASYNC110 - sets no event
                await asyncio.sleep(PAUSE_FOR_USERS)
            return


async def _recover_unused(store: Store, catalog: Catalog, locks: Locks, unfinished: Sequence[UUID]) -> Sequence[UUID]:
    """Returns those that a request holds, and that would have to be recovered else."""
    held = []
    async for left in traces(store, catalog, unfinished):
        if left.is_in_order or locks.is_owned(left.id):
            continue
        try:
            with locks.vacant(left.id):
                await _recover_anew(store, catalog, left.id)
        except Locked:
            held.append(left.id)
    return held


async def _recover_anew(store: Store, catalog: Catalog, id: UUID) -> None:
    """Whoever worked on the upload may have ended since it was found."""
    if await store.size(store.locator_of(id)) is not None:
        await clear_up(store, catalog, [id])
