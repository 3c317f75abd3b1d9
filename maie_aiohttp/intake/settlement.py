"""From received to stored: the bytes are published, then recorded; or neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import structlog

from maie_aiohttp.concurrency import to_its_end
from maie_aiohttp.errors import Busy, IntakeError, StorageFull
from maie_aiohttp.inspection.checks import Findings
from maie_aiohttp.intake.idempotency import Key, repeated, use_of
from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.model import KeyUse, Status, Stored, Upload
from maie_aiohttp.progress.hub import Hub

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Received:
    """An upload whose bytes are durable, and what the checks found."""

    upload: Upload
    size: int
    findings: Findings


class Settlement:
    """The files of one request, settled together."""

    def __init__(self, store: Store, catalog: Catalog, hub: Hub) -> None:
        self._store = store
        self._catalog = catalog
        self._hub = hub
        self.decided = True
        """Whether it is known what is stored. As long as it is not, the marks must stay, for start-up."""

    async def settle(
        self, received: Sequence[Received], key: Key | None = None, reservation: UUID | None = None
    ) -> Sequence[Upload]:
        """Make it all part of the catalog; from the return on, it cannot be lost. Once begun it runs to its end,
        whatever becomes of the request. If the same request came before, by its `key`, that one's uploads are returned,
        and these are only received again. What they use of a quota was reserved as `reservation`. Raises what
        `idempotency.repeated` raises."""
        return await to_its_end(self._settle(received, key, reservation))

    async def _settle(
        self, received: Sequence[Received], key: Key | None, reservation: UUID | None
    ) -> Sequence[Upload]:
        self.decided = False
        uploads = await self._publish(received)
        use = use_of(key, uploads) if key else None
        earlier = await self._record(uploads, use, reservation)
        if use and earlier:
            await self._retract(uploads)
            return await self._repeat(use, earlier)
        self.decided = True
        for upload in uploads:
            await discard(self._store, upload.id)
            self._hub.publish(upload)
        for one in received:
            log.info("upload stored", upload=str(one.upload.id), size=one.size, format=one.findings.format.name)
        return uploads

    async def _publish(self, received: Sequence[Received]) -> Sequence[Upload]:
        uploads: list[Upload] = []
        try:
            for one in received:
                id, extension = one.upload.id, one.findings.format.extension
                locator = await self._store.publish(self._store.locator_of(id), id, extension)
                uploads.append(_stored(one, locator))
        except IntakeError:
            await self._retract(uploads)
            raise
        return uploads

    async def _repeat(self, use: KeyUse, earlier: KeyUse) -> Sequence[Upload]:
        uploads = await repeated(self._catalog, use, earlier)
        log.info("request repeated", uploads=[str(upload.id) for upload in uploads])
        return uploads

    async def _record(self, uploads: Sequence[Upload], use: KeyUse | None, reservation: UUID | None) -> KeyUse | None:
        """Returns an earlier use of the key. Where the catalog does not say what became of the records, it is asked
        whether they are there."""
        try:
            return await self._catalog.settle(uploads, use, reservation)
        except (StorageFull, Busy):
            await self._retract(uploads)
            raise
        except Exception:
            if not await self._catalog.known([upload.id for upload in uploads]):
                await self._retract(uploads)
                raise
            return None

    async def _retract(self, uploads: Sequence[Upload]) -> None:
        for upload in uploads:
            if upload.stored is not None:
                await self._store.retract(self._store.locator_of(upload.id), upload.stored.locator)
        self.decided = True


async def discard(store: Store, id: UUID) -> None:
    """Take unpublished bytes away, or a mark. If that fails, the next start does it."""
    try:
        await store.discard(store.locator_of(id))
    except IntakeError as error:
        log.warning("unfinished upload not discarded", upload=str(id), reason=str(error))


def _stored(received: Received, locator: str) -> Upload:
    found = received.findings
    stored = Stored(
        size=received.size,
        media_type=found.format.media_type,
        format=found.format.name,
        sha256=found.sha256,
        locator=locator,
        at=datetime.now(UTC),
    )
    return replace(
        received.upload,
        status=Status.STORED,
        size=received.size,
        offset=received.size,
        stored=stored,
        expires_at=None,
    )
