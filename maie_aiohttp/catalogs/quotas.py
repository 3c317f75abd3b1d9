"""What owners use of their quotas, in a SQL database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Label, Select, String, Uuid, delete, func, literal, select, true, update
from sqlalchemy.dialects.sqlite import insert

from maie_aiohttp.catalogs.database import Database, Transaction
from maie_aiohttp.catalogs.schema import quota_reservations, quota_uses, uploads
from maie_aiohttp.limits.quota import Need, Quota, Spent, Usage, minute_of

WITHOUT_LIMIT = 1 << 62

_UNRECORDED = quota_reservations.c.id.not_in(select(uploads.c.id))


class SqlQuotaBook:
    """See `interfaces.QuotaBook`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, id: UUID, owner: str | None, quota: Quota, need: Need, moment: datetime) -> int | None:
        attempt = _Attempt(id, owner or "", quota, need, moment)
        await self._database.write(attempt)
        return attempt.granted

    async def add_file(self, id: UUID, owner: str | None, quota: Quota, moment: datetime) -> bool:
        held, spent = _held(owner or "").subquery(), _spent(owner or "", moment - quota.window).subquery()
        used = select(held.c.files + spent.c.files).join_from(held, spent, true()).scalar_subquery()
        one_more = update(quota_reservations).values(files=quota_reservations.c.files + 1)
        return await self._database.changes_a_row(
            one_more.where(quota_reservations.c.id == id, used < _limit(quota.files))
        )

    async def give_back(self, ids: Collection[UUID]) -> None:
        await self._database.write(partial(_give_back, ids=ids))

    async def unrecorded(self) -> Sequence[UUID]:
        rows = await self._database.read(select(quota_reservations.c.id).where(_UNRECORDED))
        return [row["id"] for row in rows]

    async def usage(self, owner: str | None, since: datetime) -> Usage:
        (held,) = await self._database.read(_held(owner or ""))
        mine = quota_uses.c.owner == (owner or ""), quota_uses.c.minute >= minute_of(since)
        rows = await self._database.read(select(quota_uses).where(*mine).order_by(quota_uses.c.minute))
        spent = [Spent(row["minute"], row["size"], row["files"]) for row in rows]
        return Usage(held["size"], held["files"], held["uploads"], spent)

    async def forget(self, before: datetime) -> None:
        old = quota_uses.c.minute < minute_of(before)
        if await self._database.read(select(quota_uses.c.minute).where(old).limit(1)):
            await self._database.write(partial(_forget, old=old))


def spend(transaction: Transaction, reservation: UUID, owner: str | None, sizes: Sequence[int], at: datetime) -> None:
    """In place of what was reserved, count files of these sizes."""
    unreserve(transaction, reservation)
    new = insert(quota_uses).values(owner=owner or "", minute=minute_of(at), size=sum(sizes), files=len(sizes))
    sums = {name: quota_uses.c[name] + new.excluded[name] for name in ("size", "files")}
    transaction.execute(new.on_conflict_do_update(index_elements=[quota_uses.c.owner, quota_uses.c.minute], set_=sums))


def unreserve(transaction: Transaction, reservation: UUID) -> None:
    """Reserve nothing any more; it is no error if nothing was."""
    transaction.execute(delete(quota_reservations).where(quota_reservations.c.id == reservation))


class _Attempt:
    """To reserve, in one statement: whoever else does so comes before it or after it, also from other processes. It may
    find its own reservation: a transaction is tried again, and it may have failed when all was written already."""

    def __init__(self, id: UUID, owner: str, quota: Quota, need: Need, moment: datetime) -> None:
        self._id = id
        self._owner = owner
        self._quota = quota
        self._need = need
        self._since = moment - quota.window
        self.granted: int | None = None
        """Bytes; None where not even the least is left."""

    def __call__(self, transaction: Transaction) -> None:
        new = insert(quota_reservations).from_select(["id", "owner", "size", "files"], self._row())
        transaction.execute(new.on_conflict_do_nothing())
        mine = select(quota_reservations.c.size).where(quota_reservations.c.id == self._id)
        self.granted = transaction.execute(mine).scalar_one_or_none()

    def _row(self) -> Select[UUID, str, int, int]:
        """The new row; none where not enough is left."""
        quota, need = self._quota, self._need
        held, spent = _held(self._owner).subquery(), _spent(self._owner, self._since).subquery()
        left = _limit(quota.size) - held.c.size - spent.c.size
        enough = (
            left >= need.least,
            held.c.files + spent.c.files < _limit(quota.files),
            held.c.uploads < _limit(quota.uploads),
        )
        row = select(literal(self._id, Uuid), literal(self._owner, String), func.min(need.most, left), literal(1))
        return row.select_from(held.join(spent, true())).where(*enough)


def _held(owner: str) -> Select[int, int, int]:
    columns = quota_reservations.c
    return select(_sum(columns.size), _sum(columns.files), func.count().label("uploads")).where(columns.owner == owner)


def _spent(owner: str, since: datetime) -> Select[int, int]:
    columns = quota_uses.c
    mine = columns.owner == owner, columns.minute >= minute_of(since)
    return select(_sum(columns.size), _sum(columns.files)).where(*mine)


def _sum(column: Column[int]) -> Label[int]:
    return func.coalesce(func.sum(column), 0).label(column.name)


def _limit(number: int | None) -> int:
    return WITHOUT_LIMIT if number is None else number


def _give_back(transaction: Transaction, ids: Collection[UUID]) -> None:
    transaction.execute(delete(quota_reservations).where(quota_reservations.c.id.in_(ids), _UNRECORDED))


def _forget(transaction: Transaction, old: ColumnElement[bool]) -> None:
    transaction.execute(delete(quota_uses).where(old))
