"""Faults of the machine itself: full disks, disks that fail or hang, a catalog that is locked or killed."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import ClientResponse

from maie_aiohttp.catalogs import schema
from maie_aiohttp.stores import fsio
from maie_aiohttp.stores.folder import SHARDS
from maie_aiohttp.web.appkeys import CATALOG
from tests import audio
from tests.catalogs.test_upgrade import FIRST
from tests.conftest import Client, configure, files, send, serving
from tests.faults.invariants import disagreements
from tests.faults.one_upload import HEADERS
from tests.faults.power_cut import Disk
from tests.layers import MIB, as_root, impatient, locked, memory_disk
from tests.wire import END, FORM, WAV, Edge, Wire, file, request

SAMPLE = audio.sample("wav-u8")
TUS = {"Tus-Resumable": "1.0.0"}

traced = pytest.mark.skipif(shutil.which("strace") is None, reason="strace breaks the system calls")
with_ext4 = pytest.mark.skipif(
    shutil.which("mkfs.ext4") is None or not Path("/dev/loop-control").exists(), reason="mounts an ext4"
)


async def pieces(size: int) -> AsyncIterator[bytes]:
    """A recording that does not say how long it is."""
    for piece in audio.long_wav(size):
        yield piece


async def problem(answer: ClientResponse) -> tuple[int, str]:
    """Status and kind of a refusal."""
    return answer.status, (await answer.json(content_type=None))["type"].rpartition(":")[2]


@asynccontextmanager
async def small_disk(folder: Path, options: str) -> AsyncIterator[tuple[Client, Path]]:
    """A server with a disk of its own, and that disk."""
    with memory_disk(folder, options) as disk:
        async with serving(configure(disk / "data")) as client:
            yield client, disk


def fill(disk: Path) -> Path:
    """Take all the room there is. Returns the file to remove."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as taken, suppress(OSError):
        while True:
            taken.write(bytes(4096))
    return filler


async def refuses_and_serves(client: Client, record: dict[str, str], expected: tuple[int, str]) -> None:
    """No upload is taken, and everything else goes on."""
    for body in (SAMPLE.content, pieces(MIB)):
        async with client.post("/v1/uploads", data=body, headers=HEADERS) as refused:
            assert await problem(refused) == expected
    async with client.get(f"/v1/uploads/{record['id']}/content") as content:
        assert await content.read() == SAMPLE.content
    async with client.get("/v1/uploads") as listed:
        assert [one["id"] for one in (await listed.json())["uploads"]] == [record["id"]]
    async with client.get("/ready") as ready:
        assert ready.status == 503


@as_root
async def test_fault_16_a_full_disk_refuses_uploads_and_serves_the_rest(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "disk", "size=4m,mode=755") as (client, disk):
        record = await send(client, SAMPLE)
        kept = files(disk / "data")
        filler = fill(disk)
        await refuses_and_serves(client, record, (507, "storage-full"))
        assert files(disk / "data") == kept
        filler.unlink()
        await asyncio.sleep(0.2)  # so long one measurement of the free space is good enough
        await send(client, SAMPLE)
        async with client.get("/ready") as ready:
            assert ready.status == 200
        assert list(disagreements(disk / "data")) == []


@as_root
async def test_fault_18_a_disk_without_inodes_refuses_uploads_and_serves_the_rest(tmp_path: Path) -> None:
    async with small_disk(tmp_path / "disk", f"size=16m,mode=755,nr_inodes={len(SHARDS) + 40}") as (client, disk):
        record = await send(client, SAMPLE)
        kept, taken = files(disk / "data"), disk / "taken"
        taken.mkdir()
        with suppress(OSError):
            for number in range(100):
                (taken / str(number)).touch()
        async with client.post("/v1/uploads", data=SAMPLE.content, headers=HEADERS) as refused:
            assert await problem(refused) == (507, "storage-full")
        async with client.get(f"/v1/uploads/{record['id']}/content") as content:
            assert await content.read() == SAMPLE.content
        assert files(disk / "data") == kept
        shutil.rmtree(taken)
        await send(client, SAMPLE)


@as_root
@with_ext4
async def test_fault_26_a_file_system_that_turns_read_only_serves_what_it_has(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    with disk.mounted("errors=remount-ro") as data:
        async with serving(configure(data)) as client:
            record = await send(client, SAMPLE)
            kept = files(data)
            disk.fail()
            await refuses_and_serves(client, record, (500, "storage-failed"))
            assert files(data) == kept
    disk.repair()
    with disk.mounted() as data:
        async with serving(configure(data)) as client:
            await send(client, SAMPLE)
        assert list(disagreements(data)) == []


@contextmanager
def hanging(name: str) -> Iterator[threading.Event]:
    """Let the first call of that name that an upload makes hang until the event is set."""
    released, original, first = threading.Event(), getattr(fsio, name), threading.Lock()

    def hang(*args: object, **kwargs: object) -> object:
        if (isinstance(args[0], int) or str(args[0]).endswith(".part")) and first.acquire(blocking=False):
            released.wait()
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fsio, name, hang)
        try:
            yield released
        finally:
            released.set()


