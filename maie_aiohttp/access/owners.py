"""Whose uploads are whose."""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

from maie_aiohttp.credentials import Caller
from maie_aiohttp.errors import NotFound
from maie_aiohttp.interfaces import Catalog

REMEMBERED = 10_000
"""Uploads whose owner is known without asking: at 300 bytes each, 3 MB."""


class Owners:
    """Asked before an upload is touched: even to wait for its lock would interrupt who holds it. An owner never
    changes, so the catalog is asked about an upload once, and not for each of its pieces."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: OrderedDict[UUID, str | None] = OrderedDict()

    def note(self, id: UUID, owner: str | None) -> None:
        """Remember, for a while."""
        self._known[id] = owner
        self._known.move_to_end(id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def check(self, id: UUID, caller: Caller) -> None:
        """Raises `NotFound` if there is no such upload for this caller."""
        if caller.reach is None:
            return
        if id not in self._known:
            self.note(id, (await self._catalog.get(id)).owner)
        if not caller.sees(self._known[id]):
            raise NotFound("There is no such upload.")
