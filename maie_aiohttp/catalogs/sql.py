"""A SQL database as the catalog: SQLite unless the settings name another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import URL, ColumnElement, Select, bindparam, delete, select, text, tuple_, update

from maie_aiohttp.catalogs.database import DAMAGED, Database, Transaction, is_damage
from maie_aiohttp.catalogs.facts import SqlFacts, SqlWaveforms, conditions
from maie_aiohttp.catalogs.keyring import SqlKeyring
from maie_aiohttp.catalogs.outbox import SqlOutbox
from maie_aiohttp.catalogs.quotas import SqlQuotaBook, unreserve
from maie_aiohttp.catalogs.rows import to_microseconds, to_upload, upload_row
from maie_aiohttp.catalogs.schema import idempotency_keys, uploads
from maie_aiohttp.catalogs.settling import FIRST_UPLOADS, NOBODY, Settling, SettlingOnce, asking
from maie_aiohttp.catalogs.tokens import SqlTokenBook
from maie_aiohttp.catalogs.upgrade import upgrade, version
from maie_aiohttp.errors import IntakeError, NotFound, StorageFailed
from maie_aiohttp.model import (
    ANY_FACTS,
    NO_CHARGE,
    UNDECIDED,
    Charge,
    KeyUse,
    Position,
    Settled,
    Sought,
    Status,
    Upload,
    sources,
)

_ADVANCE = update(uploads).where(uploads.c.id == bindparam("of"), uploads.c.status == Status.RECEIVING.value)
"""The columns come with the values."""


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite database, whatever characters its name has."""
    return URL.create("sqlite", database=str(file)).render_as_string()


def _unheard() -> None:
    """Nobody relays."""


class SqlCatalog:
    """See `interfaces.Catalog`."""

    def __init__(self, database: Database, ring: Callable[[], None] = _unheard) -> None:
        self._database = database
        self._ring = ring
        self._contradicts_itself = False
        self.keyring = SqlKeyring(database)
        self.quotas = SqlQuotaBook(database)
        self.outbox = SqlOutbox(database, ring)
        self.tokens = SqlTokenBook(database)
        self.facts = SqlFacts(database, ring)
        self.waveforms = SqlWaveforms(database)

    @classmethod
    async def open(
        cls,
        url: str,
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
        ring: Callable[[], None] = _unheard,
    ) -> SqlCatalog:
        """Connect and bring the schema up to date; write when it is our `turn`, and `ring` when there may be something
        new in the outbox. Raises `StorageFailed` and `Busy`."""
        database = Database(url, turn)
        try:
            await database.open(upgrade)
        except IntakeError:
            await database.close()
            raise
        return cls(database, ring)

    async def close(self) -> None:
        """End the connections."""
        await self._database.close()

    async def probe(self) -> None:
        if self._contradicts_itself:
            raise StorageFailed(DAMAGED)
        if self._database.troubled:
            await self._database.write(_change_nothing)
        else:
            await self.known([])

    async def verify(self) -> None:
        try:
            rows = await self._database.read(text("PRAGMA quick_check(1)"))
            self._contradicts_itself = [row["quick_check"] for row in rows] != ["ok"]
        except StorageFailed as error:
            self._contradicts_itself = is_damage(error.__cause__)
            raise
        await self.probe()

    async def create(self, upload: Upload) -> None:
        await self._database.write(partial(_create, upload=upload))

    async def advance(self, upload: Upload) -> None:
        await self._database.write(partial(_advance, upload=upload))

    async def settle(
        self,
        uploads: Sequence[Upload],
        use: KeyUse | None = None,
        charge: Charge = NO_CHARGE,
        stand_ins: Mapping[UUID, Upload] = NOBODY,
    ) -> Settled:
        settling = Settling(uploads, charge, stand_ins)
        try:
            await self._database.write(settling if use is None else SettlingOnce(settling, use))
        finally:  # also after a failure: it may have been written all the same
            self._ring()
        return settling.outcome

    async def firsts(self, uploads: Sequence[Upload]) -> Mapping[UUID, Upload]:
        rows = await self._database.read(FIRST_UPLOADS, asking(uploads))
        return {upload.id: upload for upload in map(to_upload, rows)}

    async def forget_keys(self, before: datetime, limit: int) -> int:
        old = idempotency_keys.c.used_at < to_microseconds(before)
        rows = await self._database.read(select(idempotency_keys.c.key).where(old).limit(limit))
        if rows:
            await self._database.write(partial(_forget_keys, keys=[row["key"] for row in rows], old=old))
        return len(rows)

    async def move(
        self, id: UUID, status: Status, *, reason: str | None = None, expires_at: datetime | None = None
    ) -> None:
        await self._database.write(partial(_move, id=id, status=status, reason=reason, expires_at=expires_at))

    async def remove(self, id: UUID) -> None:
        await self._database.write(partial(_remove, id=id))

    async def get(self, id: UUID) -> Upload:
        rows = await self._database.read(select(uploads).where(uploads.c.id == id))
        if not rows:
            raise NotFound("There is no such upload.")
        return to_upload(rows[0])

    async def list(
        self,
        limit: int,
        *,
        status: Status | None,
        after: Position | None,
        owner: str | None = None,
        sha256: str | None = None,
        sought: Sought = ANY_FACTS,
    ) -> Sequence[Upload]:
        newest = _newest(limit, after).where(~uploads.c.partial, *conditions(sought))
        if status is not None:
            newest = newest.where(uploads.c.status == status.value)
        if sha256 is not None:
            newest = newest.where(uploads.c.sha256 == sha256)
        if owner is not None:
            newest = newest.where(uploads.c.owner == owner)
        return [to_upload(row) for row in await self._database.read(newest)]

    async def receiving(self, limit: int, *, after: Position | None) -> Sequence[Upload]:
        newest = _newest(limit, after).where(uploads.c.status == Status.RECEIVING.value)
        return [to_upload(row) for row in await self._database.read(newest)]

    async def overdue(self, moment: datetime, limit: int) -> Sequence[Upload]:
        late = select(uploads).where(uploads.c.expires_at <= to_microseconds(moment))
        rows = await self._database.read(late.order_by(uploads.c.expires_at).limit(limit))
        return [to_upload(row) for row in rows]

    async def find(self, ids: Collection[UUID]) -> Mapping[UUID, Upload]:
        rows = await self._database.read(select(uploads).where(uploads.c.id.in_(ids)))
        return {upload.id: upload for upload in map(to_upload, rows)}

    async def known(self, ids: Collection[UUID]) -> frozenset[UUID]:
        query = select(uploads.c.id).where(uploads.c.id.in_(ids), uploads.c.locator.is_not(None))
        return frozenset(row[uploads.c.id] for row in await self._database.read(query))


