"""The outbox in a SQL database: its entries, and the letters that are made of them for each target."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import takewhile
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    RowMapping,
    ScalarSelect,
    Select,
    String,
    and_,
    bindparam,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.sqlite import Insert, insert

from maie_aiohttp.catalogs.database import Database, Transaction
from maie_aiohttp.catalogs.rows import from_microseconds, to_microseconds, to_upload
from maie_aiohttp.catalogs.schema import letters, outbox, uploads
from maie_aiohttp.model import Backlog, Handed, Letter, Place

_ENTRY = outbox.c.number.label("entry"), outbox.c.event, outbox.c.created_at.label("happened_at")
_OUTCOME = letters.c.attempts, letters.c.error, letters.c.due_at, letters.c.delivered_at, letters.c.died_at

_TARGET = bindparam("its_target", type_=String)
_LIMIT = bindparam("its_limit", type_=Integer)

_STATUS: Mapping[Handed, ColumnElement[bool]] = {
    Handed.PENDING: letters.c.due_at.is_not(None),
    Handed.DELIVERED: letters.c.delivered_at.is_not(None),
    Handed.DEAD: letters.c.died_at.is_not(None),
}


class SqlOutbox:
    """See `interfaces.Outbox`."""

    def __init__(self, database: Database, ring: Callable[[], None]) -> None:
        """`ring` is called when there is more to deliver than before."""
        self._database = database
        self._ring = ring

    async def fresh(self, target: str, limit: int) -> Sequence[Letter]:
        rows = await self._database.read(_FRESH, {"its_target": target, "its_limit": limit})
        return [_fresh_letter(target, row) for row in takewhile(_is_due, rows)]

    async def waiting(self, target: str, limit: int, *, besides: Collection[UUID] = ()) -> Sequence[Letter]:
        values = {"its_target": target, "its_limit": limit, "besides": list(besides)}
        return [_filed_letter(row) for row in await self._database.read(_WAITING, values)]

    async def file(self, letters: Sequence[Letter]) -> None:
        rows = [_row(letter) for letter in letters]
        if not rows:
            return

        def change(transaction: Transaction) -> None:
            transaction.execute(_FILING, rows)

        await self._database.write(change)

    async def replay(self, moment: datetime, *, id: UUID | None = None, dead: bool = False) -> int:
        as_new = {"attempts": 0, "due_at": to_microseconds(moment), "delivered_at": None, "died_at": None}
        again = update(letters).values(as_new)
        if id is not None:
            again = again.where(letters.c.number == _number_of(id), letters.c.upload_id == id)
        if dead:
            again = again.where(_STATUS[Handed.DEAD])
        replayed = await self._database.change_rows(again)
        self._ring()
        return replayed

    async def of(self, id: UUID) -> Sequence[Letter]:
        about = _filed().where(uploads.c.id == id).order_by(letters.c.target)
        return [_filed_letter(row) for row in await self._database.read(about)]

    async def list(self, limit: int, *, status: Handed | None = None, after: Place | None = None) -> Sequence[Letter]:
        newest = _filed().order_by(letters.c.number.desc(), letters.c.target.desc()).limit(limit)
        if status is not None:
            newest = newest.where(_STATUS[status])
        if after is not None:
            newest = newest.where(tuple_(letters.c.number, letters.c.target) < (after.number, after.target))
        return [_filed_letter(row) for row in await self._database.read(newest)]

    async def backlog(self, target: str) -> Backlog:
        fresh = select(func.count()).select_from(outbox).where(_IS_FRESH)
        filed = select(func.count()).select_from(letters).where(letters.c.target == _TARGET)
        pending, dead = (filed.where(_STATUS[status]) for status in (Handed.PENDING, Handed.DEAD))
        waiting = fresh.scalar_subquery() + pending.scalar_subquery()
        counts = select(waiting.label("waiting"), dead.scalar_subquery().label("dead"))
        (row,) = await self._database.read(counts, {"its_target": target})
        return Backlog(**row)


def _filed() -> Select[Any]:
    """Letters that have a row, with what they are about."""
    return (
        select(uploads, *_ENTRY, letters.c.target, *_OUTCOME)
        .select_from(letters)
        .join(outbox, and_(letters.c.number == outbox.c.number, letters.c.upload_id == outbox.c.upload_id))
        .join(uploads, uploads.c.id == outbox.c.upload_id)
    )


def _is_fresh() -> ColumnElement[bool]:
    """Whether an entry of the outbox stands behind the last one of which the target has a letter."""
    known = outbox.alias()
    last = (
        select(letters.c.number)
        .join(known, and_(letters.c.number == known.c.number, letters.c.upload_id == known.c.upload_id))
        .where(letters.c.target == _TARGET)
        .order_by(letters.c.number.desc())
        .limit(1)
    )
    return outbox.c.number > func.coalesce(last.scalar_subquery(), 0)


def _number_of(id: UUID) -> ScalarSelect[int]:
    return select(outbox.c.number).where(outbox.c.upload_id == id).scalar_subquery()


def _filing() -> Insert:
    """Insert or replace the row of a letter, if its entry is still there. Its parameters are the columns, as `_row` has
    them."""
    given = {column.name: bindparam(f"new_{column.name}", type_=column.type) for column in letters.c}
    entry = outbox.c.number == given["number"], outbox.c.upload_id == given["upload_id"]
    values = insert(letters).from_select([*given], select(*given.values()).select_from(outbox).where(*entry))
    outcome = {column.name: values.excluded[column.name] for column in (letters.c.upload_id, *_OUTCOME)}
    return values.on_conflict_do_update(index_elements=[letters.c.target, letters.c.number], set_=outcome)


# Made once: a busy relay asks again and again, and to make a query takes as long as to run it.
_IS_FRESH = _is_fresh()
_FRESH = (
    select(uploads, *_ENTRY)
    .join(outbox, outbox.c.upload_id == uploads.c.id)
    .where(_IS_FRESH)
    .order_by(outbox.c.number)
    .limit(_LIMIT)
)
_WAITING = (
    _filed()
    .where(letters.c.target == _TARGET, _STATUS[Handed.PENDING])
    .where(letters.c.upload_id.not_in(bindparam("besides", type_=letters.c.upload_id.type, expanding=True)))
    .order_by(letters.c.due_at)
    .limit(_LIMIT)
)
_FILING = _filing()


def _row(letter: Letter) -> dict[str, object]:
    """The columns of `schema.letters`, named as `_filing` wants them."""
    columns = {
        "target": letter.target,
        "number": letter.number,
        "upload_id": letter.upload.id,
        "attempts": letter.attempts,
        "error": letter.error,
        "due_at": _microseconds(letter.due_at),
        "delivered_at": _microseconds(letter.delivered_at),
        "died_at": _microseconds(letter.died_at),
    }
    return {f"new_{name}": value for name, value in columns.items()}


def _is_due(row: RowMapping) -> bool:
    """Whether the upload has its facts, or nobody looks for any. Those behind one that waits have to wait as well: each
    target has letters up to some entry, without gaps."""
    return not row[uploads.c.facts_pending]


def _fresh_letter(target: str, row: RowMapping) -> Letter:
    return Letter(
        number=row["entry"],
        target=target,
        event=row["event"],
        at=from_microseconds(row["happened_at"]),
        upload=to_upload(row),
    )


def _filed_letter(row: RowMapping) -> Letter:
    return replace(
        _fresh_letter(row["target"], row),
        attempts=row["attempts"],
        error=row["error"],
        due_at=_moment(row["due_at"]),
        delivered_at=_moment(row["delivered_at"]),
        died_at=_moment(row["died_at"]),
    )


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else to_microseconds(moment)


def _moment(number: int | None) -> datetime | None:
    return None if number is None else from_microseconds(number)
