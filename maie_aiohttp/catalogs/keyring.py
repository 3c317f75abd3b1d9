"""API keys in a SQL database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.dialects.sqlite import insert

from maie_aiohttp.catalogs.database import Database
from maie_aiohttp.catalogs.rows import from_microseconds, to_microseconds
from maie_aiohttp.catalogs.schema import api_keys
from maie_aiohttp.credentials import Key, Scope
from maie_aiohttp.limits.quota import Quota


class SqlKeyring:
    """See `interfaces.Keyring`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> object:
        (counts,) = await self._database.read(select(func.count(), func.count(api_keys.c.revoked_at)))
        return tuple(counts.values())

    async def all(self) -> Sequence[Key]:
        oldest_first = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.name)
        return [_to_key(row) for row in await self._database.read(oldest_first)]

    async def add(self, key: Key) -> bool:
        return await self._database.changes_a_row(insert(api_keys).values(_row(key)).on_conflict_do_nothing())

    async def revoke(self, name: str, moment: datetime) -> bool:
        valid = api_keys.c.name == name, api_keys.c.revoked_at.is_(None)
        return await self._database.changes_a_row(
            update(api_keys).where(*valid).values(revoked_at=to_microseconds(moment))
        )


def _row(key: Key) -> dict[str, object]:
    return {
        "name": key.name,
        "digest": key.digest,
        "owner": key.owner,
        "scopes": sorted(key.scopes),
        "created_at": to_microseconds(key.created_at),
        "expires_at": key.expires_at and to_microseconds(key.expires_at),
        "revoked_at": key.revoked_at and to_microseconds(key.revoked_at),
        "quota": key.quota and _quota_column(key.quota),
    }


def _to_key(row: RowMapping) -> Key:
    return Key(
        name=row["name"],
        digest=row["digest"],
        owner=row["owner"],
        scopes=frozenset(map(Scope, row["scopes"])),
        created_at=from_microseconds(row["created_at"]),
        expires_at=_moment(row["expires_at"]),
        revoked_at=_moment(row["revoked_at"]),
        quota=None if row["quota"] is None else _quota(row["quota"]),
    )


def _quota_column(quota: Quota) -> dict[str, object]:
    window = quota.window // timedelta(seconds=1)
    return {"size": quota.size, "files": quota.files, "uploads": quota.uploads, "window": window}


def _quota(column: Mapping[str, Any]) -> Quota:
    window = timedelta(seconds=column["window"])
    return Quota(column["size"], column["files"], column["uploads"], window)


def _moment(number: int | None) -> datetime | None:
    return None if number is None else from_microseconds(number)
