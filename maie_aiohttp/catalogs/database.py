"""A SQL database and the threads that talk to it: one that writes, a few that read.

Writes that come together share one transaction, and what they insert one statement each table. Reads have connections
of their own and never wait for a write (SQLite's WAL).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    CursorResult,
    Executable,
    RowMapping,
    Table,
    create_engine,
    event,
    exc,
    insert,
)

from maie_aiohttp.concurrency import Batch, Outcomes, in_thread
from maie_aiohttp.errors import Busy, IntakeError, StorageFailed, StorageFull

READERS = 4
"""Reads at a time; further ones wait."""

DAMAGED = "The catalog file is damaged."

_TROUBLE = (StorageFull, StorageFailed, Busy)
"""What the next write may meet as well."""

Row = Mapping[str, object]
Item = TypeVar("Item")


class Transaction:
    """Changes of several writes. What can be done together is, but before any other statement that comes after it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: dict[Table, list[Row]] = {}
        self._items: dict[Callable[[Transaction, Sequence[Any]], None], list[Any]] = {}

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Add rows. All rows of a table must have the same columns."""
        self._rows.setdefault(table, []).extend(rows)

    def together(self, run: Callable[[Transaction, Sequence[Item]], None], item: Item) -> None:
        """Have `run` deal with the item, and with those that others leave to it, all at once."""
        self._items.setdefault(run, []).append(item)

    def execute(self, statement: Executable, values: Row | Sequence[Row] | None = None) -> CursorResult[Any]:
        """Run any other statement, perhaps once for each row of values."""
        self.flush()
        return self._connection.execute(statement, values)

    def flush(self) -> None:
        """Do what waits: rows are inserted last, table by table in the order of their first ones."""
        items, self._items = self._items, {}
        for run, left in items.items():
            run(self, left)
        rows, self._rows = self._rows, {}
        for table, added in rows.items():
            self._connection.execute(_insertion(table), added)


_insertion = cache(insert)
"""SQLAlchemy takes as long to build the statement as to insert a row."""

Change = Callable[[Transaction], None]
"""One write; runs in a transaction that others may share, in the thread that writes."""


class Database:
    """Raises `StorageFull`, `Busy` and `StorageFailed` for what goes wrong in the database."""

    def __init__(self, url: str, turn: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """Does not connect yet. A transaction is one `turn`. Raises `StorageFailed` for a URL nobody understands."""
        self._turn = turn
        try:
            self._engine = create_engine(url, hide_parameters=True, pool_size=READERS + 1)
        except (ModuleNotFoundError, TypeError, ValueError, exc.SQLAlchemyError):
            raise StorageFailed("catalog.url: there is no driver for such a database.") from None
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _configure_sqlite)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="catalog-write")
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="catalog-read")
        self._changes = Batch(self._writing, self._commit)
        self._writer: Connection | None = None
        self.troubled = False
        """Whether the last write failed in a way that the next one may fail too."""

    async def open(self, prepare: Callable[[Connection], None]) -> None:
        """Connect, and let `prepare` bring the tables up to date in one transaction."""
        with _translated():
            await in_thread(self._writing, self._prepare, prepare)

    async def close(self) -> None:
        """End the connections."""
        if self._writer is not None:
            await in_thread(self._writing, self._writer.close)
        self._writing.shutdown()
        self._reading.shutdown()
        self._engine.dispose()

    async def write(self, change: Change) -> None:
        """Returns when the change is durable. Who is cancelled waits for the outcome: a commit under way cannot be
        stopped, and must not come after what others do next. Raises what `change` raises."""
        await self._changes.submit(change)

    async def changes_a_row(self, statement: Executable) -> bool:
        """Write it alone. Returns whether there was a row for it to change."""
        return await self.change_rows(statement) == 1

    async def change_rows(self, statement: Executable) -> int:
        """Write it alone. Returns how many rows there were for it to change."""
        changed: list[int] = []

        def change(transaction: Transaction) -> None:
            changed.append(transaction.execute(statement).rowcount)

        await self.write(change)
        return changed[-1]

    async def read(self, query: Executable, values: Row | None = None) -> Sequence[RowMapping]:
        """All rows of the answer, with the values of the query's parameters."""
        with _translated():
            return await in_thread(self._reading, self._rows, query, values)

    def _prepare(self, prepare: Callable[[Connection], None]) -> None:
        self._writer = self._engine.connect()
        with self._writer.begin():
            _begin_at_once(self._writer)
            prepare(self._writer)

    def _rows(self, query: Executable, values: Row | None) -> Sequence[RowMapping]:
        with self._engine.connect() as connection:
            return connection.execute(query, values).mappings().all()

    def _commit(self, changes: Sequence[Change]) -> Outcomes:
        """One transaction for all; if that fails, one for each, so that a bad change costs no other. A lock is nobody's
        fault, and waiting for it again would take each as long."""
        try:
            with _translated():
                self._transaction(changes)
        except Exception as error:  # noqa: BLE001 - a bad change may fail in any way
            self.troubled = self.troubled or isinstance(error, _TROUBLE)
            if len(changes) == 1 or isinstance(error, Busy):
                return [error] * len(changes)
            return [self._commit([change])[0] for change in changes]
        self.troubled = False
        return [None] * len(changes)

    def _transaction(self, changes: Sequence[Change]) -> None:
        assert self._writer is not None, "the database is not open"  # noqa: S101 - a slip of ours, not of a user
        with self._turn(), _all_or_nothing(self._writer):
            _begin_at_once(self._writer)
            transaction = Transaction(self._writer)
            for change in changes:
                change(transaction)
            transaction.flush()


@contextmanager
def _all_or_nothing(connection: Connection) -> Iterator[None]:
    """A transaction. SQLite goes on with one whose commit it refused, SQLAlchemy does not roll it back: it would come
    true with the next one."""
    try:
        with connection.begin():
            yield
    except BaseException:
        connection.connection.rollback()
        raise


def _begin_at_once(connection: Connection) -> None:
    """What is read from here on is still so at the commit. Left to itself, Python's driver begins with the first
    change, and another process may write between a question and what follows from its answer."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _configure_sqlite(connection: Any, _record: object) -> None:
    """WAL with `synchronous=FULL` lost none of 20 commits in a power cut; NORMAL lost all of them."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@contextmanager
def _translated() -> Iterator[None]:
    """SQLAlchemy's errors as the product's own."""
    try:
        yield
    except exc.SQLAlchemyError as error:
        raise _translation(error) from error


def _translation(error: exc.SQLAlchemyError) -> IntakeError:
    code = _sqlite_code(error)
    if code == sqlite3.SQLITE_FULL:
        return StorageFull("There is no room for the record of this upload.")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy("The catalog is locked by another program.")
    if is_damage(error):
        return StorageFailed(DAMAGED)
    return StorageFailed("The catalog does not work at the moment.")


def is_damage(error: BaseException | None) -> bool:
    """Whether an error says that the file is no database, or contradicts itself."""
    return _sqlite_code(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def _sqlite_code(error: BaseException | None) -> int | None:
    """SQLite's primary result code, without what the extended one adds above its first eight bits."""
    code: int | None = getattr(error.orig, "sqlite_errorcode", None) if isinstance(error, exc.DBAPIError) else None
    return None if code is None else code & 0xFF
