"""The scrub: what it finds, what it does not disturb, and where it goes on."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.limits.throttle import Throttle
from maie_aiohttp.model import Position, Status, Upload
from maie_aiohttp.stores.disk import DiskStore
from maie_aiohttp.upkeep import reconcile
from maie_aiohttp.upkeep.scrub import Bookmark, Progress, Scrub
from tests import audio
from tests.conftest import Client, configure, send, serving
from tests.layers import NOON, disk_store, flip, sql_catalog

FAST: dict[str, object] = {"rate": "1 GB", "interval": "20 ms"}
SAMPLE = audio.sample("flac")


async def until(question: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what the server does by itself."""
    while not await question():  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)


async def is_now(client: Client, path: str, status: str) -> bool:
    async with client.get(path) as shown:
        return bool((await shown.json())["status"] == status)


async def test_fault_53_a_flipped_bit_is_found_and_not_given_out_and_comes_back(folder: Path) -> None:
    async with serving(configure(folder, scrub=FAST)) as client:
        record, other = await send(client, SAMPLE), await send(client, audio.sample("mp3"))
        (file,) = (folder / "audio").rglob("*.flac")
        with capture_logs() as lines:
            flip(file, 9_999)
            await until(lambda: is_now(client, record["links"]["self"], "damaged"))
        assert [line["log_level"] for line in lines if line["event"] == "stored upload is damaged"] == ["error"]
        async with client.get(record["links"]["content"]) as refused:
            assert (refused.status, (await refused.json())["type"]) == (500, "urn:maie:problem:damaged")
        async with client.get("/ready") as ready:
            assert ready.status == 200
        async with client.get(other["links"]["content"]) as whole:
            assert await whole.read() == audio.sample("mp3").content
        flip(file, 9_999)
        await until(lambda: is_now(client, record["links"]["self"], "stored"))
        async with client.get(record["links"]["content"]) as whole:
            assert await whole.read() == SAMPLE.content


async def test_switched_off_it_reads_nothing(folder: Path) -> None:
    async with serving(configure(folder)) as client:
        record = await send(client, SAMPLE)
    (folder / "scrub").unlink(missing_ok=True)
    (file,) = (folder / "audio").rglob("*.flac")
    flip(file, 9_999)
    async with serving(configure(folder, scrub={**FAST, "rate": "0 B"})) as client:
        await asyncio.sleep(0.3)
        assert await is_now(client, record["links"]["self"], "stored")
    assert not (folder / "scrub").exists()


async def test_fault_42_a_catalog_that_contradicts_itself_takes_no_more_work(folder: Path) -> None:
    async with serving(configure(folder)) as client:
        await send(client, SAMPLE)
    catalog = folder / "catalog.sqlite"
    with closing(sqlite3.connect(catalog)) as connection:
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'outbox'").fetchall()
    content = bytearray(catalog.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    catalog.write_bytes(content)
    (folder / "scrub").unlink(missing_ok=True)
    with capture_logs() as lines:
        async with serving(configure(folder, scrub=FAST)) as client:

            async def is_not_ready() -> bool:
                async with client.get("/ready") as ready:
                    return ready.status == 503

            async def is_known() -> bool:
                return any("fsck" in line["event"] for line in lines)

            await until(is_known)
            await until(is_not_ready)


class Archive:
    """Three recordings, a store and a catalog without a server."""

    def __init__(self, folder: Path, store: DiskStore, catalog: SqlCatalog) -> None:
        self.folder = folder
        self.store = store
        self.catalog = catalog

    async def recordings(self) -> list[Upload]:
        """Newest first."""
        return list(await self.catalog.list(9, status=None, after=None))

    async def damaged(self) -> list[UUID]:
        """Those that are known to be."""
        return [one.id for one in await self.recordings() if one.status is Status.DAMAGED]

    def flip(self, upload: Upload) -> None:
        """Damage it."""
        (file,) = (self.folder / "audio").rglob(f"{upload.id}.*")
        flip(file, 500)

    @asynccontextmanager
    async def scrubbed(self, interval: timedelta) -> AsyncIterator[None]:
        """The scrub at work."""
        scrub = Scrub(self.store, self.catalog, lambda _: None, Throttle(10**9), Bookmark(self.folder / "scrub"))
        task = asyncio.create_task(scrub.keep_on(interval))
        yield
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def archive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Archive]:
    monkeypatch.setattr(reconcile, "PAUSE", 0)
    async with serving(configure(folder, scrub={"rate": "0 B"})) as client:
        for _ in range(3):
            await send(client, SAMPLE)
    with disk_store(folder) as store:
        async with sql_catalog(folder / "catalog.sqlite") as catalog:
            yield Archive(folder, store, catalog)


