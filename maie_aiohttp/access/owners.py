"""Whose uploads are whose."""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

from maie_aiohttp.credentials import Caller, Scope
from maie_aiohttp.errors import NotFound
from maie_aiohttp.interfaces import Catalog
from maie_aiohttp.model import Upload

REMEMBERED = 10_000
"""Uploads whose owner is known without asking: at 300 bytes each, 3 MB."""


Belonging = tuple[str | None, UUID | None]
"""An owner, and the token with which the upload began."""


class Owners:
    """Asked before an upload is touched: even to wait for its lock would interrupt who holds it. An owner never
    changes, so the catalog is asked about an upload once, and not for each of its pieces."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: OrderedDict[UUID, Belonging] = OrderedDict()

    def note(self, upload: Upload) -> None:
        """Remember, for a while."""
        id = upload.id
        self._known[id] = upload.owner, upload.token
        self._known.move_to_end(id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def check(self, id: UUID, caller: Caller) -> None:
        """Raises `NotFound` if there is no such upload for this caller."""
        if caller.may(Scope.ADMIN):
            return
        if id not in self._known:
            self.note(await self._catalog.get(id))
        if not _may_touch(caller, *self._known[id]):
            raise NotFound("There is no such upload.")


def _may_touch(caller: Caller, owner: str | None, token: UUID | None) -> bool:
    """A token reaches what began with it, and nothing else that its owner has."""
    return caller.sees(owner) if caller.token is None else caller.token_id == token
