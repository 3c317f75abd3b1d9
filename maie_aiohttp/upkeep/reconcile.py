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
from uuid import UUID

import structlog

from maie_aiohttp.errors import Damaged, NotFound, StorageFailed
from maie_aiohttp.formats import BY_NAME
from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.limits.throttle import Pace, unhurried
from maie_aiohttp.model import UNDECIDED, Position, Status, Stored, Upload
from maie_aiohttp.progress.events import Publish, unpublished

PAGE = 200
PAUSE = 0.05
"""Seconds between two pages of the audit, so that uploads do not feel it."""
PAUSE_AFTER_FAILURE = 30.0
"""Seconds until the audit goes on after an error."""
HANDFUL = 10
"""Files that may lack a record although none has one."""

Differs = Callable[[Store, Stored], Awaitable[bool]]
"""Whether a file is not what its record says."""

log = structlog.get_logger()


async def recover(store: Store, catalog: Catalog) -> None:
    """Clear up after a crash, before the first request; costs as much as was under way then. Safe to repeat."""
    await clear_up(store, catalog, await store.unfinished())


async def clear_up(store: Store, catalog: Catalog, unfinished: Sequence[UUID]) -> None:
    """Clear up what a crash left of these uploads. Nobody may be at work on them."""
    async for left in traces(store, catalog, unfinished):
        try:
            await _recover(store, catalog, left)
        except StorageFailed:
            log.exception("unfinished upload left alone", upload=str(left.id))


async def traces(store: Store, catalog: Catalog, unfinished: Sequence[UUID]) -> AsyncIterator[Trace]:
    """What there is of these uploads besides their marks."""
    published = await store.published(unfinished)
    for start in range(0, len(unfinished), PAGE):
        ids = unfinished[start : start + PAGE]
        records = await catalog.find(ids)
        for id in ids:
            yield Trace(id, records.get(id), published.get(id))


async def anywhere(_: Position) -> None:
    """Nobody wants to go on from there."""


async def audit(store: Store, catalog: Catalog, publish: Publish = unpublished, *, pace: Pace = unhurried) -> None:
    """Compare every record with its file, by size, and every file with its record. What fails is logged, and left
    out."""
    await compare(catalog, Status.STORED, lambda upload: confirm_damage(store, catalog, upload, publish))
    await compare(catalog, Status.DAMAGED, lambda upload: confirm_repair(store, catalog, upload, publish, pace=pace))
    await _audit_files(store, catalog)


async def compare(
    catalog: Catalog,
    status: Status,
    confirm: Callable[[Upload], Awaitable[object]],
    *,
    after: Position | None = None,
    reached: Callable[[Position], Awaitable[None]] = anywhere,
) -> None:
    """Have every upload in `status` behind `after` looked at, newest first; `reached` hears how far that is. What fails
    is logged, and left out."""
    while page := await _next_page(catalog, status, after):
        for upload in page:
            async with outliving("record not compared with its file"):
                await confirm(upload)
            after = Position(upload.created_at, upload.id)
            await reached(after)
        await asyncio.sleep(PAUSE)


async def confirm_damage(
    store: Store, catalog: Catalog, upload: Upload, publish: Publish = unpublished, *, differs: Differs | None = None
) -> bool:
    """Whether the recording is damaged, by its size unless there is another way to tell; its record then says so from
    now on.

    A file that is missing is no damage while it is deleted. A deletion may also end, or be undone, between two
    questions here, so both are asked again before anything is written.
    """
    if not await is_damaged(store, upload, differs or differs_in_size):
        return False
    try:
        current = await catalog.get(upload.id)
    except NotFound:
        return False
    if current.status is not Status.STORED:
        return current.status is Status.DAMAGED
    if not await is_damaged(store, current, differs or differs_in_size):
        return False
    await catalog.move(current.id, Status.DAMAGED)
    publish(replace(current, status=Status.DAMAGED))
    log.error("stored upload is damaged", upload=str(current.id))
    return True


async def confirm_repair(
    store: Store, catalog: Catalog, upload: Upload, publish: Publish = unpublished, *, pace: Pace = unhurried
) -> bool:
    """Whether the file of a damaged recording is back, byte for byte; its record then says so from now on."""
    if upload.stored is None or await differs_in_content(store, upload.stored, pace):
        return False
    await catalog.move(upload.id, Status.STORED)
    publish(replace(upload, status=Status.STORED))
    log.warning("damaged upload is whole again", upload=str(upload.id))
    return True


