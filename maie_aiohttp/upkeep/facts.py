"""Finding out what stored recordings are, behind the answers and before the hand-off; uploads come first.

Which ones wait for it stands in the catalog alone, so a restart goes on where it was. Whatever becomes of an
examination, it ends with facts, if only with the finding that there are none: nothing waits for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn
from uuid import UUID

import structlog

from maie_aiohttp.inspection.analyst import Analyst
from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.limits.deference import give_way
from maie_aiohttp.model import Facts, Stored, Upload
from maie_aiohttp.progress.hub import Hub
from maie_aiohttp.units import MIB
from maie_aiohttp.upkeep.reconcile import outliving

PAGE = 64
"""Uploads asked for at a time."""

TOGETHER = 4 * MIB
"""Small ones are examined by one question and recorded by one transaction, as long as they are no more than this."""

GATHERING = 0.25
"""Seconds until the catalog is asked again at the earliest when nothing waited: what comes meanwhile is examined
together."""

HEARTBEAT = 60.0
"""Seconds after which the catalog is asked, although nobody rang."""

log = structlog.get_logger()


class FactFinder:
    """Examines what waits for it, the oldest first, so many `at_once`."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        hub: Hub,
        analyst: Analyst,
        heard: Callable[[], Awaitable[None]],
        *,
        at_once: int,
    ) -> None:
        """`heard` returns when something may have been stored since the last time."""
        self._store = store
        self._catalog = catalog
        self._hub = hub
        self._analyst = analyst
        self._heard = heard
        self._at_once = at_once
        self._waiting: deque[Upload] = deque()
        self._in_hand: set[UUID] = set()
        self._under_way = asyncio.Event()
        self._asking = asyncio.Lock()

    async def keep_on(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(give_way(self._analyst, self._under_way))
            for _ in range(self._at_once):
                group.create_task(self._work())

    async def _work(self) -> NoReturn:
        while True:
            async with outliving("uploads not examined"):
                await self._examined(await self._next())

    async def _next(self) -> Sequence[Upload]:
        """Some that nobody has in hand, as soon as there are any."""
        while True:
            async with self._asking:
                if not self._waiting:
                    self._waiting.extend(await self._found())
                if self._waiting:
                    uploads = self._few()
                    self._in_hand.update(upload.id for upload in uploads)
                    return uploads
            await self._more()

    async def _found(self) -> Sequence[Upload]:
        """Those that wait, but for what somebody had in hand when the catalog was asked: that may have got its facts
        since."""
        in_hand = frozenset(self._in_hand)
        found = await self._catalog.facts.pending(PAGE + len(in_hand))
        return [upload for upload in found if upload.id not in in_hand]

    async def _more(self) -> None:
        """Wait until there may be some."""
        await asyncio.sleep(GATHERING)
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT):
                await self._heard()

    def _few(self) -> Sequence[Upload]:
        """As many as are small, or one."""
        few = [self._waiting.popleft()]
        size = few[0].offset
        while self._waiting and size + self._waiting[0].offset <= TOGETHER:
            size += self._waiting[0].offset
            few.append(self._waiting.popleft())
        return few

    async def _examined(self, uploads: Sequence[Upload]) -> None:
        self._under_way.set()
        try:
            await self._examine(uploads)
        finally:
            self._in_hand.difference_update(upload.id for upload in uploads)
            if not self._in_hand:
                self._under_way.clear()

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
