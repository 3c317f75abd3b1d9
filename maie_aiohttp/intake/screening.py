"""The scan of an upload that has a record, which says so meanwhile. Where it ends without a verdict, the upload can go
on: it is `receiving` again, and its last bytes are sent once more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

from maie_aiohttp.concurrency import to_its_end
from maie_aiohttp.errors import Damaged, Rejected
from maie_aiohttp.intake.delivery import Intake
from maie_aiohttp.intake.settlement import Received
from maie_aiohttp.model import Status, Upload


class Screening:
    """The scans of resumable uploads."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    @asynccontextmanager
    async def passed(self, received: Received) -> AsyncIterator[None]:
        """After the scan: what is inside settles the upload. Raises what `Intake.scan` raises."""
        try:
            await self._intake.scan(received, self._enter)
            yield
        except (Rejected, Damaged):  # that was the verdict
            raise
        except BaseException:
            await to_its_end(self._leave(received.upload.id))
            raise

    async def take_back(self, upload: Upload) -> None:
        """Of an upload that its writer holds: a scan that is recorded has come to nothing, in another process."""
        if upload.status is Status.SCANNING:
            await self._leave(upload.id)

    async def _enter(self, upload: Upload) -> None:
        await self._intake.catalog.move(upload.id, Status.SCANNING, expires_at=upload.expires_at)
        self._intake.hub.publish(upload)

    async def _leave(self, id: UUID) -> None:
        upload = await self._intake.catalog.get(id)
        if upload.status is Status.SCANNING:
            await self._intake.catalog.move(id, Status.RECEIVING, expires_at=upload.expires_at)
            self._intake.hub.publish(replace(upload, status=Status.RECEIVING))