async def is_damaged(store: Store, upload: Upload, differs: Differs) -> bool:
    """Whether the file is not what the record says; if it is below `incoming/`, it is just being deleted."""
    if upload.stored is None or not await differs(store, upload.stored):
        return False
    return await store.size(store.locator_of(upload.id)) is None


async def differs_in_size(store: Store, stored: Stored) -> bool:
    """Whether the file is not as long as it was, or is not there."""
    return await store.size(stored.locator) != stored.size


async def differs_in_content(store: Store, stored: Stored, pace: Pace = unhurried) -> bool:
    """Whether the file is not, byte for byte, what was accepted, or cannot be read."""
    try:
        return (
            await differs_in_size(store, stored)
            or await sha256(store, stored.locator, stored.size, pace) != stored.sha256
        )
    except (Damaged, StorageFailed):
        return True


async def is_unreadable(store: Store, stored: Stored, place: int) -> bool:
    """Whether the file has no byte at `place`, or does not give it out."""
    try:
        async with aclosing(store.read(stored.locator, place, place + 1)) as pieces:
            return not [piece async for piece in pieces]
    except (Damaged, StorageFailed):
        return True


async def sha256(store: Store, locator: str, size: int, pace: Pace = unhurried) -> str:
    """Of the first `size` bytes, hexadecimal. Raises `Damaged` if there are fewer, and `StorageFailed`."""
    digest = hashlib.sha256()
    async with aclosing(store.read(locator, 0, size)) as pieces:
        async for piece in pieces:
            await asyncio.to_thread(digest.update, piece)
            await pace(len(piece))
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Trace:
    """What a crash left of an upload besides its mark."""

    id: UUID
    record: Upload | None
    published: str | None

    @property
    def goes_on(self) -> bool:
        """Whether its client can continue it. Of one that is made of others, no client was told."""
        return self.record is not None and self.record.status in UNDECIDED and not self.record.is_final

    @property
    def is_in_order(self) -> bool:
        """Whether there is nothing to do."""
        return self.goes_on and self.published is None


async def _recover(store: Store, catalog: Catalog, left: Trace) -> None:
    mark = store.locator_of(left.id)
    if left.record is not None and left.record.stored is not None:
        if left.published is None:
            await store.publish(mark, left.id, BY_NAME[left.record.stored.format].extension)
        await store.discard(mark)
    elif not left.goes_on:
        await _give_up(store, catalog, left)
    else:
        await _take_back(store, catalog, left)


async def _take_back(store: Store, catalog: Catalog, left: Trace) -> None:
    if left.published is not None:
        await store.retract(store.locator_of(left.id), left.published)
    if left.record is not None and left.record.status is Status.SCANNING:
        await catalog.move(left.id, Status.RECEIVING, expires_at=left.record.expires_at)


async def _give_up(store: Store, catalog: Catalog, left: Trace) -> None:
    if left.record is not None and left.record.status in UNDECIDED:
        await catalog.remove(left.id)
    if left.published is not None:
        await store.quarantine(left.published)
    await store.discard(store.locator_of(left.id))
    log.warning("unfinished upload discarded", upload=str(left.id), orphan=left.published is not None)


async def _next_page(catalog: Catalog, status: Status, after: Position | None) -> Sequence[Upload]:
    """The uploads in `status` behind `after`; asked for until the catalog answers, as only it knows what is next."""
    while True:
        async with outliving("records not listed"):
            return await catalog.list(PAGE, status=status, after=after)


async def _audit_files(store: Store, catalog: Catalog) -> None:
    async with outliving("files not compared with their records"):
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
            async with outliving("files not compared with their records"):
                await _quarantine_unknown(store, catalog, batch)
                await asyncio.sleep(PAUSE)


async def _quarantine_unknown(store: Store, catalog: Catalog, batch: Sequence[tuple[UUID, str]]) -> None:
    known = await catalog.known([id for id, _ in batch])
    for id, published in batch:
        if id not in known:
            await store.quarantine(published)
            log.error("file without a record put aside", upload=str(id))


@asynccontextmanager
async def outliving(failure: str) -> AsyncIterator[None]:
    """Whatever goes wrong inside is logged, and followed by a rest."""
    try:
        yield
    except Exception:
        log.exception(failure)
        await asyncio.sleep(PAUSE_AFTER_FAILURE)
