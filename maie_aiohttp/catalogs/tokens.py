"""Which upload tokens were used, in a SQL database."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from maie_aiohttp.catalogs.database import Database, Transaction
from maie_aiohttp.catalogs.rows import to_microseconds
from maie_aiohttp.catalogs.schema import token_uses, uploads
from maie_aiohttp.credentials import Token
from maie_aiohttp.model import UNDECIDED

_UNDECIDED = select(uploads.c.id).where(uploads.c.status.in_([status.value for status in UNDECIDED]))


class SqlTokenBook:
    """See `interfaces.TokenBook`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, token: Token, holder: UUID) -> UUID:
        attempt = _Attempt(token, holder)
        await self._database.write(attempt)
        return attempt.holder

    async def take_over(self, token: Token, holder: UUID, before: UUID) -> bool:
        is_free = and_(
            token_uses.c.id == token.id,
            token_uses.c.holder == before,
            ~token_uses.c.is_used_up,
            token_uses.c.holder.not_in(_UNDECIDED),
        )
        return await self._database.changes_a_row(update(token_uses).where(is_free).values(holder=holder))

    async def forget(self, before: datetime) -> None:
        old = token_uses.c.expires_at < to_microseconds(before)
        if await self._database.read(select(token_uses.c.id).where(old).limit(1)):
            await self._database.write(partial(_forget, old=old))


class _Attempt:
    """To be the first with a token. Its being unique decides, also between processes."""

    def __init__(self, token: Token, holder: UUID) -> None:
        self._token = token
        self._mine = holder
        self.holder = holder
        """Whose it is now."""

    def __call__(self, transaction: Transaction) -> None:
        row = {
            "id": self._token.id,
            "holder": self._mine,
            "expires_at": to_microseconds(self._token.expires_at),
            "is_used_up": False,
        }
        transaction.execute(insert(token_uses).values(row).on_conflict_do_nothing())
        self.holder = transaction.execute(
            select(token_uses.c.holder).where(token_uses.c.id == self._token.id)
        ).scalar_one()


def use_up(transaction: Transaction, token: UUID) -> None:
    """Let nobody use it again."""
    transaction.execute(update(token_uses).where(token_uses.c.id == token).values(is_used_up=True))


def _forget(transaction: Transaction, old: ColumnElement[bool]) -> None:
    transaction.execute(delete(token_uses).where(old))