@pytest.mark.parametrize("call", ["open", "write", "fdatasync", "link"])
async def test_fault_27_a_disk_that_hangs_for_one_stalls_no_other(client: Client, call: str) -> None:
    before = await send(client, SAMPLE)
    with hanging(call) as released:
        slow = asyncio.create_task(send(client, SAMPLE))
        await asyncio.sleep(0.2)
        for path in ("/health", "/v1/uploads", f"/v1/uploads/{before['id']}"):
            async with client.get(path) as answer:
                assert answer.status == 200
        if call != "link":  # those who publish do so together
            await send(client, SAMPLE)
        assert not slow.done()
        released.set()
        assert (await slow)["status"] == "stored"


async def test_fault_30_who_holds_a_form_behind_its_end_is_too_slow(folder: Path) -> None:
    limits: dict[str, object] = {"idle_timeout": "300 ms"}
    async with serving(configure(folder, limits=limits, server={"linger": "100 ms"})) as client:
        body = file() + END
        held = request(f"Content-Length: {len(body) + 100}", FORM, body=body)
        assert await Edge(client, folder).refuse(held) == (408, "too-slow")


async def test_fault_33_who_hangs_up_behind_the_last_byte_comes_back_for_one_at_most(client: Client) -> None:
    created = await client.post("/v1/uploads", headers={**TUS, "Upload-Length": str(len(WAV))})
    path = created.headers["Location"]
    fields = ("Tus-Resumable: 1.0.0", "Content-Type: application/offset+octet-stream", "Upload-Offset: 0")
    async with Wire.connect(client) as wire:
        wire.send(request(*fields, f"Content-Length: {len(WAV)}", line=f"PATCH {path} HTTP/1.1", body=WAV))
        wire.half_close()
        await wire.rest()
    async with client.head(path, headers=TUS) as told:
        offset = int(told.headers["Upload-Offset"])
        assert offset >= len(WAV) - 1
    headers = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
    async with client.patch(path, data=WAV[offset:], headers=headers) as ended:
        assert ended.status == 204
    async with client.get(path) as shown:
        assert (await shown.json())["status"] == "stored"


async def test_fault_41_a_locked_catalog_is_busy_and_nothing_is_left(client: Client, folder: Path) -> None:
    await impatient(client.server.app[CATALOG])  # type: ignore[attr-defined]  # a test server's
    with locked(folder / "catalog.sqlite"):
        async with client.post("/v1/uploads", data=SAMPLE.content, headers=HEADERS) as refused:
            assert await problem(refused) == (503, "busy")
            assert refused.headers["Retry-After"] == "1"
    assert files(folder) == []
    await send(client, SAMPLE)
    assert list(disagreements(folder)) == []


def test_fault_44_a_migration_that_is_killed_leaves_the_old_schema_or_the_new(tmp_path: Path) -> None:
    first = tmp_path / "first.sqlite"
    with sqlite3.connect(first) as connection:
        connection.executescript(FIRST)
    connection.close()
    command = [sys.executable, "-m", "tests.faults.migration", str(first)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) > 20
    assert set(lines[:-1]) <= {f"killed: {version}, [1, 1]" for version in ("0001", schema.REVISION)}
    assert lines[-1] == f"done: {schema.REVISION}, [1, 1]"


@traced
@pytest.mark.parametrize(
    ("fault", "file", "answers"),
    [
        ("fdatasync:error=EIO", "catalog.sqlite-wal", {"500 urn:maie:problem:storage-failed"}),
        ("pwrite64:error=ENOSPC", "catalog.sqlite-wal", {"507 urn:maie:problem:storage-full"}),
        ("pwrite64:error=EIO", "catalog.sqlite-wal", {"500 urn:maie:problem:storage-failed"}),
        ("fdatasync:signal=KILL", "catalog.sqlite-wal", set()),
        ("pwrite64:signal=KILL", "catalog.sqlite-wal", set()),
    ],
)
async def test_the_catalogs_own_files_fail(folder: Path, fault: str, file: str, answers: set[str]) -> None:
    async with serving(configure(folder)) as client:
        await send(client, SAMPLE)
    trace = ["strace", "-f", "-o", "/dev/null", "-P", str(folder / file), "-e", f"inject={fault}"]
    program = [sys.executable, "-m", "tests.faults.one_upload", str(folder)]
    done = await asyncio.to_thread(subprocess.run, [*trace, *program], capture_output=True, text=True, check=False)
    told = {line.removeprefix("answer ") for line in done.stdout.splitlines() if line.startswith("answer ")}
    assert told == answers, done.stderr
    async with serving(configure(folder)) as client:
        await send(client, SAMPLE)
    assert list(disagreements(folder)) == []
