"""The layers below HTTP, each by itself: a store on a disk, a catalog in a file, and ways to make them fail."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.concurrency import in_thread
from maie_aiohttp.intake.locks import Locks
from maie_aiohttp.interfaces import Chunk
from maie_aiohttp.model import Status, Stored, Upload
from maie_aiohttp.stores.blocks import BlockBudget
from maie_aiohttp.stores.disk import DiskStore
from maie_aiohttp.stores.folder import DataFolder
from maie_aiohttp.stores.space import Reserve

KIB = 1024
MIB = 1024 * KIB
NO_RESERVE = Reserve(0, 0)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting and giving files away needs root")


@contextmanager
def disk_store(root: Path, reserve: Reserve = NO_RESERVE, *, threads: int = 2) -> Iterator[DiskStore]:
    """A store in the folder `root`."""
    folder = DataFolder(root)
    try:
        folder.open()
        store = DiskStore(folder, BlockBudget(largest=MIB, total=16 * MIB), reserve, threads=threads)
        yield store
        store.close()
    finally:
        folder.close()


@asynccontextmanager
async def sql_catalog(path: Path) -> AsyncIterator[SqlCatalog]:
    """A catalog in the SQLite file `path`."""
    catalog = await SqlCatalog.open(f"sqlite:///{path}")
    yield catalog
    await catalog.close()


def upload(id: UUID | None = None, *, age: float = 0, **changes: object) -> Upload:
    """A record of a stored upload made `age` seconds before noon."""
    id = id or uuid4()
    created_at = NOON - timedelta(seconds=age)
    values: dict[str, object] = {
        "id": id,
        "status": Status.STORED,
        "filename": "speech.wav",
        "size": 5,
        "offset": 5,
        "created_at": created_at,
        "metadata": {"speaker": "Ada", "tag": ("one", "two")},
        "stored": stored(id, at=created_at),
    }
    return Upload(**{**values, **changes})  # type: ignore[arg-type]  # the names above are those of the fields


def pending() -> Upload:
    """One whose facts are still to be found."""
    new = upload()
    return replace(new, stored=replace(stored_part(new), facts_pending=True))


def stored(id: UUID, **changes: object) -> Stored:
    """What a record says of five stored bytes, which no other upload has."""
    values: dict[str, object] = {
        "size": 5,
        "media_type": "audio/wav",
        "format": "wav",
        "sha256": sha256(id.bytes).hexdigest(),
        "locator": f"audio/{id.hex[:2]}/{id}.wav",
        "at": NOON,
    }
    return Stored(**{**values, **changes})  # type: ignore[arg-type]  # the names above are those of the fields


@contextmanager
def upload_locks(root: Path) -> Iterator[Locks]:
    """Locks in the folder `root`."""
    locks = Locks(root / "locks")
    yield locks
    locks.close()


def stored_part(upload: Upload) -> Stored:
    """What the record of a stored upload says of its bytes."""
    assert upload.stored is not None
    return upload.stored


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    """Chunks as they come from a client, with other tasks in between."""
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)


async def unflushed() -> None:
    """For what is never to be flushed on its way."""
    raise AssertionError("It was not time for a flush.")


class Gated:
    """A flush that waits until it is let through."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.through = asyncio.Semaphore(0)
        self.under_way = self.most = self.ended = 0

    async def __call__(self) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.begun.set()
        await self.through.acquire()
        self.under_way -= 1
        self.ended += 1


def unconcerned(_: Chunk) -> None:
    """The check that has no objection."""


async def content(store: DiskStore, locator: str) -> bytes:
    """Everything that stands at `locator`."""
    size = await store.size(locator)
    assert size is not None
    return b"".join([piece async for piece in store.read(locator, 0, size)])


@contextmanager
def limited(what: int, limit: int) -> Iterator[None]:
    """Lower one of this process's own resource limits."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let every opening of a file fail with EMFILE."""
    free = os.dup(0)
    os.close(free)
    with limited(resource.RLIMIT_NOFILE, free):
        yield


@contextmanager
def memory_disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own at `folder`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def query(catalog: Path, sql: str) -> list[tuple[object, ...]]:
    """What another program sees in the catalog."""
    with sqlite3.connect(catalog) as connection:
        rows = connection.execute(sql).fetchall()
    connection.close()
    return rows


@contextmanager
def locked(catalog: Path) -> Iterator[None]:
    """Another program in the middle of a transaction."""
    connection = sqlite3.connect(catalog, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


@contextmanager
def being_read(catalog: Path) -> Iterator[None]:
    """Another program in the middle of reading."""
    connection = sqlite3.connect(catalog, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM uploads").fetchall()
    try:
        yield
    finally:
        connection.close()


async def impatient(catalog: SqlCatalog) -> None:
    """Let the catalog give up at once on a lock, and not after five seconds."""
    await pragma(catalog, "busy_timeout=0")


async def small(catalog: SqlCatalog) -> None:
    """Let the catalog's file not grow any more: every further record meets "database or disk is full"."""
    await pragma(catalog, "max_page_count=1")


async def pragma(catalog: SqlCatalog, setting: str) -> None:
    """Change a setting of the connection that writes."""

    def change() -> None:
        assert catalog._database._writer is not None
        catalog._database._writer.connection.cursor().execute(f"PRAGMA {setting}")

    await in_thread(catalog._database._writing, change)


def flip(file: Path, place: int) -> None:
    """Change one bit of a stored file."""
    file.chmod(0o600)
    with file.open("r+b") as opened:
        opened.seek(place)
        (byte,) = opened.read(1)
        opened.seek(place)
        opened.write(bytes([byte ^ 1]))
    file.chmod(0o440)
