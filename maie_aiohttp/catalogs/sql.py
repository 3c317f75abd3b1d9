"""A SQL database as the catalog: SQLite unless the settings name another.

Writes go through one connection, in transactions shared by whatever waits for them; reads have connections of their
own and never wait for a write (SQLite's WAL).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import URL, ColumnElement, RowMapping, Select, delete, event, exc, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from maie_aiohttp.catalogs.rows import outbox_row, to_microseconds, to_upload, upload_row
from maie_aiohttp.catalogs.schema import outbox, uploads
from maie_aiohttp.catalogs.upgrade import upgrade, version
from maie_aiohttp.concurrency import Batch, Outcomes, to_its_end
from maie_aiohttp.errors import Busy, IntakeError, NotFound, StorageFailed, StorageFull
from maie_aiohttp.model import Position, Status, Upload, sources

_TROUBLE = (StorageFull, StorageFailed, Busy)
"""What the next write may meet as well; the readiness probe finds out."""

Write = Callable[[AsyncConnection], Awaitable[None]]
"""One change; runs inside a transaction that others may share."""


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite database, whatever characters its name has."""
    return URL.create("sqlite+aiosqlite", database=str(file)).render_as_string()


class SqlCatalog:
    """See `interfaces.Catalog`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._writes = Batch(self._commit)
        self._writer: AsyncConnection | None = None
        self._troubled = False

    @classmethod
    async def open(cls, url: str) -> SqlCatalog:
        """Connect and bring the schema up to date. Raises `StorageFailed`."""
        try:
            engine = create_async_engine(url, hide_parameters=True)
        except (ModuleNotFoundError, ValueError, exc.SQLAlchemyError):  # ValueError: a port that is no number
            raise StorageFailed("catalog.url: there is no driver for such a database.") from None
        if engine.dialect.name == "sqlite":
            event.listen(engine.sync_engine, "connect", _configure_sqlite)
        catalog = cls(engine)
        try:
            await catalog._start()
        except IntakeError:
            await catalog.close()
            raise
        return catalog

    async def _start(self) -> None:
        with translated():
            self._writer = await self._engine.connect()
            async with self._writer.begin():
                if self._engine.dialect.name == "sqlite":
                    await self._writer.exec_driver_sql("BEGIN IMMEDIATE")
                await self._writer.run_sync(upgrade)

    async def close(self) -> None:
        """End the connections."""
        if self._writer is not None:
            await self._writer.close()
        await self._engine.dispose()

    async def probe(self) -> None:
        if self._troubled:
            await self._write(_change_nothing)
        else:
            await self.known([])

    async def create(self, upload: Upload) -> None:
        await self._write(partial(_create, upload=upload))

    async def advance(self, upload: Upload) -> None:
        await self._write(partial(_advance, upload=upload))

    async def settle(self, uploads: Sequence[Upload]) -> None:
        await self._write(partial(_settle, settled=uploads))

    async def move(
        self, id: UUID, status: Status, *, reason: str | None = None, expires_at: datetime | None = None
    ) -> None:
        await self._write(partial(_move, id=id, status=status, reason=reason, expires_at=expires_at))

    async def remove(self, id: UUID) -> None:
        await self._write(partial(_remove, id=id))

    async def get(self, id: UUID) -> Upload:
        rows = await self._read(select(uploads).where(uploads.c.id == id))
        if not rows:
            raise NotFound("There is no such upload.")
        return to_upload(rows[0])

    async def list(self, limit: int, *, status: Status | None, after: Position | None) -> Sequence[Upload]:
        newest = select(uploads).order_by(uploads.c.created_at.desc(), uploads.c.id.desc()).limit(limit)
        newest = newest.where(~uploads.c.partial)
        if status is not None:
            newest = newest.where(uploads.c.status == status.value)
        if after is not None:
            place = (to_microseconds(after.created_at), after.id)
            newest = newest.where(tuple_(uploads.c.created_at, uploads.c.id) < place)
        return [to_upload(row) for row in await self._read(newest)]

    async def overdue(self, moment: datetime, limit: int) -> Sequence[Upload]:
        late = select(uploads).where(uploads.c.expires_at <= to_microseconds(moment))
        return [to_upload(row) for row in await self._read(late.order_by(uploads.c.expires_at).limit(limit))]

    async def find(self, ids: Collection[UUID]) -> Mapping[UUID, Upload]:
        rows = await self._read(select(uploads).where(uploads.c.id.in_(ids)))
        return {upload.id: upload for upload in map(to_upload, rows)}

    async def known(self, ids: Collection[UUID]) -> frozenset[UUID]:
        rows = await self._read(select(uploads.c.id).where(uploads.c.id.in_(ids), uploads.c.locator.is_not(None)))
        return frozenset(row[uploads.c.id] for row in rows)

    async def _write(self, write: Write) -> None:
        """Whoever is cancelled waits for the outcome: a commit under way cannot be stopped, and must not come after
        what others do next."""
        await to_its_end(self._writes.submit(write))

    async def _read(self, query: Select[Any]) -> Sequence[RowMapping]:
        with translated():
            async with self._engine.connect() as connection:
                rows: Sequence[RowMapping] = (await connection.execute(query)).mappings().all()
                return rows

    async def _commit(self, writes: Sequence[Write]) -> Outcomes:
        """One transaction for all; if that fails, one for each, so that a bad write costs no other. A lock is nobody's
        fault, and waiting for it again would take each as long."""
        try:
            await self._transaction(writes)
        except Exception as error:  # noqa: BLE001 - a bad write may fail in any way
            self._troubled = self._troubled or isinstance(error, _TROUBLE)
            if len(writes) == 1 or isinstance(error, Busy):
                return [error] * len(writes)
            return [(await self._commit([write]))[0] for write in writes]
        self._troubled = False
        return [None] * len(writes)

    async def _transaction(self, writes: Sequence[Write]) -> None:
        assert self._writer is not None, "the catalog is not open"  # noqa: S101 - a slip of ours, not of a user
        with translated():
            async with self._writer.begin():
                for write in writes:
                    await write(self._writer)


async def _change_nothing(connection: AsyncConnection) -> None:
    """Have something written all the same."""
    await connection.execute(update(version).values(version_num=version.c.version_num))


async def _create(connection: AsyncConnection, upload: Upload) -> None:
    await connection.execute(insert(uploads), upload_row(upload))


async def _advance(connection: AsyncConnection, upload: Upload) -> None:
    row = upload_row(upload)
    columns = {name: row[name] for name in ("offset", "size", "expires_at")}
    await connection.execute(update(uploads).where(*_receiving(upload)).values(columns))


async def _settle(connection: AsyncConnection, settled: Sequence[Upload]) -> None:
    for upload in settled:
        if upload.terms is not None:
            replaced = await connection.execute(delete(uploads).where(*_receiving(upload)))
            if replaced.rowcount == 0:
                raise NotFound("The upload was given up meanwhile.")
    await connection.execute(insert(uploads), [upload_row(upload) for upload in settled])
    await connection.execute(insert(outbox), [outbox_row(upload) for upload in settled])


def _receiving(upload: Upload) -> tuple[ColumnElement[bool], ...]:
    return uploads.c.id == upload.id, uploads.c.status == Status.RECEIVING.value


async def _move(
    connection: AsyncConnection, id: UUID, status: Status, reason: str | None, expires_at: datetime | None
) -> None:
    allowed = uploads.c.status.in_([source.value for source in sources(status)])
    end = None if expires_at is None else to_microseconds(expires_at)
    changed = update(uploads).values(status=status.value, reason=reason, expires_at=end)
    await connection.execute(changed.where(uploads.c.id == id, allowed))


async def _remove(connection: AsyncConnection, id: UUID) -> None:
    removed = await connection.execute(delete(uploads).where(uploads.c.id == id))
    if removed.rowcount == 0:
        raise NotFound("There is no such upload.")


def _configure_sqlite(connection: Any, _record: object) -> None:
    """WAL with `synchronous=FULL` lost none of 20 commits in a power cut; NORMAL lost all of them."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@contextmanager
def translated() -> Iterator[None]:
    """SQLAlchemy's errors as the product's own."""
    try:
        yield
    except exc.SQLAlchemyError as error:
        raise _translation(error) from error


def _translation(error: exc.SQLAlchemyError) -> IntakeError:
    if isinstance(error, exc.TimeoutError):
        return Busy("Too many requests are reading the catalog.")
    code = _sqlite_code(error)
    if code == sqlite3.SQLITE_FULL:
        return StorageFull("There is no room for the record of this upload.")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy("The catalog is locked by another program.")
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return StorageFailed("The catalog file is damaged.")
    return StorageFailed("The catalog does not work at the moment.")


def _sqlite_code(error: exc.SQLAlchemyError) -> int | None:
    """SQLite's primary result code, without what the extended one adds above its first eight bits."""
    code: int | None = getattr(error.orig, "sqlite_errorcode", None) if isinstance(error, exc.DBAPIError) else None
    return None if code is None else code & 0xFF
