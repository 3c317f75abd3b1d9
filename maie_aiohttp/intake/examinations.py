"""Examinations that pause between two pieces of an upload. A running digest cannot be stored, so a few are kept in
memory; what is not among them is rebuilt from the stored bytes: slower, and always right."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Container
from uuid import UUID

from maie_aiohttp.inspection.checks import Examination
from maie_aiohttp.interfaces import Chunk, Observe, Store
from maie_aiohttp.model import Terms, Upload

KEPT = 256
"""At 64 KiB for one that has not seen its head yet, 16 MiB at the most."""


class Examinations:
    """The examinations of uploads that are under way."""

    def __init__(
        self, store: Store, formats: Container[str], *, max_duration: float = math.inf, workers: int = 1
    ) -> None:
        self._store = store
        self._formats = formats
        self._max_duration = max_duration
        self._workers = workers
        self._kept: OrderedDict[UUID, tuple[int, Examination]] = OrderedDict()

    async def take(self, upload: Upload, check: Observe) -> Examination:
        """That of an upload that now goes on; it has seen all bytes up to the offset. Raises `Damaged` if they are not
        there, and what `check` raises while they are read again."""
        offset, examination = self._kept.pop(upload.id, (-1, None))
        if examination is not None and offset == upload.offset:
            return examination
        return await self._rebuilt(upload, check)

    def keep(self, upload: Upload, examination: Examination) -> None:
        """Keep it for the next piece, if there is room; whoever paused longest makes some."""
        self._kept[upload.id] = upload.offset, examination
        if len(self._kept) > KEPT // self._workers:
            self._kept.popitem(last=False)

    def forget(self, id: UUID) -> None:
        """That upload will not go on."""
        self._kept.pop(id, None)

    async def _rebuilt(self, upload: Upload, check: Observe) -> Examination:
        terms = upload.terms or Terms()
        examination = Examination(self._formats, terms.digests, max_duration=self._max_duration)

        def observe(chunk: Chunk) -> None:
            check(chunk)
            examination.feed(chunk)

        await self._store.replay(self._store.locator_of(upload.id), upload.offset, observe)
        return examination
