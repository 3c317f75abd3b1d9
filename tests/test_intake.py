"""A delivery: everything in it is stored, or nothing of it is left."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.errors import (
    Busy,
    Damaged,
    DigestMismatch,
    Empty,
    IntakeError,
    NotAudio,
    NotFound,
    StorageFailed,
    StorageFull,
    TooLarge,
    Truncated,
)
from maie_aiohttp.formats import CORE
from maie_aiohttp.inspection.inspector import Inspector
from maie_aiohttp.intake.delivery import Intake, Rules
from maie_aiohttp.model import Declared, Status, Upload
from maie_aiohttp.stores.disk import DiskStore
from maie_aiohttp.upkeep.reconcile import recover
from tests import audio
from tests.conftest import files
from tests.layers import (
    KIB,
    MIB,
    content,
    disk_store,
    impatient,
    locked,
    no_descriptors,
    pieces,
    query,
    small,
    sql_catalog,
    stored_part,
    upload_locks,
)

WAV = b"".join(audio.long_wav(38_000))
NOT_AUDIO = b"MZ" + bytes(100_000)


@pytest.fixture
def catalog_path(tmp_path: Path) -> Path:
    """Where the catalog is."""
    return tmp_path / "catalog.sqlite"


@pytest.fixture
async def catalog(catalog_path: Path) -> AsyncIterator[SqlCatalog]:
    """A catalog that does not wait for a lock."""
    async with sql_catalog(catalog_path) as catalog:
        await impatient(catalog)
        yield catalog


@pytest.fixture
async def intake(folder: Path, catalog: SqlCatalog) -> AsyncIterator[Intake]:
    """An intake of at most 1 MiB a request, on a real disk and a real catalog."""
    inspector = Inspector(workers=1, timeout=60, memory=256 * MIB)
    with disk_store(folder) as store, upload_locks(folder) as locks:
        yield Intake(store, catalog, inspector, locks, Rules(MIB, CORE))
    await inspector.stop()


async def deliver(intake: Intake, *contents: bytes) -> Sequence[Upload]:
    """A whole request."""
    async with intake.delivery(Declared()) as delivery:
        for one in contents:
            await delivery.receive(Declared(filename="speech.wav"), pieces(*halves(one)))
        return await delivery.settle({"speaker": "Ada"})


def halves(content: bytes) -> tuple[bytes, bytes]:
    return content[: len(content) // 2], content[len(content) // 2 :]


async def everything(intake: Intake) -> Sequence[Upload]:
    return await intake.catalog.list(500, status=None, after=None)


async def nothing_left(intake: Intake, folder: Path) -> bool:
    return files(folder) == [] and await everything(intake) == []


async def consistent(intake: Intake, folder: Path) -> None:
    """Every record has its file, every file its record, and nothing is on its way."""
    found = await everything(intake)
    assert files(folder) == sorted(stored_part(upload).locator for upload in found)
    for stored in map(stored_part, found):
        assert hashlib.sha256((folder / stored.locator).read_bytes()).hexdigest() == stored.sha256


async def test_all_files_of_a_request_are_stored_together(intake: Intake, folder: Path, catalog_path: Path) -> None:
    first, second = await deliver(intake, WAV, WAV + b"\0\0")
    stored = stored_part(first)
    assert stored.sha256 == hashlib.sha256(WAV).hexdigest()
    assert (first.size, second.size, second.offset) == (len(WAV), len(WAV) + 2, len(WAV) + 2)
    assert (first.filename, stored.format, stored.media_type) == ("speech.wav", "wav", "audio/wav")
    assert first.status is Status.STORED
    assert first.created_at <= stored.at
    assert first.metadata == {"speaker": "Ada"}
    assert await everything(intake) == [second, first]
    await consistent(intake, folder)
    assert len(query(catalog_path, "SELECT * FROM outbox")) == 2


async def test_what_the_head_cannot_prove_is_decoded(intake: Intake, folder: Path) -> None:
    (stored,) = await deliver(intake, audio.sample("mp3").content)
    assert stored_part(stored).locator.endswith(".mp3")
    silence = audio.sample("mp3").content[:100]
    with pytest.raises(NotAudio):
        await deliver(intake, WAV, silence)
    assert await everything(intake) == [stored]
    await consistent(intake, folder)


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        (Declared(filename="report.pdf"), NotAudio),
        (Declared(media_type="text/html"), NotAudio),
        (Declared(at_most=0), Empty),
        (Declared(at_most=MIB + 1), TooLarge),
    ],
)
async def test_what_is_declared_wrongly_is_refused_at_the_door(
    intake: Intake, declared: Declared, reason: type[IntakeError]
) -> None:
    with pytest.raises(reason):
        await intake.admit(declared)


def test_names_and_types_are_checked_by_themselves(intake: Intake) -> None:
    intake.check(Declared("speech.wav", "audio/wav", 2 * MIB))
    for wrong in (Declared(filename="report.pdf"), Declared(media_type="text/html")):
        with pytest.raises(NotAudio):
            intake.check(wrong)


async def test_an_ordinary_declaration_is_admitted(intake: Intake) -> None:
    await intake.admit(Declared("speech.wav", "audio/wav", MIB))
    await intake.admit(Declared())


@pytest.mark.parametrize(
    ("second", "reason"),
    [(NOT_AUDIO, NotAudio), (b"text", NotAudio), (b"", Empty), (WAV * 40, TooLarge)],
    ids=["program", "text", "empty", "large"],
)
async def test_one_refused_file_refuses_all(
    intake: Intake, folder: Path, second: bytes, reason: type[IntakeError]
) -> None:
    with pytest.raises(reason):
        await deliver(intake, WAV, second)
    assert await nothing_left(intake, folder)


async def test_the_limit_is_for_all_files_together(intake: Intake, folder: Path) -> None:
    large = b"".join(audio.long_wav(700 * KIB))
    with pytest.raises(TooLarge):
        await deliver(intake, large, large)
    assert await nothing_left(intake, folder)


async def test_a_wrong_digest_leaves_nothing(intake: Intake, folder: Path) -> None:
    async with intake.delivery(Declared()) as delivery:
        with pytest.raises(DigestMismatch):
            await delivery.receive(Declared(digests={"sha256": bytes(32)}), pieces(WAV))
    assert await nothing_left(intake, folder)


async def test_a_client_that_breaks_off_leaves_nothing(intake: Intake, folder: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield WAV
        yield bytes(200_000)
        raise Truncated("gone")

    async def breaking_off() -> None:
        async with intake.delivery(Declared()) as delivery:
            await delivery.receive(Declared(), pieces(WAV))
            await delivery.receive(Declared(), broken())

    with pytest.raises(Truncated):
        await breaking_off()
    assert await nothing_left(intake, folder)


async def test_what_is_never_settled_leaves_nothing(intake: Intake, folder: Path) -> None:
    async with intake.delivery(Declared()) as delivery:
        await delivery.receive(Declared(), pieces(WAV))
    assert await nothing_left(intake, folder)


async def test_a_full_catalog_leaves_nothing(intake: Intake, catalog: SqlCatalog, folder: Path) -> None:
    await small(catalog)
    text = {"text": "x" * 100_000}
    async with intake.delivery(Declared()) as delivery:
        await delivery.receive(Declared(), pieces(WAV))
        await delivery.receive(Declared(), pieces(WAV))
        with pytest.raises(StorageFull):
            await delivery.settle(text)
    assert await nothing_left(intake, folder)


async def test_a_locked_catalog_leaves_nothing(intake: Intake, catalog_path: Path, folder: Path) -> None:
    with locked(catalog_path), pytest.raises(Busy):
        await deliver(intake, WAV, WAV)
    assert await nothing_left(intake, folder)
    await deliver(intake, WAV)
    await consistent(intake, folder)


async def test_a_catalog_that_takes_no_records_leaves_nothing(intake: Intake, catalog_path: Path, folder: Path) -> None:
    query(catalog_path, "ALTER TABLE outbox RENAME TO lost")
    for _ in range(3):
        with pytest.raises(StorageFailed):
            await deliver(intake, WAV, WAV)
    assert await nothing_left(intake, folder)


async def test_a_catalog_that_does_not_answer_leaves_the_decision_to_the_next_start(
    intake: Intake, catalog: SqlCatalog, catalog_path: Path, folder: Path
) -> None:
    query(catalog_path, "ALTER TABLE uploads RENAME TO lost")
    with pytest.raises(StorageFailed):
        await deliver(intake, WAV, WAV)
    assert {Path(name).parts[0] for name in files(folder)} == {"audio", "incoming"}
    query(catalog_path, "ALTER TABLE lost RENAME TO uploads")
    await recover(intake.store, catalog)
    assert {Path(name).parts[0] for name in files(folder)} == {"orphans"}
    assert len(files(folder)) == 2


async def test_a_record_whose_acknowledgement_got_lost_is_stored(
    intake: Intake, catalog: SqlCatalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = catalog.settle

    async def settle_and_fail(*given: Any) -> None:
        await settle(*given)
        raise StorageFailed("The connection was lost.")

    monkeypatch.setattr(catalog, "settle", settle_and_fail)
    assert await deliver(intake, WAV) == await everything(intake)
    await consistent(intake, folder)


async def test_whatever_else_goes_wrong_leaves_nothing(intake: Intake, folder: Path) -> None:
    async with intake.delivery(Declared()) as delivery:
        await delivery.receive(Declared(filename="\ud800"), pieces(WAV))
        with pytest.raises(UnicodeEncodeError):
            await delivery.settle({})
    assert await nothing_left(intake, folder)


async def test_a_file_that_cannot_be_published_takes_the_others_back(
    intake: Intake, catalog_path: Path, folder: Path
) -> None:
    async with intake.delivery(Declared()) as delivery:
        for _ in range(3):
            await delivery.receive(Declared(), pieces(WAV))
        lost = sorted((folder / "incoming").iterdir())[1]
        lost.unlink()
        query(catalog_path, "ALTER TABLE uploads RENAME TO lost")
        with pytest.raises(StorageFailed):
            await delivery.settle({})
    assert files(folder) == []


async def test_what_cannot_be_discarded_is_said(intake: Intake, folder: Path) -> None:
    with capture_logs() as logs:
        async with intake.delivery(Declared()) as delivery:
            await delivery.receive(Declared(), pieces(WAV))
            (mark,) = (folder / "incoming").iterdir()
            mark.unlink()
            mark.mkdir()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("unfinished upload not discarded", "warning")]


async def test_a_publication_that_fails_leaves_nothing(intake: Intake, folder: Path) -> None:
    async with intake.delivery(Declared()) as delivery:
        await delivery.receive(Declared(), pieces(WAV))
        with no_descriptors(), pytest.raises(Busy):
            await delivery.settle({})
    assert await nothing_left(intake, folder)


async def test_a_retraction_that_fails_leaves_the_marks(
    intake: Intake, catalog: SqlCatalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio, away = folder / "audio", folder / "away"

    async def refuse(*_: object) -> None:
        audio.rename(away)
        audio.touch()
        raise StorageFull("There is no room.")

    monkeypatch.setattr(catalog, "settle", refuse)
    with pytest.raises(StorageFailed):
        await deliver(intake, WAV)
    assert [Path(name).parts[0] for name in files(folder)] == ["incoming"]
    audio.unlink()
    away.rename(audio)
    await recover(intake.store, catalog)
    assert [Path(name).parts[0] for name in files(folder)] == ["orphans"]
    assert await everything(intake) == []


async def test_deleting(intake: Intake, folder: Path, catalog_path: Path) -> None:
    kept, removed = await deliver(intake, WAV, WAV)
    await intake.remove(removed.id)
    with pytest.raises(NotFound):
        await intake.remove(removed.id)
    with pytest.raises(NotFound):
        await intake.remove(uuid4())
    assert await everything(intake) == [kept]
    await consistent(intake, folder)
    assert len(query(catalog_path, "SELECT * FROM outbox")) == 1


async def test_a_deletion_that_was_not_done_has_done_nothing(intake: Intake, catalog_path: Path, folder: Path) -> None:
    (stored,) = await deliver(intake, WAV)
    with locked(catalog_path), pytest.raises(Busy):
        await intake.remove(stored.id)
    await consistent(intake, folder)
    assert await everything(intake) == [stored]
    await intake.remove(stored.id)
    assert await nothing_left(intake, folder)


async def test_a_deletion_of_unknown_outcome_is_decided_by_the_next_start(
    intake: Intake, catalog_path: Path, folder: Path
) -> None:
    (stored,) = await deliver(intake, WAV)
    query(catalog_path, "CREATE TRIGGER broken BEFORE DELETE ON uploads BEGIN SELECT raise(ABORT, 'no'); END")
    with pytest.raises(StorageFailed):
        await intake.remove(stored.id)
    assert files(folder) == [f"incoming/{stored.id}.part"]
    await recover(intake.store, intake.catalog)
    await consistent(intake, folder)


async def test_deleted_twice_at_once(intake: Intake, folder: Path) -> None:
    for _ in range(200):
        (stored,) = await deliver(intake, WAV[:1000])
        outcomes = await asyncio.gather(*(intake.remove(stored.id) for _ in range(2)), return_exceptions=True)
        assert sorted(map(str, outcomes)) == ["None", "There is no such upload."]
    assert await nothing_left(intake, folder)


async def test_deleted_twice_at_once_while_the_catalog_is_locked(
    intake: Intake, catalog_path: Path, folder: Path
) -> None:
    for turns in range(0, 300, 3):
        (stored,) = await deliver(intake, WAV[:1000])
        with locked(catalog_path):
            removals = [asyncio.create_task(intake.remove(stored.id)) for _ in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0)
        await asyncio.gather(*removals, return_exceptions=True)
        await consistent(intake, folder)


async def test_deleted_while_it_is_read(intake: Intake, folder: Path) -> None:
    store = intake.store
    assert isinstance(store, DiskStore)
    outcomes: set[object] = set()
    for number in range(100):
        (stored,) = await deliver(intake, WAV)
        reading = asyncio.create_task(content(store, stored_part(stored).locator))
        for _ in range(number % 10):
            await asyncio.sleep(0)
        await intake.remove(stored.id)
        try:
            outcomes.add(await reading == WAV)
        except (AssertionError, Damaged):
            outcomes.add("gone")
    assert outcomes <= {True, "gone"}
    assert await nothing_left(intake, folder)


async def cancelled_after(turns: int, work: asyncio.Task[object]) -> bool:
    """Cancel after so many turns of the loop; whether that came in time."""
    for _ in range(turns):
        await asyncio.sleep(0)
    work.cancel()
    try:
        await work
    except asyncio.CancelledError:
        return True
    return False


async def test_cancelled_anywhere_it_is_stored_whole_or_not_at_all(intake: Intake, folder: Path) -> None:
    for _ in range(60):
        before = len(await everything(intake))
        work: asyncio.Task[object] = asyncio.create_task(deliver(intake, WAV[:1000], WAV[:2000]))
        in_time = await cancelled_after(random.Random(before).randrange(60), work)
        await consistent(intake, folder)
        assert len(await everything(intake)) - before in ({0, 2} if in_time else {2})


async def test_settling_once_begun_is_ended_however_often_it_is_cancelled(intake: Intake, folder: Path) -> None:
    async with intake.delivery(Declared()) as delivery:
        await delivery.receive(Declared(), pieces(WAV))
        await delivery.receive(Declared(), pieces(WAV))
        settling = asyncio.create_task(delivery.settle({}))
        await asyncio.sleep(0)
        while not settling.done():
            settling.cancel()
            await asyncio.sleep(0.001)
        assert settling.cancelled()
    assert len(await everything(intake)) == 2
    await consistent(intake, folder)


async def test_a_deletion_once_begun_is_ended_although_cancelled(intake: Intake, folder: Path) -> None:
    for turns in range(1, 40):
        (stored,) = await deliver(intake, WAV[:1000])
        work: asyncio.Task[object] = asyncio.create_task(intake.remove(stored.id))
        await cancelled_after(turns, work)
        assert await nothing_left(intake, folder)


async def deliver_one(root: Path) -> None:
    """The program for the test below."""
    inspector = Inspector(workers=1, timeout=60, memory=256 * MIB)
    async with sql_catalog(root.with_name("catalog.sqlite")) as catalog:
        with disk_store(root) as store, upload_locks(root) as locks:
            (stored,) = await deliver(Intake(store, catalog, inspector, locks, Rules(MIB, CORE)), WAV)
            sys.stdout.write(f"{stored.id}\n")


async def recover_one(root: Path, id: UUID) -> Upload:
    async with sql_catalog(root.with_name("catalog.sqlite")) as catalog:
        with disk_store(root) as store:
            await recover(store, catalog)
            return await catalog.get(id)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace breaks the system calls")
def test_what_is_stored_is_stored_though_its_mark_cannot_be_removed(folder: Path) -> None:
    fault = ["strace", "-f", "-o", "/dev/null", "-e", "inject=unlinkat:error=EIO"]
    program = [sys.executable, "-m", "tests.test_intake", str(folder)]
    done = subprocess.run([*fault, *program], capture_output=True, text=True, check=True)
    id = UUID(done.stdout.split()[-1])
    assert files(folder) == [f"audio/{id.hex[:2]}/{id}.wav", f"incoming/{id}.part"]
    stored = asyncio.run(recover_one(folder, id))
    assert files(folder) == [stored_part(stored).locator]


if __name__ == "__main__":
    asyncio.run(deliver_one(Path(sys.argv[1])))
