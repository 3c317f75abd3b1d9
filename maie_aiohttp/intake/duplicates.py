"""The same bytes again, from the same owner: whether what is stored already may stand for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.model import Upload

FindStandIns = Callable[[Sequence[Upload]], Awaitable[Mapping[UUID, Upload]]]
"""Says, before uploads are recorded, which stored ones may stand for them."""


async def nobody(_: Sequence[Upload]) -> Mapping[UUID, Upload]:
    """Everything is recorded, and duplicates are only reported."""
    return {}


class Reuse:
    """Whatever is stored already stands for what comes again with the same fields, as these may say what is to be made
    of it; unless its file is seen not to be what it was."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    async def __call__(self, uploads: Sequence[Upload]) -> Mapping[UUID, Upload]:
        fields = uploads[0].metadata  # those of a request are the same for all of its files
        firsts = await self._catalog.firsts(uploads)
        return {id: first for id, first in firsts.items() if first.metadata == fields and await self._is_whole(first)}

    async def _is_whole(self, upload: Upload) -> bool:
        stored = upload.stored
        return stored is not None and await self._store.size(stored.locator) == stored.size
