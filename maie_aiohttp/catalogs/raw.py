"""The catalog's SQLite file as it is: opened without being changed, and read row by row, whatever is in them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.engine import make_url

from maie_aiohttp.catalogs.rows import to_upload
from maie_aiohttp.catalogs.schema import REVISION, metadata
from maie_aiohttp.errors import Busy, StorageFailed
from maie_aiohttp.model import Upload

PAGE = 200
LOCKED_FOR = 30.0
"""Seconds to wait for another program."""
MOST_PROBLEMS = 20
"""Of those that SQLite finds in a file, so many are told."""

DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the outbox that should not be as it is."""

    number: int
    upload: str
    problem: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the uploads."""

    number: int
    columns: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What to call it, as long as nobody knows whether it can be read."""
        try:
            return str(_uuid(self.columns["id"]))
        except ValueError:
            return f"record {self.number}"

    def upload(self) -> Upload:
        """Raises ValueError if it says nothing that could be an upload."""
        columns, terms = self.columns, self.columns["terms"]
        try:
            metadata = json.loads(columns["metadata"])
            read = {"metadata": metadata, "terms": None if terms is None else json.loads(terms)}
            first = columns["duplicate_of"]
            ids = {"id": _uuid(columns["id"]), "duplicate_of": None if first is None else _uuid(first)}
            return to_upload({**columns, **read, **ids})
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise ValueError(f"the record cannot be read: {error}") from error


class RawCatalog:
    """Raises `StorageFailed` where the file is damaged, and `Busy` where another program keeps it locked."""

    def __init__(self, file: Path, mode: Literal["ro", "rw"] = "ro") -> None:
        with _translated():
            self._connection = sqlite3.connect(
                f"{file.resolve().as_uri()}?mode={mode}", uri=True, timeout=LOCKED_FOR, isolation_level=None
            )
        self._connection.row_factory = sqlite3.Row
        self._connection.text_factory = lambda text: text.decode(errors="replace")

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def problems(self) -> list[str]:
        """What contradicts itself in the file; the rows are not looked into."""
        try:
            found = [row[0] for row in self._rows(f"PRAGMA integrity_check({MOST_PROBLEMS})")]
            tables = {row[0] for row in self._rows("SELECT name FROM sqlite_master")}
        except StorageFailed as error:
            return [str(error.__cause__)]
        missing = sorted({*metadata.tables, "alembic_version"} - tables)
        return [*(line for line in found if line != "ok"), *(f"there is no table {name}" for name in missing)]

    def check_revision(self) -> None:
        """Raises `StorageFailed` for a catalog that another version of this server made."""
        ((revision,),) = self._rows("SELECT max(version_num) FROM alembic_version")
        if revision != REVISION:
            raise StorageFailed(
                f"The catalog is of revision {revision}, and this version reads {REVISION}. The server brings an older "
                "catalog up to date when it starts, and so does `fsck --repair`."
            )

    def uploads(self) -> Iterator[Row]:
        """All of them, page by page. What is added or changed meanwhile may be among them."""
        after = -1
        while page := self._rows("SELECT rowid AS number, * FROM uploads WHERE rowid > ? LIMIT ?", after, PAGE):
            yield from map(_row, page)
            after = page[-1]["number"]

    def again(self, row: Row) -> Row | None:
        """The row as it is now; None if it is gone."""
        found = self._rows("SELECT rowid AS number, * FROM uploads WHERE rowid = ?", row.number)
        return _row(found[0]) if found else None

    def find(self, id: UUID) -> Row | None:
        """The row of an upload."""
        found = self._rows("SELECT rowid AS number, * FROM uploads WHERE id = ?", id.hex)
        return _row(found[0]) if found else None

    def places(self, ids: Collection[UUID]) -> Mapping[UUID, str]:
        """Where the files of those are that are stored."""
        wanted = json.dumps([id.hex for id in ids])
        query = "SELECT id, locator FROM uploads WHERE locator IS NOT NULL AND id IN (SELECT value FROM json_each(?))"
        return {UUID(hex=id): str(locator) for id, locator in self._rows(query, wanted)}

    def unannounced(self) -> list[UUID]:
        """Stored uploads without an entry in the outbox."""
        query = "SELECT id FROM uploads WHERE locator IS NOT NULL AND id NOT IN (SELECT upload_id FROM outbox)"
        return [id for (text,) in self._rows(query) if (id := _known_uuid(text)) is not None]

    def wrong_entries(self) -> list[Entry]:
        """Entries of the outbox beyond one for each stored upload."""
        query = """
            SELECT number, upload_id, CASE
                WHEN upload_id NOT IN (SELECT id FROM uploads WHERE locator IS NOT NULL) THEN 'no such upload is stored'
                WHEN event IS NOT 'upload.stored' THEN 'it announces something else'
                WHEN number > first THEN 'the upload has another one'
            END AS problem
            FROM outbox
            JOIN (SELECT upload_id AS of, min(number) AS first FROM outbox GROUP BY upload_id) ON of = upload_id
            WHERE problem IS NOT NULL"""
        return [Entry(number, _known_name(upload), problem) for number, upload, problem in self._rows(query)]

    def withdraw(self, number: int) -> None:
        """Take an entry out of the outbox, and the letters made of it."""
        self._rows("DELETE FROM letters WHERE number = ?", number)
        self._rows("DELETE FROM outbox WHERE number = ?", number)

    def stray_waveforms(self) -> list[UUID]:
        """Of uploads that are not there."""
        query = "SELECT upload_id FROM waveforms WHERE upload_id NOT IN (SELECT id FROM uploads)"
        return [id for (text,) in self._rows(query) if (id := _known_uuid(text)) is not None]

    def forget_waveform(self, id: UUID) -> None:
        """Keep it no longer."""
        self._rows("DELETE FROM waveforms WHERE upload_id = ?", id.hex)

    def announce(self, id: UUID) -> None:
        """Put a stored upload into the outbox."""
        self._rows(
            "INSERT INTO outbox (upload_id, event, created_at) SELECT id, 'upload.stored', stored_at FROM uploads"
            " WHERE id = ? AND id NOT IN (SELECT upload_id FROM outbox)",
            id.hex,
        )

    def relocate(self, id: UUID, locator: str) -> None:
        """Let the record of an upload say where its file is."""
        self._rows("UPDATE uploads SET locator = ? WHERE id = ?", locator, id.hex)

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with _translated():
            return self._connection.execute(query, values).fetchall()


def sqlite_file(url: str) -> Path:
    """Which file a database URL names. Raises `StorageFailed` if it does not name one."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise StorageFailed("fsck reads catalogs in SQLite files only.")
    return Path(parsed.database)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Busy("The catalog is locked by another program.") from error
        raise StorageFailed("The catalog cannot be read.") from error


def _row(found: sqlite3.Row) -> Row:
    columns = dict(found)
    return Row(columns.pop("number"), columns)


def _uuid(text: object) -> UUID:
    """As the catalog writes it. Raises ValueError."""
    if not isinstance(text, str) or UUID(hex=text).hex != text:
        raise ValueError("its id is none")
    return UUID(hex=text)


def _known_uuid(text: object) -> UUID | None:
    try:
        return _uuid(text)
    except ValueError:
        return None


def _known_name(text: object) -> str:
    return str(_known_uuid(text) or text)
