"""The story of an upload: admitted, received under the eyes of the checks, inspected, published, recorded.

A `Delivery` is one request and has one outcome: all of its files are settled together, or nothing of them is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from uuid import UUID, uuid4
from weakref import WeakValueDictionary

import structlog

from maie_aiohttp import formats
from maie_aiohttp.checks import Examination, Findings, Progress, SizeLimit, too_large
from maie_aiohttp.concurrency import to_its_end
from maie_aiohttp.errors import Busy, Empty, IntakeError, StorageFull
from maie_aiohttp.inspector import Inspector
from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.model import Declared, Metadata, Status, Upload

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rules:
    """What this server accepts."""

    max_size: int
    """Bytes of one request's files together."""
    formats: Container[str]
    """Names from `formats.BY_NAME`."""


@dataclass(frozen=True, slots=True)
class Received:
    """A file whose bytes are durable, and what the checks found; nobody knows of it yet."""

    id: UUID
    locator: str
    declared: Declared
    created_at: datetime
    size: int
    findings: Findings


class Intake:
    """Takes uploads in, and takes them away again."""

    def __init__(self, store: Store, catalog: Catalog, inspector: Inspector, rules: Rules) -> None:
        self.store = store
        self.catalog = catalog
        self.inspector = inspector
        self.rules = rules
        self.receiving: dict[UUID, Progress] = {}
        """Uploads whose bytes are on their way."""
        self._removals: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    def check(self, declared: Declared) -> None:
        """Refuse a file for its name or its declared type. Raises `NotAudio`."""
        formats.check_name(declared.filename)
        formats.check_type(declared.media_type)

    async def admit(self, declared: Declared) -> None:
        """Refuse what can be refused before a byte of it is read. Raises `TooLarge`, `Empty`, `NotAudio` and
        `StorageFull`."""
        self.check(declared)
        if declared.at_most == 0:
            raise Empty("The upload has no bytes.")
        size = declared.at_most or 0
        if size > self.rules.max_size:
            raise too_large(self.rules.max_size)
        await self.store.admit(size)

    def delivery(self) -> Delivery:
        """A new request; use it as an async context manager."""
        return Delivery(self)

    async def remove(self, id: UUID) -> None:
        """Delete an upload, durably. Once begun it runs to its end. Raises `NotFound`.

        The file is taken back to `incoming/` first: whether a crash finds it with its record or without, start-up
        then knows what was meant (see `reconcile`). Removals of one upload take turns: what one of them puts back after
        a failure, another may just have removed.
        """
        await to_its_end(self._remove_in_turn(id))

    async def _remove_in_turn(self, id: UUID) -> None:
        async with self._removals.setdefault(id, asyncio.Lock()):
            await self._remove(id)

    async def _remove(self, id: UUID) -> None:
        upload = await self.catalog.get(id)
        mark = self.store.locator_of(id)
        await self.store.retract(mark, upload.locator)
        try:
            await self.catalog.remove(id)
        except (StorageFull, Busy):
            if await self.catalog.known([id]):
                await self.store.publish(mark, id, formats.BY_NAME[upload.format].extension)
            await self.store.discard(mark)
            raise
        await self.store.discard(mark)


class Delivery:
    """The files of one request. Leaving it unsettled leaves nothing of them on disk."""

    def __init__(self, intake: Intake) -> None:
        self._store = intake.store
        self._catalog = intake.catalog
        self._inspector = intake.inspector
        self._rules = intake.rules
        self._receiving = intake.receiving
        self._limit = SizeLimit(intake.rules.max_size)
        self._begun: list[str] = []
        self._decided = True
        """Whether it is known what is stored. As long as it is not, the marks stay, for start-up."""
        self._received: list[Received] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._decided:
            for locator in self._begun:
                await self._discard(locator)

    async def receive(self, declared: Declared, chunks: AsyncIterator[bytes]) -> None:
        """Take one file to its end. Raises what is wrong with it as soon as that is known."""
        id, created_at = uuid4(), datetime.now(UTC)
        locator = self._store.locator_of(id)
        examination = Examination(self._rules.formats, declared.digests)
        self._begun.append(locator)
        progress = self._receiving[id] = Progress()
        try:
            watched = self._watched(chunks, progress)
            size = await self._store.append(
                locator, 0, watched, examination.feed, examination.finish, at_most=declared.at_most
            )
        finally:
            del self._receiving[id]
        findings = examination.findings()
        if findings.demuxer is not None:
            await self._inspector.inspect(self._store.path(locator), findings.demuxer)
        self._received.append(Received(id, locator, declared, created_at, size, findings))

    async def settle(self, metadata: Metadata) -> Sequence[Upload]:
        """Make everything received part of the catalog; from the return on, it cannot be lost. Once begun it runs to
        its end, whatever becomes of the request."""
        return await to_its_end(self._settle(metadata))

    async def _watched(self, chunks: AsyncIterator[bytes], progress: Progress) -> AsyncIterator[bytes]:
        """The checks that cost nothing are asked at every chunk, before it is gathered."""
        async for chunk in chunks:
            progress.feed(chunk)
            self._limit.feed(chunk)
            yield chunk

    async def _discard(self, locator: str) -> None:
        try:
            await self._store.discard(locator)
        except IntakeError as error:  # The next start takes it away.
            log.warning("unfinished upload not discarded", locator=locator, reason=str(error))

    async def _settle(self, metadata: Metadata) -> Sequence[Upload]:
        self._decided = False
        uploads = await self._publish(metadata)
        await self._record(uploads)
        self._decided = True
        for upload in uploads:
            log.info("upload stored", upload=str(upload.id), size=upload.size, format=upload.format)
        return uploads

    async def _publish(self, metadata: Metadata) -> Sequence[Upload]:
        uploads: list[Upload] = []
        try:
            for received in self._received:
                extension = received.findings.format.extension
                published = await self._store.publish(received.locator, received.id, extension)
                uploads.append(_upload(received, published, metadata))
        except IntakeError:
            await self._retract(uploads)
            raise
        return uploads

    async def _record(self, uploads: Sequence[Upload]) -> None:
        """Where the catalog does not say what became of the records, it is asked whether they are there."""
        try:
            await self._catalog.settle(uploads)
        except (StorageFull, Busy):
            await self._retract(uploads)
            raise
        except Exception:
            if not await self._catalog.known([upload.id for upload in uploads]):
                await self._retract(uploads)
                raise

    async def _retract(self, uploads: Sequence[Upload]) -> None:
        for upload in uploads:
            await self._store.retract(self._store.locator_of(upload.id), upload.locator)
        self._decided = True


def _upload(received: Received, locator: str, metadata: Metadata) -> Upload:
    return Upload(
        id=received.id,
        status=Status.STORED,
        filename=received.declared.filename,
        size=received.size,
        offset=received.size,
        media_type=received.findings.format.media_type,
        format=received.findings.format.name,
        sha256=received.findings.sha256,
        locator=locator,
        created_at=received.created_at,
        stored_at=datetime.now(UTC),
        metadata=metadata,
    )
