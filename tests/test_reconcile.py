"""Disk and catalog after a crash, wherever it fell: the real steps are taken, and stopped in between."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.crew import succession
from maie_aiohttp.crew.succession import recover_beside
from maie_aiohttp.errors import Busy, StorageFailed, Truncated
from maie_aiohttp.formats import CORE
from maie_aiohttp.inspection.inspector import Inspector
from maie_aiohttp.intake.delivery import Intake, Rules
from maie_aiohttp.intake.locks import Locks
from maie_aiohttp.intake.pieces import Piece
from maie_aiohttp.intake.resumption import Resumption
from maie_aiohttp.model import Declared, Status, Terms, Upload
from maie_aiohttp.stores import disk as disk_module
from maie_aiohttp.stores.disk import DiskStore
from maie_aiohttp.upkeep import reconcile
from maie_aiohttp.upkeep.reconcile import audit, confirm_damage, recover
from tests import audio
from tests.conftest import files
from tests.layers import (
    MIB,
    NOON,
    disk_store,
    impatient,
    locked,
    pieces,
    query,
    sql_catalog,
    stored,
    stored_part,
    unconcerned,
    upload,
    upload_locks,
)

ID = UUID("abcdef00-0000-4000-8000-000000000001")
CONTENT = b"hello"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
RECORD = upload(ID, stored=stored(ID, sha256=SHA256))
MARK, PUBLISHED, ORPHAN = f"incoming/{ID}.part", f"audio/ab/{ID}.wav", f"orphans/{ID}.wav"


Recovering = Callable[[DiskStore, SqlCatalog], Awaitable[None]]


class Layers:
    """A store, a catalog, and the steps of an upload."""

    def __init__(self, store: DiskStore, catalog: SqlCatalog) -> None:
        self.store = store
        self.catalog = catalog

    async def receive(self, id: UUID = ID) -> None:
        await self.store.append(self.store.locator_of(id), 0, pieces(CONTENT), unconcerned)

    async def publish(self, id: UUID = ID) -> None:
        await self.receive(id)
        await self.store.publish(self.store.locator_of(id), id, ".wav")

    async def record(self, id: UUID = ID) -> None:
        await self.publish(id)
        await self.catalog.settle([upload(id, stored=stored(id, sha256=SHA256))])

    async def complete(self, id: UUID = ID) -> None:
        await self.record(id)
        await self.store.discard(self.store.locator_of(id))

    async def records(self) -> list[Upload]:
        return list(await self.catalog.list(100, status=None, after=None))


@pytest.fixture
async def layers(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Layers]:
    """Both, empty; the audit takes no rest."""
    monkeypatch.setattr(reconcile, "PAUSE", 0)
    monkeypatch.setattr(succession, "PAUSE_FOR_USERS", 0.01)
    monkeypatch.setattr(reconcile, "PAUSE_AFTER_FAILURE", 0, raising=False)
    with disk_store(folder) as store:
        async with sql_catalog(tmp_path / "catalog.sqlite") as catalog:
            yield Layers(store, catalog)


@pytest.fixture(params=["at start", "beside others"])
def recovering(layers: Layers, folder: Path, request: pytest.FixtureRequest) -> Iterator[Recovering]:
    """Both ways to clear up, where nobody else is at work."""
    with upload_locks(folder) as locks:
        beside = partial(recover_beside, locks=locks)
        yield beside if request.param == "beside others" else recover


async def recovered(layers: Layers, folder: Path, recovering: Recovering = recover) -> tuple[list[str], list[Upload]]:
    """What is there after start-up; and after another one, should a crash have fallen into the first."""
    await recovering(layers.store, layers.catalog)
    first = files(folder), await layers.records()
    await recovering(layers.store, layers.catalog)
    assert (files(folder), await layers.records()) == first
    return first


async def test_killed_while_receiving(layers: Layers, folder: Path, recovering: Recovering) -> None:
    await layers.receive()
    assert await recovered(layers, folder, recovering) == ([], [])


async def test_killed_between_publishing_and_the_record(layers: Layers, folder: Path, recovering: Recovering) -> None:
    await layers.publish()
    assert await recovered(layers, folder, recovering) == ([ORPHAN], [])
    assert (folder / ORPHAN).read_bytes() == CONTENT


async def test_killed_before_the_mark_was_removed(
    layers: Layers, folder: Path, tmp_path: Path, recovering: Recovering
) -> None:
    await layers.record()
    assert await recovered(layers, folder, recovering) == ([PUBLISHED], [RECORD])
    assert len(query(tmp_path / "catalog.sqlite", "SELECT * FROM outbox")) == 1


async def test_killed_while_deleting_before_the_bytes_were_taken_back(
    layers: Layers, folder: Path, recovering: Recovering
) -> None:
    await layers.complete()
    (folder / MARK).hardlink_to(folder / PUBLISHED)
    assert await recovered(layers, folder, recovering) == ([PUBLISHED], [RECORD])


async def test_killed_while_deleting_before_the_record_was_removed(
    layers: Layers, folder: Path, recovering: Recovering
) -> None:
    await layers.complete()
    await layers.store.retract(MARK, PUBLISHED)
    assert await recovered(layers, folder, recovering) == ([PUBLISHED], [RECORD])
    assert (folder / PUBLISHED).read_bytes() == CONTENT
    assert (folder / PUBLISHED).stat().st_mode & 0o777 == 0o440


async def test_killed_while_deleting_after_the_record_was_removed(
    layers: Layers, folder: Path, recovering: Recovering
) -> None:
    await layers.complete()
    await layers.store.retract(MARK, PUBLISHED)
    await layers.catalog.remove(ID)
    assert await recovered(layers, folder, recovering) == ([], [])


async def test_recovery_touches_nothing_else(layers: Layers, folder: Path, recovering: Recovering) -> None:
    await layers.complete()
    for foreign in ("incoming/notes.txt", "incoming/other.part", "audio/ab/notes.txt", f"audio/ab/{ID}.wav.bak"):
        (folder / foreign).write_bytes(b"mine")
    before = files(folder)
    assert await recovered(layers, folder, recovering) == (before, [RECORD])


async def test_what_others_work_on_is_left_alone(layers: Layers, folder: Path) -> None:
    """Until they end; what nobody works on is cleared up meanwhile."""
    ids = theirs, mine, left = [UUID(int=number << 120 | 4) for number in (1, 2, 3)]
    for id in ids:
        await layers.publish(id)
    with upload_locks(folder) as locks:
        clearing = partial(recover_beside, layers.store, layers.catalog, locks)
        with locks.own(theirs):
            with locks.try_hold(mine):
                asked = asyncio.create_task(clearing())
                await until_gone(folder, left)
                assert not asked.done()
                await layers.catalog.settle([upload(mine, stored=stored(mine, sha256=SHA256))])
            await asked
            assert files(folder) == [
                *(f"audio/{id.hex[:2]}/{id}.wav" for id in (theirs, mine)),
                f"incoming/{theirs}.part",
                f"orphans/{left}.wav",
            ]
        await clearing()
        assert [record.id for record in await layers.records()] == [mine]
        assert len(files(folder)) == 3


async def until_gone(folder: Path, id: UUID) -> None:
    """Wait until the upload has no mark."""
    while (folder / f"incoming/{id}.part").exists():  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.01)


async def test_clearing_up_beside_others_outlives_a_catalog_that_fails(
    layers: Layers, folder: Path, tmp_path: Path
) -> None:
    await layers.receive()
    query(tmp_path / "catalog.sqlite", "ALTER TABLE uploads RENAME TO lost")
    with upload_locks(folder) as locks, capture_logs() as logs:
        clearing = asyncio.create_task(recover_beside(layers.store, layers.catalog, locks))
        while not logs:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
        assert files(folder) == [MARK]
        query(tmp_path / "catalog.sqlite", "ALTER TABLE lost RENAME TO uploads")
        await clearing
    assert files(folder) == []


async def test_who_ended_since_it_was_found_is_left_alone(
    layers: Layers, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await layers.record()
    listed = [ID]
    await layers.store.discard(MARK)
    await layers.catalog.remove(ID)

    async def late() -> list[UUID]:
        return listed

    monkeypatch.setattr(layers.store, "unfinished", late)
    with upload_locks(folder) as locks, capture_logs() as logs:
        await recover_beside(layers.store, layers.catalog, locks)
    assert logs == []
    assert files(folder) == [PUBLISHED]


@pytest.mark.parametrize("step", ["receive", "publish", "complete"])
async def test_a_mark_that_is_no_file_is_left_alone_and_costs_no_other(layers: Layers, folder: Path, step: str) -> None:
    await getattr(layers, step)()
    (folder / MARK).unlink(missing_ok=True)
    (folder / MARK).mkdir()
    await layers.receive(UUID(int=7))
    with capture_logs() as logs:
        await recover(layers.store, layers.catalog)
    assert (folder / MARK).is_dir()
    assert not (folder / f"incoming/{UUID(int=7)}.part").exists()
    assert ("unfinished upload left alone", str(ID)) in [(entry["event"], entry["upload"]) for entry in logs]


async def test_a_catalog_that_fails_stops_the_start(layers: Layers, folder: Path, tmp_path: Path) -> None:
    await layers.receive()
    query(tmp_path / "catalog.sqlite", "ALTER TABLE uploads RENAME TO lost")
    with pytest.raises(StorageFailed):
        await recover(layers.store, layers.catalog)
    assert files(folder) == [MARK]


LONG = b"".join(audio.long_wav(200_000))


async def begun(layers: Layers, status: Status = Status.RECEIVING) -> Upload:
    """The record of an upload in pieces that came to five bytes."""
    given = upload(ID, status=Status.RECEIVING, size=9, stored=None, terms=Terms(), expires_at=NOON)
    await layers.catalog.create(given)
    if status is not Status.RECEIVING:
        await layers.catalog.move(ID, status, reason="It is no audio.", expires_at=NOON)
    return await layers.catalog.get(ID)


async def test_what_is_coming_in_pieces_stays(layers: Layers, folder: Path) -> None:
    given = await begun(layers)
    await layers.receive()
    assert await recovered(layers, folder) == ([MARK], [given])
    assert (folder / MARK).read_bytes() == CONTENT


async def test_what_has_only_begun_stays(layers: Layers, folder: Path) -> None:
    given = await begun(layers)
    await layers.store.begin(MARK)
    assert await recovered(layers, folder) == ([MARK], [given])


async def test_killed_before_an_upload_in_pieces_was_recorded(layers: Layers, folder: Path) -> None:
    await layers.store.begin(MARK)
    assert await recovered(layers, folder) == ([], [])


async def test_killed_between_publishing_and_the_record_of_what_can_go_on(layers: Layers, folder: Path) -> None:
    given = await begun(layers)
    await layers.publish()
    assert await recovered(layers, folder) == ([MARK], [given])
    assert (folder / MARK).read_bytes() == CONTENT
    assert await layers.store.append(MARK, 5, pieces(b" all"), unconcerned) == 9


@pytest.mark.parametrize("status", [Status.REJECTED, Status.EXPIRED])
async def test_killed_after_an_upload_in_pieces_was_ended(layers: Layers, folder: Path, status: Status) -> None:
    given = await begun(layers, status)
    await layers.receive()
    assert await recovered(layers, folder) == ([], [given])


@pytest.mark.parametrize("status", [Status.REJECTED, Status.EXPIRED])
async def test_what_was_ended_and_published_is_put_aside(layers: Layers, folder: Path, status: Status) -> None:
    given = await begun(layers, status)
    await layers.publish()
    assert await recovered(layers, folder) == ([ORPHAN], [given])


async def test_killed_between_the_record_and_the_end_of_what_came_in_pieces(layers: Layers, folder: Path) -> None:
    given = await begun(layers)
    await layers.publish()
    done = replace(given, status=Status.STORED, size=5, stored=stored(ID, sha256=SHA256), expires_at=None)
    await layers.catalog.settle([done])
    assert await recovered(layers, folder) == ([PUBLISHED], [done])


def resumption_of(store: DiskStore, catalog: SqlCatalog, locks: Locks) -> Resumption:
    """Nothing that is sent here needs to be decoded."""
    intake = Intake(store, catalog, Inspector(workers=1, timeout=1, memory=1), locks, Rules(MIB, CORE))
    return Resumption(intake, timedelta(days=1))


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Resumption]:
    """Everything an upload in pieces needs, from one start to its end."""
    with disk_store(folder) as store, upload_locks(folder) as locks:
        async with sql_catalog(folder / "catalog.sqlite") as catalog:
            await recover(store, catalog)
            yield resumption_of(store, catalog, locks)


async def sent(content: bytes, resumption: Resumption, id: UUID, offset: int, *, breaks: bool = False) -> Upload:
    async def chunks() -> AsyncIterator[bytes]:
        if content:
            yield content
        if breaks:
            raise Truncated("gone")

    return await resumption.append(id, Piece(offset, chunks(), lambda _: None))


@pytest.mark.parametrize("cut", [0, 1, 65_535, 65_536, 199_998, 199_999])
async def test_an_upload_in_pieces_goes_on_after_each_restart(folder: Path, cut: int) -> None:
    declared = Declared("speech.wav", "audio/wav", len(LONG), {"sha512": hashlib.sha512(LONG).digest()})
    async with started(folder) as resumption:
        id = (await resumption.create(declared, metadata={"a": "b"}, echo={"c": "d"})).id
    async with started(folder) as resumption:
        with pytest.raises(Truncated):
            await sent(LONG[:cut], resumption, id, 0, breaks=True)
    with (folder / f"incoming/{id}.part").open("ab") as behind:
        behind.write(b"never recorded")
    async with started(folder) as resumption:
        upload = await resumption.look(id)
        assert (upload.offset, upload.terms) == (cut, Terms("audio/wav", declared.digests, {"c": "d"}))
        finished = await sent(LONG[cut:], resumption, id, cut)
    assert stored_part(finished).sha256 == hashlib.sha256(LONG).hexdigest()
    async with started(folder) as resumption:
        assert await resumption.look(id) == finished
    assert files(folder) == [stored_part(finished).locator]
    assert (folder / files(folder)[0]).read_bytes() == LONG


async def test_parts_are_still_there_after_a_restart(folder: Path) -> None:
    parts = []
    async with started(folder) as resumption:
        for content in (LONG[:7], LONG[7:]):
            declared = Declared(at_most=len(content))
            parts.append((await resumption.create(declared, metadata={}, echo={}, partial=True)).id)
            await sent(content, resumption, parts[-1], 0)
    async with started(folder) as resumption:
        whole = await resumption.concatenate(parts, Declared(), metadata={}, echo={})
    assert stored_part(whole).sha256 == hashlib.sha256(LONG).hexdigest()


async def test_the_audit_lets_uploads_in_pieces_be(
    layers: Layers, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_module, "GRACE", -1.0)
    given = await begun(layers)
    await layers.receive()
    await audit(layers.store, layers.catalog)
    assert (files(folder), await layers.records()) == ([MARK], [given])


async def test_many_at_once(layers: Layers, folder: Path) -> None:
    ids = [UUID(int=number << 120 | 4) for number in range(12)]
    steps = [layers.receive, layers.publish, layers.record, layers.complete]
    for number, id in enumerate(ids):
        await steps[number % 4](id)
    left, records = await recovered(layers, folder)
    orphans = [f"orphans/{id}.wav" for id in ids[1::4]]
    kept = [f"audio/{id.hex[:2]}/{id}.wav" for number, id in enumerate(ids) if number % 4 > 1]
    assert left == sorted(orphans + kept)
    assert sorted(stored_part(record).locator for record in records) == sorted(kept)


async def status(layers: Layers) -> Status:
    await audit(layers.store, layers.catalog)
    return (await layers.catalog.get(ID)).status


async def test_the_audit_finds_nothing_wrong_with_what_is_right(layers: Layers, folder: Path) -> None:
    await layers.complete()
    assert await status(layers) is Status.STORED
    assert files(folder) == [PUBLISHED]


async def test_the_audit_finds_a_missing_file(layers: Layers, folder: Path) -> None:
    await layers.complete()
    (folder / PUBLISHED).unlink()
    assert await status(layers) is Status.DAMAGED


@pytest.mark.parametrize("content", [b"", b"hell", b"hello!"])
async def test_the_audit_finds_a_file_of_another_size(layers: Layers, folder: Path, content: bytes) -> None:
    await layers.complete()
    (folder / PUBLISHED).write_bytes(content)
    assert await status(layers) is Status.DAMAGED
    assert (folder / PUBLISHED).read_bytes() == content


async def test_a_file_that_comes_back_is_damaged_no_more(layers: Layers, folder: Path) -> None:
    await layers.complete()
    (folder / PUBLISHED).rename(folder / "elsewhere")
    assert await status(layers) is Status.DAMAGED
    assert await status(layers) is Status.DAMAGED
    (folder / "elsewhere").rename(folder / PUBLISHED)
    with capture_logs() as logs:
        assert await status(layers) is Status.STORED
    assert [(entry["event"], entry["upload"]) for entry in logs] == [("damaged upload is whole again", str(ID))]


@pytest.mark.parametrize("content", [b"", b"hell", b"jello", b"hello!"])
async def test_a_file_that_comes_back_changed_stays_damaged(layers: Layers, folder: Path, content: bytes) -> None:
    await layers.complete()
    (folder / PUBLISHED).unlink()
    assert await status(layers) is Status.DAMAGED
    (folder / PUBLISHED).write_bytes(content)
    assert await status(layers) is Status.DAMAGED


async def test_the_audit_lets_a_deletion_under_way_be(layers: Layers, folder: Path) -> None:
    await layers.complete()
    await layers.store.retract(MARK, PUBLISHED)
    assert await status(layers) is Status.STORED


async def test_damage_is_confirmed_and_recorded(layers: Layers, folder: Path) -> None:
    await layers.complete()
    assert not await confirm_damage(layers.store, layers.catalog, RECORD)
    (folder / PUBLISHED).unlink()
    assert await confirm_damage(layers.store, layers.catalog, RECORD)
    damaged = await layers.catalog.get(ID)
    assert damaged.status is Status.DAMAGED
    for known_as in (RECORD, damaged):
        assert await confirm_damage(layers.store, layers.catalog, known_as)


async def test_what_is_deleted_is_not_damaged(layers: Layers, folder: Path) -> None:
    await layers.complete()
    await layers.store.retract(MARK, PUBLISHED)
    assert not await confirm_damage(layers.store, layers.catalog, RECORD)
    await layers.catalog.remove(ID)
    await layers.store.discard(MARK)
    assert not await confirm_damage(layers.store, layers.catalog, RECORD)
    await layers.record()
    assert (await layers.catalog.get(ID)).status is Status.STORED


async def test_a_deletion_undone_meanwhile_is_not_damage(layers: Layers, folder: Path) -> None:
    inspector = Inspector(workers=1, timeout=1, memory=1)
    intake = Intake(layers.store, layers.catalog, inspector, Locks(folder / "locks"), Rules(1, frozenset()))
    await layers.complete()
    await impatient(layers.catalog)
    with locked(folder.with_name("catalog.sqlite")):
        for _ in range(30):
            verdicts = asyncio.gather(*(confirm_damage(layers.store, layers.catalog, RECORD) for _ in range(5)))
            with pytest.raises(Busy):
                await intake.remove(ID)
            assert not any(await verdicts)


async def test_the_audit_looks_at_every_record(layers: Layers, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "PAGE", 3)
    ids = [UUID(int=number << 120 | 4) for number in range(8)]
    for id in ids:
        await layers.complete(id)
    for id in ids[::2]:
        (folder / f"audio/{id.hex[:2]}/{id}.wav").unlink()
    await audit(layers.store, layers.catalog)
    assert {record.id for record in await layers.records() if record.status is Status.DAMAGED} == set(ids[::2])


async def test_a_page_that_cannot_be_compared_is_said_and_costs_no_other(
    layers: Layers, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "PAGE", 1)
    monkeypatch.setattr(disk_module, "GRACE", -1.0)
    missing, broken, unknown = (UUID(int=number << 120 | 4) for number in (1, 2, 3))
    for id in (ID, missing, broken):
        await layers.complete(id)
    await layers.publish(unknown)
    for id in (broken, missing):
        (folder / f"audio/{id.hex[:2]}/{id}.wav").unlink()
    (folder / "audio/02").rmdir()
    (folder / "audio/02").write_bytes(b"no folder")
    with capture_logs() as logs:
        await audit(layers.store, layers.catalog)
    assert [entry["event"] for entry in logs] == [
        "record not compared with its file",
        "stored upload is damaged",
        "folder not listed",
        "folder not listed",
        "file without a record put aside",
    ]
    assert {record.id: record.status for record in await layers.records()} == {
        broken: Status.STORED,
        missing: Status.DAMAGED,
        ID: Status.STORED,
    }
    assert f"orphans/{unknown}.wav" in files(folder)


async def test_the_audit_outlives_a_catalog_that_fails_for_a_while(
    layers: Layers, folder: Path, tmp_path: Path
) -> None:
    await layers.complete()
    (folder / PUBLISHED).unlink()
    query(tmp_path / "catalog.sqlite", "ALTER TABLE uploads RENAME TO lost")
    with capture_logs() as logs:
        auditing = asyncio.create_task(audit(layers.store, layers.catalog))
        await asyncio.wait([auditing], timeout=0.2)
    query(tmp_path / "catalog.sqlite", "ALTER TABLE lost RENAME TO uploads")
    await auditing
    assert logs[0]["event"] == "records not listed"
    assert (await layers.catalog.get(ID)).status is Status.DAMAGED


async def test_files_that_cannot_be_compared_are_left_alone(
    layers: Layers, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_module, "GRACE", -1.0)
    await layers.publish()
    with capture_logs() as logs:
        auditing = asyncio.create_task(reconcile._audit_files(layers.store, layers.catalog))
        query(tmp_path / "catalog.sqlite", "ALTER TABLE uploads RENAME TO lost")
        await auditing
    assert [entry["event"] for entry in logs] == ["files not compared with their records"]
    assert PUBLISHED in files(folder)


async def test_the_audit_ends_at_once_when_it_is_cancelled(layers: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "PAGE", 1)
    for number in range(3):
        await layers.complete(UUID(int=number << 120 | 4))
    for turns in range(0, 60, 3):
        auditing = asyncio.create_task(audit(layers.store, layers.catalog))
        for _ in range(turns):
            await asyncio.sleep(0)
        auditing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await auditing


async def test_the_audit_puts_aside_old_files_without_a_record(
    layers: Layers, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = UUID(int=7)
    await layers.complete()
    await layers.publish(unknown)
    await layers.store.discard(layers.store.locator_of(unknown))
    (folder / "audio/00/notes.txt").write_bytes(b"mine")
    young = [f"audio/00/{unknown}.wav", "audio/00/notes.txt", PUBLISHED]
    await audit(layers.store, layers.catalog)
    assert files(folder) == young
    monkeypatch.setattr(disk_module, "GRACE", -1.0)
    await audit(layers.store, layers.catalog)
    assert files(folder) == ["audio/00/notes.txt", PUBLISHED, f"orphans/{unknown}.wav"]
    assert await layers.records() == [RECORD]


@pytest.mark.parametrize(("without_record", "moved"), [(10, 10), (11, 0)])
async def test_the_audit_does_not_empty_the_archive_for_another_catalog(
    layers: Layers, folder: Path, monkeypatch: pytest.MonkeyPatch, without_record: int, moved: int
) -> None:
    monkeypatch.setattr(disk_module, "GRACE", -1.0)
    await layers.complete()
    for number in range(without_record):
        await layers.publish(UUID(int=number))
    with capture_logs() as logs:
        await audit(layers.store, layers.catalog)
    assert len(list((folder / "orphans").iterdir())) == moved
    refusals = [entry for entry in logs if entry["event"] == "the catalog does not seem to belong to this folder"]
    assert len(refusals) == (moved == 0)


async def test_some_files_without_a_record_are_put_aside_from_a_large_archive(
    layers: Layers, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_module, "GRACE", -1.0)
    for number in range(1, 13):
        await layers.complete(UUID(int=number << 120))
        await layers.publish(UUID(int=number))
    await audit(layers.store, layers.catalog)
    assert len(list((folder / "orphans").iterdir())) == 12


async def test_a_concatenation_that_was_killed_leaves_nothing(layers: Layers, folder: Path) -> None:
    made = upload(ID, status=Status.RECEIVING, stored=None, terms=Terms(final=True))
    for leave in (layers.receive, layers.publish):
        await leave()
        await layers.catalog.create(made)
        await recover(layers.store, layers.catalog)
        assert await layers.records() == []
        assert [name for name in files(folder) if not name.startswith("orphans/")] == []
