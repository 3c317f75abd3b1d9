"""Every record against its file, every file against its record; beside a server, and without disturbing it.

What is under way must not be taken for damage. An upload that has a record is only judged while its lock is held, which
nobody who changes it would let go: so record and file are seen at rest. Of what has no record yet nobody holds a
lock that could be tried (its owner does not wait for it); it is only judged when it has not changed for `grace`.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from uuid import UUID

from maie_aiohttp.catalogs.raw import RawCatalog, Row
from maie_aiohttp.errors import Damaged, Locked, NotAudio, StorageFailed
from maie_aiohttp.formats import BY_NAME
from maie_aiohttp.fsck.contradictions import contradictions, is_own
from maie_aiohttp.fsck.findings import Finding, Kind, Report
from maie_aiohttp.fsck.mending import Mender
from maie_aiohttp.inspection.checks import Sniff
from maie_aiohttp.intake.locks import Locks
from maie_aiohttp.interfaces import HEAD, Store
from maie_aiohttp.limits.throttle import Throttle
from maie_aiohttp.model import Status, Stored, Upload
from maie_aiohttp.stores.folder import PUBLISHED_MODE, SHARDS
from maie_aiohttp.stores.shelf import shard
from maie_aiohttp.stores.survey import Thing, look, survey, wrong_folders
from maie_aiohttp.upkeep.reconcile import HANDFUL, differs_in_content, is_damaged


class Examiner:
    """Looks at everything once."""

    def __init__(
        self, store: Store, root: int, catalog: RawCatalog, locks: Locks, throttle: Throttle, *, grace: float
    ) -> None:
        """`root` is the data folder's descriptor, `grace` seconds."""
        self._store = store
        self._root = root
        self._catalog = catalog
        self._locks = locks
        self._throttle = throttle
        self._quiet_since = time.time() - grace

    async def examine(self, report: Report) -> None:
        """Tell `report` everything that does not belong together. Raises `StorageFailed` and `Busy` where the catalog
        cannot be read."""
        for folder, problem in wrong_folders(self._root):
            await report.add(Finding(Kind.MODE, folder, problem))
        await self._incoming(report)
        for row in self._catalog.uploads():
            report.records += 1
            await self._record(row, report)
        await self._files(report)
        await self._outbox(report)
        await self._waveforms(report)
        await self._orphans(report)
        report.hashed = self._throttle.passed

    async def _incoming(self, report: Report) -> None:
        marks = dict[UUID, Thing]()
        for thing in await self._surveyed("incoming", report):
            if thing.id and thing.is_file and thing.place == self._store.locator_of(thing.id):
                marks[thing.id] = thing
            else:
                await report.add(_foreign(thing))
        published = await self._published(marks)
        for id, mark in marks.items():
            if text := self._leftover(mark, id, published.get(id)):
                await report.add(Finding(Kind.LEFTOVER, str(id), text, partial(Mender.clear_up, id=id)))

    def _leftover(self, mark: Thing, id: UUID, published: str | None) -> str | None:
        """What a crash left of an upload, if it did."""
        row = self._catalog.find(id)
        with suppress(Locked), nullcontext() if row is None else self._locks.try_hold(id):
            current, row = look(mark.place, self._root), self._catalog.find(id)
            record = as_upload(row) if row else None
            if current and current.changed == mark.changed < self._quiet_since and (record or not row):
                return _left(record, published)
        return None

    async def _record(self, row: Row, report: Report) -> None:
        try:
            upload = row.upload()
        except ValueError as error:
            await report.add(Finding(Kind.RECORD, row.name, str(error)))
            return
        for problem in contradictions(upload):
            await report.add(Finding(Kind.RECORD, row.name, problem))
        if upload.stored is not None:
            await self._recording(upload, upload.stored, report)
        elif upload.status is Status.RECEIVING and not upload.is_final:
            await self._part(upload, report)

    async def _recording(self, upload: Upload, stored: Stored, report: Report) -> None:
        if not is_own(stored, upload):
            await self._misplaced(upload, stored, report)
        elif await self._is_damaged(upload):
            await report.add(self._damage(upload, stored))
        elif upload.status is Status.DAMAGED:
            fix = partial(Mender.mark_whole, id=upload.id)
            await report.add(Finding(Kind.WHOLE, str(upload.id), "its file is what it was", fix))
        else:
            await self._format(upload, stored, report)
            await self._mode(upload, stored, report)

    async def _misplaced(self, upload: Upload, stored: Stored, report: Report) -> None:
        """The file that the record names is another's, or none of ours: it is not opened."""
        own = (await self._published([upload.id])).get(upload.id)
        text, fix = f"it names {stored.locator}", partial(Mender.mark_damaged, id=upload.id)
        if own and not await differs_in_content(self._store, replace(stored, locator=own), self._throttle.spend):
            text, fix = f"{text}, and its file is {own}", partial(Mender.relocate, id=upload.id, place=own)
        if self._is_unchanged(upload):
            await report.add(Finding(Kind.LOCATOR, str(upload.id), text, fix))

    async def _is_damaged(self, upload: Upload) -> bool:
        """Whether its file is not, byte for byte, what its record says: seen twice, and not because somebody is just
        deleting it."""
        for _ in range(2):
            if not await is_damaged(self._store, upload, partial(differs_in_content, pace=self._throttle.spend)):
                return False
        return self._is_unchanged(upload)

    def _damage(self, upload: Upload, stored: Stored) -> Finding:
        text = "there is no such file"
        with suppress(OSError):
            if (thing := look(stored.locator, self._root)) and thing.is_file:
                text = "its bytes are not those that were accepted, or cannot be read"
                if thing.found.st_size != stored.size:
                    text = f"it has {thing.found.st_size} bytes, and had {stored.size}"
        if upload.status is Status.DAMAGED:
            return Finding(Kind.DAMAGED, str(upload.id), f"{stored.locator}: {text}, as its record says")
        return Finding(
            Kind.DAMAGED, str(upload.id), f"{stored.locator}: {text}", partial(Mender.mark_damaged, id=upload.id)
        )

    async def _format(self, upload: Upload, stored: Stored, report: Report) -> None:
        sniff = Sniff(BY_NAME)
        try:
            async for piece in self._store.read(stored.locator, 0, min(HEAD, stored.size)):
                sniff.feed(piece)
            found = sniff.verdict().format.name
        except NotAudio:
            found = "no format of ours"
        except (Damaged, StorageFailed):
            return  # Deleted since it was read.
        if found != stored.format and stored.format in BY_NAME and self._is_unchanged(upload):
            text = f"it is {found}, and its record says {stored.format}"
            await report.add(Finding(Kind.FORMAT, str(upload.id), text))

    async def _mode(self, upload: Upload, stored: Stored, report: Report) -> None:
        with self._unchanged(upload) as is_unchanged:
            thing = look(stored.locator, self._root)
            if thing is None or not is_unchanged:
                return
        if thing.found.st_uid != os.geteuid():
            await report.add(Finding(Kind.MODE, thing.place, "belongs to another user"))
        if thing.mode != PUBLISHED_MODE:
            text = f"has the mode {thing.mode:o} instead of {PUBLISHED_MODE:o}"
            await report.add(Finding(Kind.MODE, thing.place, text, partial(Mender.protect, place=thing.place)))

    async def _part(self, upload: Upload, report: Report) -> None:
        with self._unchanged(upload) as is_unchanged:
            part = look(self._store.locator_of(upload.id), self._root)
            if not is_unchanged:
                return
        size = part.found.st_size if part and part.is_file else 0
        if part is None or size < upload.offset:
            text = f"it has {size} of the {upload.offset} bytes that were acknowledged"
            await report.add(Finding(Kind.PART, str(upload.id), text))
        elif size > upload.offset and part.changed < self._quiet_since:
            text = f"it has {size - upload.offset} bytes behind the {upload.offset} that were acknowledged"
            fix = partial(Mender.cut, place=part.place, size=upload.offset)
            await report.add(Finding(Kind.LEFTOVER, str(upload.id), text, fix))

    async def _files(self, report: Report) -> None:
        known, unknown = 0, list[Thing]()
        for thing in await self._surveyed("audio", report):
            await report.add(_foreign(thing))
        for folder in map("audio/{}".format, SHARDS):
            things = await self._surveyed(folder, report)
            for thing in things:
                if not _is_ours(thing):
                    await report.add(_foreign(thing))
            ours = [thing for thing in things if _is_ours(thing)]
            without = list(self._without_record(ours))
            known, unknown = known + len(ours) - len(without), unknown + without
            report.files += len(ours)
        await self._unknown(unknown, known, report)

    def _without_record(self, things: Sequence[Thing]) -> Iterator[Thing]:
        """Files that are at rest, and that no record names; asked twice, as one may be deleted meanwhile."""
        places = self._catalog.places([thing.id for thing in things if thing.id])
        for thing in things:
            if thing.id and places.get(thing.id) != thing.place and thing.changed < self._quiet_since:
                current = look(thing.place, self._root)
                if current and current.changed == thing.changed and not self._is_marked(thing.id):
                    yield thing

    async def _unknown(self, things: Sequence[Thing], known: int, report: Report) -> None:
        """To another catalog, even an empty one, the whole archive would be unknown; then nothing is moved."""
        belongs = len(things) <= max(known, HANDFUL)
        for thing in things:
            fix = partial(Mender.quarantine, place=thing.place) if belongs else None
            await report.add(Finding(Kind.UNKNOWN, thing.place, "no record speaks of it", fix))
        if not belongs:
            text = (
                f"it has records of {known} files, and none of {len(things)}: it does not seem to belong to this "
                "folder. Without any catalog, `fsck --repair` makes one of the files"
            )
            await report.add(Finding(Kind.CATALOG, "the whole", text))

    async def _outbox(self, report: Report) -> None:
        for entry in self._catalog.wrong_entries():
            text = f"entry {entry.number}: {entry.problem}"
            await report.add(Finding(Kind.OUTBOX, entry.upload, text, partial(Mender.withdraw, number=entry.number)))
        for id in self._catalog.unannounced():
            fix = partial(Mender.announce, id=id)
            await report.add(Finding(Kind.OUTBOX, str(id), "it is stored, and has no entry", fix))

    async def _waveforms(self, report: Report) -> None:
        for id in self._catalog.stray_waveforms():
            fix = partial(Mender.forget_waveform, id=id)
            await report.add(Finding(Kind.LEFTOVER, str(id), "an outline of an upload that is not there", fix))

    async def _orphans(self, report: Report) -> None:
        if orphans := await self._surveyed("orphans", report):
            await report.add(Finding(Kind.ORPHANS, "orphans", f"{len(orphans)} put aside, for a person to look at"))

    async def _surveyed(self, folder: str, report: Report) -> list[Thing]:
        try:
            return list(survey(folder, self._root))
        except OSError as error:
            await report.add(Finding(Kind.FOREIGN, folder, f"cannot be listed: {error.strerror}"))
            return []

    async def _published(self, ids: Collection[UUID]) -> Mapping[UUID, str]:
        """Nothing, where a folder cannot be listed; that is told elsewhere."""
        try:
            return await self._store.published(ids)
        except StorageFailed:
            return {}

    def _is_marked(self, id: UUID) -> bool:
        return look(self._store.locator_of(id), self._root) is not None

    def _is_unchanged(self, upload: Upload) -> bool:
        with self._unchanged(upload) as is_unchanged:
            return is_unchanged

    @contextmanager
    def _unchanged(self, upload: Upload) -> Iterator[bool]:
        """Whether nobody is at work on the upload and its record is still this one; that stays so meanwhile."""
        with ExitStack() as held:
            try:
                held.enter_context(self._locks.try_hold(upload.id))
            except Locked:
                yield False
                return
            row = self._catalog.find(upload.id)
            yield row is not None and as_upload(row) == upload


def as_upload(row: Row) -> Upload | None:
    """None if it cannot be read."""
    with suppress(ValueError):
        return row.upload()
    return None


def _left(record: Upload | None, published: str | None) -> str | None:
    """What a mark says, as in the table of `reconcile`; None where the upload can go on."""
    if record is None or record.is_final or record.status in (Status.REJECTED, Status.EXPIRED):
        return "bytes that no record speaks of: still under way, or never acknowledged"
    if record.stored is not None:
        return "a mark of an upload that is stored" if published else "a deletion that was not finished"
    return "an upload that was published, and not recorded" if published else None


def _is_ours(thing: Thing) -> bool:
    return (
        thing.id is not None and thing.is_file and PurePosixPath(thing.place).parent == PurePosixPath(shard(thing.id))
    )


def _foreign(thing: Thing) -> Finding:
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFREG: "a file"}
    kind = kinds.get(stat.S_IFMT(thing.found.st_mode), "no file")
    return Finding(Kind.FOREIGN, thing.place, f"{kind} that this server did not put there; it is left alone")
