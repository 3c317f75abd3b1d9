"""Finding out what stored recordings are, behind the answers and before the hand-off.

Which ones wait for it stands in the catalog alone, so a restart goes on where it was. Whatever becomes of an
examination, it ends with facts, if only with the finding that there are none: nothing waits for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn
from uuid import UUID

import structlog

from maie_aiohttp.inspection.analyst import Analyst
from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.model import Facts, Stored, Upload
from maie_aiohttp.progress.hub import Hub
from maie_aiohttp.units import MIB
from maie_aiohttp.upkeep.reconcile import outliving

PAGE = 64
"""Uploads asked for at a time."""

TOGETHER = 4 * MIB
"""Small ones are examined by one question and recorded by one transaction, as long as they are no more than this."""

LOOK_AGAIN = 0.25
"""Seconds until the catalog is asked again when nothing waited; others may have stored something."""

log = structlog.get_logger()


class FactFinder:
    """Examines what waits for it, the oldest first, so many `at_once`."""

    def __init__(self, store: Store, catalog: Catalog, hub: Hub, analyst: Analyst, *, at_once: int) -> None:
        self._store = store
        self._catalog = catalog
        self._hub = hub
        self._analyst = analyst
        self._at_once = at_once
        self._waiting: deque[Upload] = deque()
        self._in_hand: set[UUID] = set()
        self._asking = asyncio.Lock()

    async def keep_on(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(self._work())

    async def _work(self) -> NoReturn:
        while True:
            async with outliving("uploads not examined"):
                uploads = await self._next()
                try:
                    await self._examine(uploads)
                finally:
                    self._in_hand.difference_update(upload.id for upload in uploads)

    async def _next(self) -> Sequence[Upload]:
        """Some that nobody has in hand, as soon as there are any."""
        async with self._asking:
            while not self._waiting:
                found = await self._catalog.facts.pending(PAGE + len(self._in_hand))
                self._waiting.extend(upload for upload in found if upload.id not in self._in_hand)
                if not self._waiting:
                    await asyncio.sleep(LOOK_AGAIN)
            uploads = self._few()
            self._in_hand.update(upload.id for upload in uploads)
            return uploads

    def _few(self) -> Sequence[Upload]:
        """As many as are small, or one."""
        few = [self._waiting.popleft()]
        size = few[0].offset
        while self._waiting and size + self._waiting[0].offset <= TOGETHER:
            size += self._waiting[0].offset
            few.append(self._waiting.popleft())
        return few

    async def _examine(self, uploads: Sequence[Upload]) -> None:
        stored = {upload.id: upload.stored for upload in uploads if upload.stored}
        files = [(self._store.path(one.locator), one.format) for one in stored.values()]
        facts = dict(zip(stored, await self._analyst.facts(files), strict=True))
        there = await self._catalog.facts.record(facts)
        for upload in uploads:
            if upload.id in there:
                self._tell(upload, stored[upload.id], facts[upload.id])

    def _tell(self, upload: Upload, stored: Stored, facts: Facts) -> None:
        log.info("upload examined", upload=str(upload.id), findings=[finding.value for finding in facts.findings])
        self._hub.examined(replace(upload, stored=replace(stored, facts_pending=False, facts=facts)))
