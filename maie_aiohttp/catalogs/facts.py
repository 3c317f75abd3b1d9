"""What recordings are, in a SQL database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, literal_column, select, update
from sqlalchemy.dialects.sqlite import insert

from maie_aiohttp.catalogs.database import Database, Transaction
from maie_aiohttp.catalogs.rows import facts_columns, to_outline, to_ticks, to_upload
from maie_aiohttp.catalogs.schema import uploads, waveforms
from maie_aiohttp.model import Facts, Outline, Sought, Upload


class SqlFacts:
    """See `interfaces.FactsBook`."""

    def __init__(self, database: Database, ring: Callable[[], None]) -> None:
        """`ring` is called when there is more to hand off than before."""
        self._database = database
        self._ring = ring

    async def pending(self, limit: int) -> Sequence[Upload]:
        oldest = select(uploads).where(uploads.c.facts_pending).order_by(uploads.c.stored_at).limit(limit)
        return [to_upload(row) for row in await self._database.read(oldest)]

    async def record(self, facts: Mapping[UUID, Facts]) -> Collection[UUID]:
        there: set[UUID] = set()
        await self._database.write(partial(_record, facts=facts, there=there))
        self._ring()
        return there

    async def forgo(self) -> None:
        if await self.pending(1):
            await self._database.write(_forgo)
            self._ring()


class SqlWaveforms:
    """See `interfaces.Waveforms`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, id: UUID) -> tuple[Outline | None, ...]:
        rows = await self._database.read(select(waveforms).where(waveforms.c.upload_id == id))
        return tuple(map(to_outline, rows))

    async def keep(self, id: UUID, outline: Outline | None) -> None:
        await self._database.write(partial(_keep, id=id, outline=outline))


def conditions(sought: Sought) -> Iterator[ColumnElement[bool]]:
    """For those uploads that have these facts; written so that the indexes over a part of them can be used."""
    if sought.duration_min is not None:
        yield uploads.c.duration >= to_ticks(sought.duration_min)
    if sought.duration_max is not None:
        yield uploads.c.duration <= to_ticks(sought.duration_max)
    if sought.codec is not None:
        yield uploads.c.codec == sought.codec
    if sought.finding is not None:
        yield uploads.c.findings > literal_column("''")
        yield uploads.c.findings.contains(f" {sought.finding.value} ", autoescape=True)


def _record(transaction: Transaction, facts: Mapping[UUID, Facts], there: set[UUID]) -> None:
    stored = uploads.c.id.in_(facts), uploads.c.locator.is_not(None)
    there.clear()  # a transaction is tried again that failed for another write's sake
    there.update(transaction.execute(select(uploads.c.id).where(*stored)).scalars())
    if there:
        rows = [{"of": id, **facts_columns(facts[id])} for id in there]
        transaction.execute(update(uploads).where(uploads.c.id == bindparam("of")), rows)


def _forgo(transaction: Transaction) -> None:
    transaction.execute(update(uploads).where(uploads.c.facts_pending).values(facts_pending=False))


def _keep(transaction: Transaction, id: UUID, outline: Outline | None) -> None:
    """The upload may have been deleted meanwhile."""
    columns = (outline.sample_rate, outline.stretch, outline.pairs) if outline else (None, None, None)
    known = transaction.execute(select(uploads.c.id).where(uploads.c.id == id)).first()
    if known is not None:
        row = dict(zip(waveforms.c.keys(), (id, *columns), strict=True))
        transaction.execute(insert(waveforms).values(row).on_conflict_do_nothing())
