"""What a small upload costs our server, part by part: the product's own parts, each alone in a process of its own.

stages.py STAGE RECORDING FOLDER SECONDS: prints the CPU seconds of one upload, all threads included
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from uuid import uuid4

from aiohttp import web
from yarl import URL

from benchmarks.clients import wrk
from benchmarks.clients.recording import FILENAME, FORM_TYPE, MEDIA_TYPE, Recording, body
from benchmarks.contenders import Door, Route
from maie_aiohttp.catalogs.sql import SqlCatalog, sqlite_url
from maie_aiohttp.formats import CORE
from maie_aiohttp.inspection.checks import Digest, Polyglot, Sniff
from maie_aiohttp.interfaces import Chunk, nothing
from maie_aiohttp.limits import allocator
from maie_aiohttp.model import Status, Stored, Upload
from maie_aiohttp.protocols.entry import entered
from maie_aiohttp.protocols.parts import boundary_of, label, walk
from maie_aiohttp.settings import Settings
from maie_aiohttp.stores.folder import DataFolder
from maie_aiohttp.stores.part import PartFile
from maie_aiohttp.stores.shelf import Publication, Shelf, shard
from maie_aiohttp.web.appkeys import DRAIN, LIMITS
from maie_aiohttp.web.drain import Drain
from maie_aiohttp.web.server import Runner

BATCH = 8
"""Uploads that are published, and recorded, together: about as many as are where 32 connections send."""
CONNECTIONS = 32


class Clock:
    """CPU time of this process, as far as it counts."""

    def __init__(self, seconds: float) -> None:
        self._end = perf_counter() + seconds
        self._spent = 0.0
        self._uploads = 0

    @property
    def each(self) -> float:
        """CPU seconds of one upload."""
        return self._spent / self._uploads

    def is_running(self) -> bool:
        """Whether there is time for more."""
        return perf_counter() < self._end

    @contextmanager
    def counting(self, uploads: int = BATCH) -> Iterator[None]:
        """What the block costs is for so many uploads."""
        begun = process_time()
        yield
        self._spent += process_time() - begun
        self._uploads += uploads


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage is given."""

    recording: Recording
    content: bytes
    folder: Path
    seconds: int
    """For which it goes on."""


async def parse(work: Work) -> float:
    """The connection, the body and the form, up to the chunks; and an empty answer."""
    settings = Settings()
    app = web.Application()
    app[LIMITS], app[DRAIN] = settings.limits, Drain()
    app.router.add_post("/", _read)
    runner = Runner(app, settings.server)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return await _driven(runner, work)
    finally:
        await runner.cleanup()


async def _read(request: web.Request) -> web.Response:
    with entered(request) as incoming:
        async for part in walk(boundary_of(request), incoming):
            label(part, at_most=request.content_length)
            async for _ in part.chunks(request.app[LIMITS].chunk_size):
                pass
    return web.Response(status=201)


async def _driven(runner: Runner, work: Work) -> float:
    url = URL.build(scheme="http", host="127.0.0.1", port=runner.addresses[0][1])
    request = work.folder / "request"
    request.write_bytes(body(Door.FORM, work.recording))
    begun = process_time()
    load = await wrk.send(url, Route("POST", "/"), request, FORM_TYPE, CONNECTIONS, work.seconds)
    return (process_time() - begun) / load.uploads


async def sniff(work: Work) -> float:
    """libmagic and the structure, on the first 64 KiB."""
    clock = Clock(work.seconds)
    while clock.is_running():
        with clock.counting(1):
            check = Sniff(CORE)
            check.feed(work.content)
            check.verdict()
    return clock.each


async def digest(work: Work) -> float:
    """SHA-256."""
    clock = Clock(work.seconds)
    while clock.is_running():
        with clock.counting(1):
            check = Digest({})
            check.feed(work.content)
            check.sha256()
    return clock.each


