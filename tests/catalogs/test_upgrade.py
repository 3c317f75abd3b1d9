"""Migrations: where they lead, and what becomes of a catalog when they fail."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine

from maie_aiohttp.catalogs import schema
from maie_aiohttp.catalogs.rows import EPOCH
from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.catalogs.upgrade import create, migrate, upgrade
from maie_aiohttp.credentials import Key, Scope, Token
from maie_aiohttp.errors import StorageFailed
from maie_aiohttp.limits.quota import Need, Quota
from maie_aiohttp.model import KeyUse, Status, Terms
from tests.layers import NOON, pending, query, sql_catalog, stored_part, upload


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", "maie_aiohttp.catalogs:migrations")
    return ScriptDirectory.from_config(config)


def test_the_schema_stands_at_the_newest_migration() -> None:
    assert scripts().get_current_head() == schema.REVISION


@pytest.mark.parametrize("make", [create, migrate])
def test_both_ways_make_exactly_the_tables_of_the_schema(make: Callable[[Connection], None]) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        make(connection)
        upgrade(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def tables(connection: Connection) -> list[str]:
    """Every table and index, as SQLite keeps it."""
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%'")
    return sorted(" ".join(str(row).replace('"', "").split()) for row in rows)


def test_migrating_again_changes_nothing() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        upgrade(connection)
        before = tables(connection)
        upgrade(connection)
        assert tables(connection) == before
    engine.dispose()


async def test_opening_again_keeps_what_is_there(path: Path) -> None:
    given = upload()
    async with sql_catalog(path) as catalog:
        await catalog.settle([given])
    async with sql_catalog(path) as catalog:
        assert await catalog.get(given.id) == given
    assert query(path, "SELECT version_num FROM alembic_version") == [(schema.REVISION,)]


FIRST = """
CREATE TABLE uploads (id CHAR(32) PRIMARY KEY NOT NULL, status VARCHAR(16) NOT NULL, filename TEXT,
    size BIGINT NOT NULL, "offset" BIGINT NOT NULL, media_type VARCHAR(64) NOT NULL, format VARCHAR(16) NOT NULL,
    sha256 VARCHAR(64) NOT NULL, locator TEXT NOT NULL, created_at BIGINT NOT NULL, stored_at BIGINT,
    metadata JSON NOT NULL);
CREATE TABLE outbox (number INTEGER PRIMARY KEY NOT NULL, upload_id CHAR(32) NOT NULL UNIQUE
    REFERENCES uploads (id) ON DELETE CASCADE, event VARCHAR(32) NOT NULL, created_at BIGINT NOT NULL);
CREATE INDEX uploads_newest ON uploads (created_at, id);
CREATE INDEX uploads_newest_by_status ON uploads (status, created_at, id);
CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY NOT NULL);
INSERT INTO alembic_version VALUES ('0001');
INSERT INTO uploads VALUES ('abcdef00000040008000000000000001', 'stored', 'speech.wav', 5, 5, 'audio/wav', 'wav', 'aa',
    'audio/ab/abcdef00-0000-4000-8000-000000000001.wav', 1000000, 2000000, '{}');
