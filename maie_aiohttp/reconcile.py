"""Making disk and catalog agree again: at once what a crash left behind, then, unhurried, everything.

A mark below `incoming/` says that an upload was under way. What its record and its published file say decides:

    record      published   what happened                       what is done
    none        no          killed while receiving              the bytes are discarded
    none        yes         killed between publish and record   published bytes go to `orphans/`
    stored      yes         killed before the mark was removed  the mark is removed
    stored      no          killed while deleting               published again: the deletion was not acknowledged
    receiving   no          nothing: it can go on               nothing
    receiving   yes         killed between publish and record   published bytes are taken back: it can go on
    scanning    as above    killed before the verdict           the same, and it is receiving again
    final       any         killed while concatenating          its record is removed, then as if there was none
    ended       no          killed after it was ended           the bytes are discarded

A mark with which that cannot be done, such as a folder of that name, is left alone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

import structlog

from maie_aiohttp.errors import NotFound, StorageFailed
from maie_aiohttp.events import Publish, unpublished
from maie_aiohttp.formats import BY_NAME
from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.model import UNDECIDED, Position, Status, Upload

PAGE = 200
PAUSE = 0.05
"""Seconds between two pages of the audit, so that uploads do not feel it."""
PAUSE_AFTER_FAILURE = 30.0
"""Seconds until the audit goes on after an error."""
HANDFUL = 10
"""Files that may lack a record although none has one."""

log = structlog.get_logger()


async def recover(store: Store, catalog: Catalog) -> None:
    """Clear up after a crash, before the first request; costs as much as was under way then. Safe to repeat."""
    unfinished = await store.unfinished()
    published = await store.published(unfinished)
    for start in range(0, len(unfinished), PAGE):
        ids = unfinished[start : start + PAGE]
        records = await catalog.find(ids)
        for id in ids:
            try:
                await _recover(store, catalog, _Trace(id, records.get(id), published.get(id)))
            except StorageFailed:
                log.exception("unfinished upload left alone", upload=str(id))


async def audit(store: Store, catalog: Catalog, publish: Publish = unpublished) -> None:
    """Compare every record with its file, and every file with its record. What fails is logged, and left out."""
    await _audit_records(store, catalog, Status.STORED, partial(confirm_damage, publish=publish))
    await _audit_records(store, catalog, Status.DAMAGED, partial(confirm_repair, publish=publish))
    await _audit_files(store, catalog)


async def confirm_damage(store: Store, catalog: Catalog, upload: Upload, publish: Publish = unpublished) -> bool:
    """Whether the recording is damaged; its record then says so from now on.

    A file that is missing is no damage while it is deleted. A deletion may also end, or be undone, between two
    questions here, so both are asked again before anything is written.
    """
    if not await _looks_damaged(store, upload):
        return False
    try:
        current = await catalog.get(upload.id)
    except NotFound:
        return False
    if current.status is not Status.STORED:
        return current.status is Status.DAMAGED
    if not await _looks_damaged(store, current):
        return False
    await catalog.move(current.id, Status.DAMAGED)
    publish(replace(current, status=Status.DAMAGED))
    log.error("stored upload is damaged", upload=str(current.id))
    return True


async def confirm_repair(store: Store, catalog: Catalog, upload: Upload, publish: Publish = unpublished) -> bool:
    """Whether the file of a damaged recording is back, byte for byte; its record then says so from now on."""
    if not await _is_whole(store, upload):
        return False
    await catalog.move(upload.id, Status.STORED)
    publish(replace(upload, status=Status.STORED))
    log.warning("damaged upload is whole again", upload=str(upload.id))
    return True


@dataclass(frozen=True, slots=True)
class _Trace:
    """What a crash left of an upload besides its mark."""

    id: UUID
    record: Upload | None
    published: str | None

    @property
    def goes_on(self) -> bool:
        """Whether its client can continue it. Of one that is made of others, no client was told."""
        return self.record is not None and self.record.status in UNDECIDED and not self.record.is_final


async def _recover(store: Store, catalog: Catalog, left: _Trace) -> None:
    mark = store.locator_of(left.id)
    if left.record is not None and left.record.stored is not None:
        if left.published is None:
            await store.publish(mark, left.id, BY_NAME[left.record.stored.format].extension)
        await store.discard(mark)
    elif not left.goes_on:
        await _give_up(store, catalog, left)
    else:
        await _take_back(store, catalog, left)


async def _take_back(store: Store, catalog: Catalog, left: _Trace) -> None:
    if left.published is not None:
        await store.retract(store.locator_of(left.id), left.published)
    if left.record is not None and left.record.status is Status.SCANNING:
        await catalog.move(left.id, Status.RECEIVING, expires_at=left.record.expires_at)


async def _give_up(store: Store, catalog: Catalog, left: _Trace) -> None:
    if left.record is not None and left.record.status in UNDECIDED:
        await catalog.remove(left.id)
    if left.published is not None:
        await store.quarantine(left.published)
    await store.discard(store.locator_of(left.id))
    log.warning("unfinished upload discarded", upload=str(left.id), orphan=left.published is not None)


async def _audit_records(
    store: Store, catalog: Catalog, status: Status, confirm: Callable[[Store, Catalog, Upload], Awaitable[bool]]
) -> None:
    after: Position | None = None
    while page := await _next_page(catalog, status, after):
        async with _outliving("records not compared with their files"):
            for upload in page:
                await confirm(store, catalog, upload)
            await asyncio.sleep(PAUSE)
        after = Position(page[-1].created_at, page[-1].id)


async def _next_page(catalog: Catalog, status: Status, after: Position | None) -> Sequence[Upload]:
    """The uploads in `status` behind `after`; asked for until the catalog answers, as only it knows what is next."""
    while True:
        async with _outliving("records not listed"):
            return await catalog.list(PAGE, status=status, after=after)


async def _looks_damaged(store: Store, upload: Upload) -> bool:
    """Whether the file is not what the record says; if it is below `incoming/`, it is just being deleted."""
    stored = upload.stored
    if stored is None or await store.size(stored.locator) == stored.size:
        return False
    return await store.size(store.locator_of(upload.id)) is None


async def _is_whole(store: Store, upload: Upload) -> bool:
    """Whether the file is, byte for byte, what the record says."""
    stored = upload.stored
    if stored is None or await store.size(stored.locator) != stored.size:
        return False
    digest = hashlib.sha256()
    async with aclosing(store.read(stored.locator, 0, stored.size)) as pieces:
        async for piece in pieces:
            await asyncio.to_thread(digest.update, piece)
    return digest.hexdigest() == stored.sha256


async def _audit_files(store: Store, catalog: Catalog) -> None:
    async with _outliving("files not compared with their records"):
        if await _belong_together(store, catalog):
            await _quarantine_all_unknown(store, catalog)


async def _belong_together(store: Store, catalog: Catalog) -> bool:
    """Whether most files have a record. To another catalog, even an empty one, the whole archive would be unknown."""
    known = unknown = 0
    async with aclosing(store.all_published()) as batches:
        async for batch in batches:
            records = len(await catalog.known([id for id, _ in batch]))
            known, unknown = known + records, unknown + len(batch) - records
            await asyncio.sleep(PAUSE)
    if unknown <= max(known, HANDFUL):
        return True
    log.error("the catalog does not seem to belong to this folder", with_record=known, without_record=unknown)
    return False


async def _quarantine_all_unknown(store: Store, catalog: Catalog) -> None:
    async with aclosing(store.all_published()) as batches:
        async for batch in batches:
            async with _outliving("files not compared with their records"):
                await _quarantine_unknown(store, catalog, batch)
                await asyncio.sleep(PAUSE)


async def _quarantine_unknown(store: Store, catalog: Catalog, batch: Sequence[tuple[UUID, str]]) -> None:
    known = await catalog.known([id for id, _ in batch])
    for id, published in batch:
        if id not in known:
            await store.quarantine(published)
            log.error("file without a record put aside", upload=str(id))


@asynccontextmanager
async def _outliving(failure: str) -> AsyncIterator[None]:
    """Whatever goes wrong inside is logged, and followed by a rest."""
    try:
        yield
    except Exception:
        log.exception(failure)
        await asyncio.sleep(PAUSE_AFTER_FAILURE)