def _newest(limit: int, after: Position | None) -> Select[Any]:
    newest = select(uploads).order_by(uploads.c.created_at.desc(), uploads.c.id.desc()).limit(limit)
    if after is None:
        return newest
    return newest.where(tuple_(uploads.c.created_at, uploads.c.id) < (to_microseconds(after.created_at), after.id))


def _change_nothing(transaction: Transaction) -> None:
    """Have something written all the same."""
    transaction.execute(update(version).values(version_num=version.c.version_num))


def _create(transaction: Transaction, upload: Upload) -> None:
    transaction.insert(uploads, [upload_row(upload)])


def _advance(transaction: Transaction, upload: Upload) -> None:
    row = upload_row(upload)
    transaction.execute(_ADVANCE, {"of": upload.id, **{name: row[name] for name in ("offset", "size", "expires_at")}})


def _forget_keys(transaction: Transaction, keys: Sequence[str], old: ColumnElement[bool]) -> None:
    transaction.execute(delete(idempotency_keys).where(idempotency_keys.c.key.in_(keys), old))


def _move(transaction: Transaction, id: UUID, status: Status, reason: str | None, expires_at: datetime | None) -> None:
    allowed = uploads.c.status.in_([source.value for source in sources(status)])
    end = None if expires_at is None else to_microseconds(expires_at)
    changed = update(uploads).values(status=status.value, reason=reason, expires_at=end)
    transaction.execute(changed.where(uploads.c.id == id, allowed))
    if status not in UNDECIDED:
        unreserve(transaction, id)


def _remove(transaction: Transaction, id: UUID) -> None:
    removed = transaction.execute(delete(uploads).where(uploads.c.id == id))
    if removed.rowcount == 0:
        raise NotFound("There is no such upload.")
    unreserve(transaction, id)