INSERT INTO outbox VALUES (7, 'abcdef00000040008000000000000001', 'upload.stored', 2000000);
"""
"""A catalog as the first version made it."""


async def test_the_first_catalog_is_taken_over(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(FIRST)
    connection.close()
    async with sql_catalog(path) as catalog:
        (found,) = await catalog.list(10, status=None, after=None)
        assert (found.status, found.size, found.filename, found.terms) == (Status.STORED, 5, "speech.wav", None)
        assert stored_part(found).at == EPOCH + timedelta(seconds=2)
    assert query(path, "SELECT * FROM outbox") == [(7, found.id.hex, "upload.stored", 2_000_000)]


def forget_facts(path: Path) -> None:
    """Make the catalog one of the revision before there were facts."""
    for index in ("unexamined", "newest_by_duration", "newest_by_codec", "newest_with_findings"):
        query(path, f"DROP INDEX uploads_{index}")
    for column in ("facts_pending", "codec", "duration", "sample_rate", "channels", "bit_rate", "findings"):
        query(path, f"ALTER TABLE uploads DROP COLUMN {column}")
    query(path, "DROP TABLE waveforms")
    query(path, "UPDATE alembic_version SET version_num = '0009'")


def forget_tokens(path: Path) -> None:
    """Make the catalog one of a revision before there were upload tokens."""
    forget_facts(path)
    query(path, "DROP TABLE token_uses")
    query(path, "UPDATE alembic_version SET version_num = '0008'")


def forget_duplicates(path: Path) -> None:
    """Make the catalog one of a revision before duplicates were known."""
    forget_tokens(path)
    query(path, "DROP INDEX uploads_by_content")
    query(path, "ALTER TABLE uploads DROP COLUMN duplicate_of")
    query(path, "UPDATE alembic_version SET version_num = '0006'")


def forget_letters(path: Path) -> None:
    """Make the catalog one of a revision before there were letters."""
    forget_duplicates(path)
    query(path, "DROP TABLE letters")
    query(path, "UPDATE alembic_version SET version_num = '0005'")


def forget_quotas(path: Path) -> None:
    """Make the catalog one of a revision before there were quotas."""
    forget_letters(path)
    query(path, "ALTER TABLE api_keys DROP COLUMN quota")
    query(path, "DROP TABLE quota_reservations")
    query(path, "DROP TABLE quota_uses")
    query(path, "UPDATE alembic_version SET version_num = '0004'")


def forget_owners(path: Path, revision: str) -> None:
    """Make the catalog one of a revision before there were owners."""
    forget_quotas(path)
    query(path, "DROP INDEX uploads_newest_by_owner")
    query(path, "ALTER TABLE uploads DROP COLUMN owner")
    query(path, "DROP TABLE api_keys")
    query(path, f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608 - one of ours


async def test_a_catalog_without_keys_is_taken_over(path: Path) -> None:
    given = upload()
    async with sql_catalog(path) as catalog:
        await catalog.settle([given])
    forget_owners(path, "0002")
    query(path, "DROP TABLE idempotency_keys")
    async with sql_catalog(path) as catalog:
        assert await catalog.get(given.id) == given
        uses = [KeyUse("a-key", "0" * 64, (uuid4(),), given.created_at) for _ in range(2)]
        settled = [await catalog.settle([upload(use.uploads[0])], use) for use in uses]
        assert [one.earlier for one in settled] == [None, uses[0]]


async def test_a_catalog_without_owners_is_taken_over(path: Path) -> None:
    given, again = upload(), upload()
    use = KeyUse("a-key", "0" * 64, (given.id,), given.created_at)
    async with sql_catalog(path) as catalog:
        await catalog.settle([given], use)
    forget_owners(path, "0003")
    async with sql_catalog(path) as catalog:
        assert await catalog.list(9, status=None, after=None) == [given]
        assert await catalog.keyring.all() == []
        of_nobody = replace(use, key="/a-key")
        assert (await catalog.settle([again], replace(of_nobody, uploads=(again.id,)))).earlier == of_nobody
    assert query(path, "SELECT upload_id FROM outbox") == [(given.id.hex,)]


async def test_a_catalog_without_quotas_is_taken_over(path: Path) -> None:
    key = Key("ada", "0" * 64, "ada", frozenset({Scope.UPLOAD}), NOON)
    begun = upload(status=Status.RECEIVING, stored=None, terms=Terms(), expires_at=NOON)
    async with sql_catalog(path) as catalog:
        assert await catalog.keyring.add(key)
        await catalog.create(begun)
    forget_quotas(path)
    query(path, "UPDATE uploads SET terms = json_remove(terms, '$.reserved')")
    limited = replace(key, name="bob", digest="1" * 64, quota=Quota(5, window=timedelta(hours=1)))
    async with sql_catalog(path) as catalog:
        assert await catalog.get(begun.id) == begun
        assert await catalog.keyring.add(limited)
        assert await catalog.keyring.all() == [key, limited]
        assert await catalog.quotas.reserve(uuid4(), "bob", Quota(5), Need(3, 4), NOON) == 4


async def test_what_waited_in_an_old_outbox_is_new_to_every_target(path: Path) -> None:
    given = upload()
    async with sql_catalog(path) as catalog:
        await catalog.settle([given])
    forget_letters(path)
    async with sql_catalog(path) as catalog:
        (letter,) = await catalog.outbox.fresh("log", 9)
        assert (letter.upload, letter.event) == (given, "upload.stored")


async def test_duplicates_of_what_is_there_already_are_found(path: Path) -> None:
    given = upload()
    async with sql_catalog(path) as catalog:
        await catalog.settle([given])
    forget_duplicates(path)
    async with sql_catalog(path) as catalog:
        again = upload(stored=stored_part(given))
        assert (await catalog.settle([again])).uploads == [replace(again, duplicate_of=given.id)]


async def test_a_catalog_without_tokens_is_taken_over(path: Path) -> None:
    given, token = upload(), Token(uuid4(), None, None, None, NOON)
    async with sql_catalog(path) as catalog:
        await catalog.settle([given])
    forget_tokens(path)
    async with sql_catalog(path) as catalog:
        assert await catalog.get(given.id) == given
        assert await catalog.tokens.take(token, given.id) == given.id


async def test_nobody_waits_for_the_facts_of_what_was_stored_before_there_were_any(path: Path) -> None:
    given, new = upload(), pending()
    async with sql_catalog(path) as catalog:
        await catalog.settle([given])
    forget_facts(path)
    async with sql_catalog(path) as catalog:
        assert await catalog.list(9, status=None, after=None) == [given]
        await catalog.settle([new])
        assert await catalog.facts.pending(9) == [new]
        assert await catalog.waveforms.find(given.id) == ()


async def refused(path: Path) -> str:
    """Why the catalog cannot be opened."""
    threads = {*threading.enumerate()}
    with pytest.raises(StorageFailed) as raised:
        async with sql_catalog(path):
            pass
    await asyncio.to_thread(threads_end, but=threads)
    return str(raised.value)


def threads_end(but: set[threading.Thread]) -> None:
    """Return when there are no threads but those, and this one. A thread that stays keeps the process from ending."""
    for thread in {*threading.enumerate()} - but - {threading.current_thread()}:
        thread.join()


async def test_a_migration_that_fails_leaves_the_catalog_as_it_was(path: Path) -> None:
    query(path, "CREATE TABLE outbox (mine)")
    await refused(path)
    assert query(path, "SELECT name FROM sqlite_master") == [("outbox",)]
    query(path, "DROP TABLE outbox")
    async with sql_catalog(path) as catalog:
        await catalog.settle([upload()])


async def test_a_catalog_from_the_future_is_left_alone(path: Path) -> None:
    async with sql_catalog(path):
        pass
    query(path, "UPDATE alembic_version SET version_num = '9999'")
    assert "newer" in await refused(path)
    assert query(path, "SELECT version_num FROM alembic_version") == [("9999",)]


@pytest.mark.parametrize(
    "bytes_", [b"not a database at all, but long enough to be one" * 50, b"SQLite format 3\0" * 99]
)
def test_a_damaged_catalog_is_refused(path: Path, bytes_: bytes) -> None:
    path.write_bytes(bytes_)
    assert asyncio.run(refused(path)) == "The catalog file is damaged."
    assert path.read_bytes() == bytes_


@pytest.mark.parametrize("url", ["postgresql://u:secret@h:x/d", "nothing://h/d", "no url at all"])
async def test_a_url_that_leads_to_no_catalog_is_refused(url: str) -> None:
    with pytest.raises(StorageFailed, match="no driver") as raised:
        await SqlCatalog.open(url)
    assert "secret" not in str(raised.value)


async def test_a_catalog_below_a_missing_folder_is_refused(tmp_path: Path) -> None:
    await refused(tmp_path / "missing" / "catalog.sqlite")
