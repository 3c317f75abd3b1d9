"""The parts, put together: for a look, which may happen beside a server, and for a repair, which may not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from maie_aiohttp import assembly
from maie_aiohttp.catalogs.raw import RawCatalog, sqlite_file
from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.fsck.examiner import Examiner
from maie_aiohttp.fsck.findings import Finding, Kind, Report
from maie_aiohttp.fsck.mending import Mender
from maie_aiohttp.fsck.rebuild import rebuild
from maie_aiohttp.intake.locks import Locks
from maie_aiohttp.limits.throttle import Throttle
from maie_aiohttp.settings import Settings
from maie_aiohttp.stores.disk import DiskStore
from maie_aiohttp.stores.folder import DataFolder


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at."""

    store: DiskStore
    root: int
    """The data folder's descriptor."""
    locks: Locks
    url: str
    """Of the catalog."""
    throttle: Throttle

    @property
    def file(self) -> Path:
        """The catalog's. Raises `StorageFailed` if it is in no file."""
        return sqlite_file(self.url)

    def examiner(self, raw: RawCatalog, *, grace: float) -> Examiner:
        """Of the whole, whose catalog is sound."""
        return Examiner(self.store, self.root, raw, self.locks, self.throttle, grace=grace)


async def look(settings: Settings, report: Report, *, rate: int, grace: float) -> None:
    """Tell what does not belong together. Raises `StorageFailed` and `Busy` where that cannot be found out."""
    async with _subject(settings, DataFolder.attach, rate) as subject:
        if await _catalog_is_sound(subject, report):
            with closing(RawCatalog(subject.file)) as raw:
                raw.check_revision()
                await subject.examiner(raw, grace=grace).examine(report)


async def repair(settings: Settings, report: Report, *, rate: int) -> None:
    """Tell it, and put right what can be. Raises `StorageFailed` where a server runs, or nothing can be done."""
    async with _subject(settings, DataFolder.open, rate) as subject:
        if not await _catalog_is_sound(subject, report):
            told = await rebuild(subject.file, subject.store, subject.root, subject.throttle)
            report.repaired += 1
            report.say(f"{Kind.CATALOG} {subject.file}: {told}")
        catalog = await SqlCatalog.open(subject.url)
        try:
            with closing(RawCatalog(subject.file, "rw")) as raw:
                report.mender = Mender(subject.store, catalog, raw, subject.root)
                await subject.examiner(raw, grace=0).examine(report)
        finally:
            await catalog.close()


async def _catalog_is_sound(subject: Subject, report: Report) -> bool:
    problems = _problems(subject.file)
    for problem in problems:
        await report.add(Finding(Kind.CATALOG, str(subject.file), problem))
    return not problems


def _problems(file: Path) -> list[str]:
    if not file.exists():
        return ["there is no such file"]
    with closing(RawCatalog(file)) as raw:
        return raw.problems()


@asynccontextmanager
async def _subject(settings: Settings, enter: Callable[[DataFolder], None], rate: int) -> AsyncIterator[Subject]:
    async with AsyncExitStack() as stack:
        folder = DataFolder(settings.storage.folder)
        stack.callback(folder.close)
        enter(folder)
        store = assembly.disk_store(settings, folder)
        stack.callback(store.close)
        locks = Locks(folder.locks_file)
        stack.callback(locks.close)
        yield Subject(store, folder.descriptor, locks, assembly.catalog_url(settings, folder), Throttle(rate))
