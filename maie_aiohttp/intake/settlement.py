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
from maie_aiohttp.intake.duplicates import FindStandIns, nobody
from maie_aiohttp.intake.idempotency import Key, repeated, use_of
from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.model import NO_CHARGE, Charge, KeyUse, Settled, Status, Stored, Upload
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

    def __init__(
        self, store: Store, catalog: Catalog, hub: Hub, stand_ins: FindStandIns = nobody, *, finds_facts: bool = False
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._hub = hub
        self._stand_ins = stand_ins
        self._finds_facts = finds_facts
        self.decided = True
        """Whether it is known what is stored. As long as it is not, the marks must stay, for start-up."""

    async def settle(
        self, received: Sequence[Received], key: Key | None = None, charge: Charge = NO_CHARGE
    ) -> Sequence[Upload]:
        """Make it all part of the catalog; from the return on, it cannot be lost. Once begun it runs to its end,
        whatever becomes of the request. If the same request came before, by its `key`, that one's uploads are returned,
        and these are only received again; so is what another upload stands for. What they use up is the `charge`.
        Raises what `idempotency.repeated` raises."""
        return await to_its_end(self._settle(received, key, charge))

    async def _settle(self, received: Sequence[Received], key: Key | None, charge: Charge) -> Sequence[Upload]:
        self.decided = False
        uploads = await self._publish(received)
        use = use_of(key, uploads) if key else None
        settled = await self._record(uploads, use, charge)
        if use and settled.earlier:
            await self._retract(uploads)
            return await self._repeat(use, settled.earlier)
        await self._conclude(uploads, settled.uploads)
        return settled.uploads

    async def _conclude(self, uploads: Sequence[Upload], settled: Sequence[Upload]) -> None:
        """What is recorded needs no mark any more; where another one stands for an upload, its bytes go."""
        replaced = []
        for upload, stored in zip(uploads, settled, strict=True):
            if upload.id == stored.id:
                await self._announce(stored)
            else:
                replaced.append(upload)
                log.info("upload stored before", upload=str(stored.id), size=stored.size)
        await self._retract(replaced)

    async def _announce(self, stored: Upload) -> None:
        await discard(self._store, stored.id)
        self._hub.publish(stored)
        found, first = stored.stored, stored.duplicate_of
        again = {} if first is None else {"duplicate_of": str(first)}
        log.info("upload stored", upload=str(stored.id), size=stored.size, format=found and found.format, **again)

    async def _publish(self, received: Sequence[Received]) -> Sequence[Upload]:
        uploads: list[Upload] = []
        try:
            for one in received:
                id, extension = one.upload.id, one.findings.format.extension
                locator = await self._store.publish(self._store.locator_of(id), id, extension)
                uploads.append(_stored(one, locator, facts_pending=self._finds_facts))
        except IntakeError:
            await self._retract(uploads)
            raise
        return uploads

    async def _repeat(self, use: KeyUse, earlier: KeyUse) -> Sequence[Upload]:
        uploads = await repeated(self._catalog, use, earlier)
        log.info("request repeated", uploads=[str(upload.id) for upload in uploads])
        return uploads

    async def _record(self, uploads: Sequence[Upload], use: KeyUse | None, charge: Charge) -> Settled:
        """Where the catalog does not say what became of the records, it is asked whether they are there."""
        try:
            return await self._catalog.settle(uploads, use, charge, await self._stand_ins(uploads))
        except (StorageFull, Busy):
            await self._retract(uploads)
            raise
        except Exception:
            found = await self._catalog.find([upload.id for upload in uploads])
            recorded = {id: upload for id, upload in found.items() if upload.stored is not None}
            if not recorded:
                await self._retract(uploads)
            if len(recorded) < len(uploads):  # others stand for the rest, but nobody says which
                raise
            return Settled([recorded[upload.id] for upload in uploads])

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


def _stored(received: Received, locator: str, *, facts_pending: bool) -> Upload:
    found = received.findings
    stored = Stored(
        size=received.size,
        media_type=found.format.media_type,
        format=found.format.name,
        sha256=found.sha256,
        locator=locator,
        at=datetime.now(UTC),
        facts_pending=facts_pending,
    )
    return replace(
        received.upload,
        status=Status.STORED,
        size=received.size,
        offset=received.size,
        stored=stored,
        expires_at=None,
    )
