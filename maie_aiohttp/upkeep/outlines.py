"""Outlines of recordings: drawn when somebody first asks for one, once for all who ask meanwhile, and kept."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid5

from maie_aiohttp.errors import Busy, Locked, Undecodable
from maie_aiohttp.inspection.analyst import Analyst
from maie_aiohttp.intake.locks import Locks
from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.model import Outline, Stored

PATIENCE = 20.0
"""Seconds that a request waits for an outline; it is drawn to the end all the same."""

MOST = 64
"""Recordings that wait for their outline at a time."""

DRAWING = UUID("6c0f0a1e-9a0d-4c5e-8f50-1d0f6f3f5b55")
"""With it, an upload's id becomes that of its drawing, which one process works on."""


class Outlines:
    """Those of stored recordings."""

    def __init__(self, store: Store, catalog: Catalog, locks: Locks, analyst: Analyst) -> None:
        self._store = store
        self._catalog = catalog
        self._locks = locks
        self._analyst = analyst
        self._drawings: dict[UUID, asyncio.Task[Outline | None]] = {}

    async def of(self, id: UUID, stored: Stored) -> Outline:
        """Raises `Undecodable`, and `Busy` while it is not drawn yet."""
        kept = await self._catalog.waveforms.find(id)
        outline = kept[0] if kept else await self._drawn(id, stored)
        if outline is None:
            raise Undecodable("The recording cannot be decoded; it has no waveform.")
        return outline

    async def close(self) -> None:
        """Draw nothing any more."""
        drawings = list(self._drawings.values())
        for drawing in drawings:
            drawing.cancel()
        await asyncio.gather(*drawings, return_exceptions=True)

    async def _drawn(self, id: UUID, stored: Stored) -> Outline | None:
        drawing = self._drawings.get(id) or self._begin(id, stored)
        await asyncio.wait([drawing], timeout=PATIENCE)
        if not drawing.done():
            raise Busy("The waveform is still being drawn.")
        return drawing.result()

    def _begin(self, id: UUID, stored: Stored) -> asyncio.Task[Outline | None]:
        if len(self._drawings) >= MOST:
            raise Busy("Too many waveforms are being drawn.")
        drawing = self._drawings[id] = asyncio.create_task(self._draw(id, stored))
        drawing.add_done_callback(lambda done: self._end(id, done))
        return drawing

    def _end(self, id: UUID, done: asyncio.Task[Outline | None]) -> None:
        del self._drawings[id]
        if not done.cancelled():
            done.exception()  # Seen: nobody may be waiting for it any more.

    async def _draw(self, id: UUID, stored: Stored) -> Outline | None:
        try:
            with self._locks.own(uuid5(DRAWING, str(id))):
                if kept := await self._catalog.waveforms.find(id):
                    return kept[0]
                outline = await self._analyst.outline(self._store.path(stored.locator), stored.format)
                await self._catalog.waveforms.keep(id, outline)
                return outline
        except Locked:
            raise Busy("The waveform is still being drawn.") from None
