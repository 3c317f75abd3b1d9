"""A new catalog of what can still be read of a damaged one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import create_engine

from maie_aiohttp.catalogs.sql import sqlite_url
from maie_aiohttp.catalogs.upgrade import create

BESIDE = ("-wal", "-shm")
"""Files that SQLite keeps beside its own."""

_TABLES = (
    "uploads",
    "outbox",
    "letters",
    "idempotency_keys",
    "api_keys",
    "quota_reservations",
    "quota_uses",
    "token_uses",
    "waveforms",
)


def salvage(old: Path, new: Path, ids: Iterable[UUID]) -> int:
    """Make the catalog `new`, and copy to it every row of `old` that a walk from either end reaches, and the rows of
    those `ids` that can be found one by one. Returns how many uploads it has."""
    for suffix in ("", "-journal", *BESIDE):
        new.with_name(new.name + suffix).unlink(missing_ok=True)
    _make(new)
    with closing(sqlite3.connect(new)) as target:
        if old.exists():
            with closing(sqlite3.connect(f"{old.resolve().as_uri()}?mode=ro", uri=True)) as source, target:
                source.text_factory = lambda text: text.decode(errors="replace")
                _copy(source, target, ids)
        (uploads,) = target.execute("SELECT count(*) FROM uploads").fetchone()
    return int(uploads)


def _make(file: Path) -> None:
    engine = create_engine(sqlite_url(file))
    with engine.begin() as connection:
        create(connection)
    engine.dispose()


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, ids: Iterable[UUID]) -> None:
    for table in _TABLES:
        columns = _shared_columns(source, target, table)
        if not columns:
            continue
        for rows in _walks(source, table, columns):
            _insert(target, table, columns, rows)
        if table == "uploads":
            _insert(target, table, columns, _one_by_one(source, columns, ids))
    for table in ("outbox", "waveforms"):
        target.execute(f"DELETE FROM {table} WHERE upload_id NOT IN (SELECT id FROM uploads)")  # noqa: S608 - ours
    target.execute("DELETE FROM letters WHERE (number, upload_id) NOT IN (SELECT number, upload_id FROM outbox)")


def _shared_columns(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> list[str]:
    """What both tables have: the old one may be of an older version, or its description may be what is damaged."""
    query = f"SELECT name FROM pragma_table_info('{table}')"  # noqa: S608 - one of ours
    new = [name for (name,) in target.execute(query)]
    with suppress(sqlite3.Error):
        old = {name for (name,) in source.execute(query)}
        return [f'"{name}"' for name in new if name in old]
    return []


def _walks(source: sqlite3.Connection, table: str, columns: Sequence[str]) -> Iterator[Iterator[Sequence[Any]]]:
    for order in ("ASC", "DESC"):
        query = f"SELECT {', '.join(columns)} FROM {table} NOT INDEXED ORDER BY rowid {order}"  # noqa: S608 - ours
        yield _as_far_as_it_goes(source, query)


def _one_by_one(source: sqlite3.Connection, columns: Sequence[str], ids: Iterable[UUID]) -> Iterator[Sequence[Any]]:
    for id in ids:
        yield from _as_far_as_it_goes(source, f"SELECT {', '.join(columns)} FROM uploads WHERE id = '{id.hex}'")  # noqa: S608 - hexadecimal


def _as_far_as_it_goes(source: sqlite3.Connection, query: str) -> Iterator[Sequence[Any]]:
    with suppress(sqlite3.Error):
        yield from source.execute(query)


def _insert(target: sqlite3.Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows that are there already, or that no such table could hold, are left out."""
    marks = ", ".join("?" for _ in columns)
    target.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)  # noqa: S608 - ours