async def test_a_restart_goes_on_where_it_was(archive: Archive) -> None:
    newest, *_, oldest = await archive.recordings()
    archive.flip(newest)
    archive.flip(oldest)
    Bookmark(archive.folder / "scrub").write(Progress(datetime.now(UTC), Position(newest.created_at, newest.id)))
    async with archive.scrubbed(timedelta(days=7)):
        await until(lambda: ended(archive))
    assert await archive.damaged() == [oldest.id]
    async with archive.scrubbed(timedelta(0)):
        await until(lambda: are_damaged(archive, 2))


async def ended(archive: Archive) -> bool:
    progress = Bookmark(archive.folder / "scrub").read()
    return progress is not None and progress.ended


async def are_damaged(archive: Archive, number: int) -> bool:
    return len(await archive.damaged()) == number


async def test_a_pass_that_has_ended_is_not_begun_again_before_its_time(archive: Archive) -> None:
    bookmark = Bookmark(archive.folder / "scrub")
    bookmark.write(Progress(datetime.now(UTC), ended=True))
    before = bookmark.read()
    archive.flip((await archive.recordings())[0])
    async with archive.scrubbed(timedelta(days=7)):
        await asyncio.sleep(0.2)
    assert (await archive.damaged(), bookmark.read()) == ([], before)


async def test_one_recording_that_cannot_be_looked_at_costs_no_other(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "PAUSE_AFTER_FAILURE", 0)
    newest, middle, oldest = await archive.recordings()
    archive.flip(oldest)
    shard = archive.folder / f"audio/{newest.id.hex[:2]}"
    shard.rename(archive.folder / "elsewhere")
    shard.write_bytes(b"no folder")
    async with archive.scrubbed(timedelta(days=7)):
        await until(lambda: ended(archive))
    assert oldest.id in await archive.damaged()
    assert middle.id not in await archive.damaged() or middle.id.hex[:2] == newest.id.hex[:2]


@pytest.mark.parametrize("what", [b"", b"{}", b"[]", b"null", b"\xff", b'{"begun": 7, "after": null, "ended": true}'])
def test_a_bookmark_that_cannot_be_read_is_none(tmp_path: Path, what: bytes) -> None:
    file = tmp_path / "scrub"
    file.write_bytes(what)
    assert Bookmark(file).read() is None
    Bookmark(file).write(Progress(NOON))
    assert Bookmark(file).read() == Progress(NOON)


MOMENTS = st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9000, 1, 1), timezones=st.just(UTC))


@given(begun=MOMENTS, after=st.none() | st.builds(Position, MOMENTS, st.uuids()), ended=st.booleans())
def test_a_bookmark_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, begun: datetime, after: Position | None, ended: bool
) -> None:
    bookmark = Bookmark(tmp_path_factory.mktemp("scrub") / "scrub")
    bookmark.write(Progress(begun, after, ended))
    assert bookmark.read() == Progress(begun, after, ended)


async def test_the_throttle_lets_every_byte_have_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    throttled = Throttle(10)
    for _ in range(3):
        await throttled.spend(5)
    assert [round(rest, 1) for rest in rests] == [0.5, 1.0, 1.5]
    assert throttled.passed == 15