async def archive(work: Work) -> float:
    """A look for an archive at the end."""
    clock = Clock(work.seconds)
    with _data_folder(work.folder) as root:
        part = _part(root, f"incoming/{uuid4()}.part")
        part.finish(work.content)
        while clock.is_running():
            with clock.counting(1):
                Polyglot().finish(part)
    return clock.each


async def write(work: Work) -> float:
    """The file is made and written, without any check."""
    clock = Clock(work.seconds)
    with _data_folder(work.folder) as root:
        shelf = Shelf(root)
        while clock.is_running():
            locators = [f"incoming/{uuid4()}.part" for _ in range(BATCH)]
            with clock.counting():
                for locator in locators:
                    part = _part(root, locator)
                    part.write(work.content)
                    part.close()
            shelf.discard_all(locators)
    return clock.each


async def sync(work: Work) -> float:
    """fdatasync, the final name, fsync of its folder, and no mark any more."""
    clock = Clock(work.seconds)
    with _data_folder(work.folder) as root:
        shelf = Shelf(root)
        while clock.is_running():
            batch = [_publication() for _ in range(BATCH)]
            parts = [_part(root, publication.locator) for publication in batch]
            for part in parts:
                part.write(work.content)
            with clock.counting():
                for part in parts:
                    part.finish(b"")
                shelf.publish(batch)
                shelf.discard_all([publication.locator for publication in batch])
            shelf.discard_all([publication.published for publication in batch])
        shelf.close()
    return clock.each


async def record(work: Work) -> float:
    """The rows of the upload and of its outbox entry, in a transaction."""
    clock = Clock(work.seconds)
    catalog = await SqlCatalog.open(sqlite_url(work.folder / "catalog.sqlite"))
    while clock.is_running():
        uploads = [_upload(work.recording.size) for _ in range(BATCH)]
        with clock.counting():
            await asyncio.gather(*(catalog.settle([upload]) for upload in uploads))
    await catalog.close()
    return clock.each


Stage = Callable[[Work], Coroutine[None, None, float]]
"""Returns CPU seconds for each upload."""

STAGES: Mapping[str, Stage] = {stage.__name__: stage for stage in (parse, sniff, digest, archive, write, sync, record)}
LABELS = {
    "parse": "parse: connection, body and form",
    "sniff": "sniff: libmagic and the structure",
    "digest": "digest: SHA-256",
    "archive": "archive: is one behind it?",
    "write": "write: a file is made and filled",
    "sync": "sync: fdatasync, final name, no mark",
    "record": "record: a row and its outbox entry",
}


@contextmanager
def _data_folder(root: Path) -> Iterator[int]:
    """The descriptor of one that is laid out."""
    folder = DataFolder(root)
    folder.open()
    try:
        yield folder.descriptor
    finally:
        folder.close()


def _part(root: int, locator: str) -> PartFile:
    return PartFile(root, locator, 0, _unconcerned, nothing, Shelf(root).take_back)


def _unconcerned(_: Chunk) -> None:
    """The check that has no objection."""


def _publication() -> Publication:
    id = uuid4()
    return Publication(f"incoming/{id}.part", f"{shard(id)}/{id}.wav")


def _upload(size: int) -> Upload:
    """The record of a stored one."""
    id, now = uuid4(), datetime.now(UTC)
    stored = Stored(
        size=size, media_type=MEDIA_TYPE, format="wav", sha256="ab" * 32, locator=f"{shard(id)}/{id}.wav", at=now
    )
    return Upload(
        id=id,
        status=Status.STORED,
        filename=FILENAME,
        size=size,
        offset=size,
        created_at=now,
        metadata={},
        stored=stored,
    )


def main(name: str, recording: str, folder: str, seconds: str) -> None:
    """The command line."""
    allocator.tune()
    content = Path(recording).read_bytes()
    work = Work(Recording(Path(recording), len(content)), content, Path(folder), int(seconds))
    sys.stdout.write(f"{asyncio.run(STAGES[name](work))}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
