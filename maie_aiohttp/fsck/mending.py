"""What may be done to disk and catalog while no server runs. Nothing that is not understood is deleted."""

from __future__ import annotations

import os
from uuid import UUID

from maie_aiohttp.catalogs.raw import RawCatalog
from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.model import Status
from maie_aiohttp.stores import fsio
from maie_aiohttp.stores.folder import PUBLISHED_MODE, open_for_reading
from maie_aiohttp.upkeep.reconcile import clear_up


class Mender:
    """Every repair can be done twice. Raises `StorageFailed`, `StorageFull`, `Busy` and OSError."""

    def __init__(self, store: Store, catalog: Catalog, raw: RawCatalog, root: int) -> None:
        self._store = store
        self._catalog = catalog
        self._raw = raw
        self._root = root

    async def mark_damaged(self, id: UUID) -> None:
        """Its file is not given out any more."""
        await self._catalog.move(id, Status.DAMAGED)

    async def mark_whole(self, id: UUID) -> None:
        """Its file is given out again."""
        await self._catalog.move(id, Status.STORED)

    async def clear_up(self, id: UUID) -> None:
        """Do what the next start would do about an upload that was under way."""
        await clear_up(self._store, self._catalog, [id])

    async def quarantine(self, place: str) -> None:
        """Move a file to `orphans/`."""
        await self._store.quarantine(place)

    async def relocate(self, id: UUID, place: str) -> None:
        """Let the record of an upload name its own file."""
        self._raw.relocate(id, place)

    async def announce(self, id: UUID) -> None:
        """Put a stored upload into the outbox."""
        self._raw.announce(id)

    async def withdraw(self, number: int) -> None:
        """Take an entry out of the outbox."""
        self._raw.withdraw(number)

    async def forget_waveform(self, id: UUID) -> None:
        """Keep no outline of an upload that is not there."""
        self._raw.forget_waveform(id)

    async def protect(self, place: str) -> None:
        """Give a stored file its mode."""
        descriptor = open_for_reading(place, self._root)
        try:
            fsio.fchmod(descriptor, PUBLISHED_MODE)
        finally:
            fsio.close(descriptor)

    async def cut(self, place: str, size: int) -> None:
        """Take the bytes behind `size` away, of which nobody was told."""
        descriptor = fsio.open(place, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._root)
        try:
            fsio.ftruncate(descriptor, size)
            fsio.fsync(descriptor)
        finally:
            fsio.close(descriptor)
