"""API keys for tests: made in the catalog of a running server, and used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from maie_aiohttp.credentials import Key, Scope, digest_of, new_secret
from maie_aiohttp.limits.quota import Quota
from maie_aiohttp.web.appkeys import ACCESS, CATALOG
from tests.conftest import Client

EVERYTHING = "upload,read,delete"
"""Scopes of somebody with no power over others."""


async def key(
    client: Client,
    name: str,
    scopes: str,
    *,
    owner: str | None = None,
    ends_in: float = 1_000,
    quota: Quota | None = None,
) -> str:
    """A new key, which opens for so many seconds."""
    secret, now = new_secret(), datetime.now(UTC)
    known = Key(name, digest_of(secret), owner or name, frozenset(map(Scope, scopes.split(","))), now)
    assert client.app is not None
    assert await client.app[CATALOG].keyring.add(
        replace(known, expires_at=now + timedelta(seconds=ends_in), quota=quota)
    )
    await client.app[ACCESS].refresh()
    return secret


async def revoke(client: Client, name: str) -> None:
    """Let it open nothing any more."""
    assert client.app is not None
    assert await client.app[CATALOG].keyring.revoke(name, datetime.now(UTC))
    await client.app[ACCESS].refresh()


def bearer(secret: str) -> Mapping[str, str]:
    """How it is sent along."""
    return {"Authorization": f"Bearer {secret}"}
