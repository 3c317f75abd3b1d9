"""What only the local disk can do: fail, and in many ways."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from maie_aiohttp.errors import Busy, Damaged, StorageFailed, StorageFull, TooLarge
from maie_aiohttp.interfaces import Chunk, nothing, unheard
from maie_aiohttp.limits.unread import HELD_RECEIPTS, LARGEST
from maie_aiohttp.settings import Settings
from maie_aiohttp.stores import append, fsio
from maie_aiohttp.stores import disk as module
from maie_aiohttp.stores.append import PASS_ON_EVERY
from maie_aiohttp.stores.disk import DiskStore
from maie_aiohttp.stores.part import PartFile
from maie_aiohttp.stores.shelf import Shelf
from maie_aiohttp.stores.space import FRESH
from maie_aiohttp.stores.writer import DEPTH
from tests.crew import until
from tests.layers import (
    MIB,
    as_root,
    content,
    disk_store,
    limited,
    memory_disk,
    no_descriptors,
    pieces,
    unconcerned,
)
from tests.wire import DEADLINE

ID = UUID("abcdef00-0000-4000-8000-000000000001")
MARK = f"incoming/{ID}.part"
PUBLISHED = f"audio/ab/{ID}.wav"

traced = pytest.mark.skipif(shutil.which("strace") is None, reason="strace breaks the system calls")


async def test_names_on_disk(disk: DiskStore, root: Path) -> None:
    assert disk.locator_of(ID) == MARK
    await disk.append(MARK, 0, pieces(b"hello"), unconcerned)
    assert await disk.publish(MARK, ID, ".wav") == PUBLISHED
    assert disk.path(PUBLISHED).read_bytes() == b"hello"
    assert (root / MARK).samefile(root / PUBLISHED)


async def test_orphans_keep_their_name(disk: DiskStore, root: Path) -> None:
    await disk.append(MARK, 0, pieces(b"hello"), unconcerned)
    await disk.quarantine(await disk.publish(MARK, ID, ".wav"))
    assert (root / f"orphans/{ID}.wav").read_bytes() == b"hello"


async def test_lists_what_is_its_own_and_old_enough(
    disk: DiskStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {uuid4() for _ in range(600)}
    for id in ids:
        (root / f"audio/{id.hex[:2]}/{id}.mp3").touch()
    for foreign in ("notes.txt", f"{ID.hex}.wav", f"{ID}.wav.bak", f"{{{ID}}}.wav", f"{str(ID).upper()}.wav"):
        (root / "audio/ab" / foreign).touch()
    assert [batch async for batch in disk.all_published()] == []
    monkeypatch.setattr(module, "GRACE", -1.0)
    batches = [batch async for batch in disk.all_published()]
    assert {id for batch in batches for id, _ in batch} == ids
    assert [len(batch) for batch in batches] == [500, 100]
    assert await disk.published([ID]) == {}


def test_a_file_deleted_while_all_are_listed_is_left_out(root: Path) -> None:
    ids = [UUID(int=number) for number in range(3)]
    with disk_store(root):
        for id in ids:
            (root / f"audio/00/{id}.wav").touch()
        descriptor = os.open(root, os.O_RDONLY)
        listing = Shelf(descriptor).all_published(until=float("inf"))
        found, _ = next(listing)
        gone = next(id for id in ids if id != found)
        (root / f"audio/00/{gone}.wav").unlink()
        assert {found, *(id for id, _ in listing)} == {*ids} - {gone}
        os.close(descriptor)


async def test_marks_in_another_form_are_left_alone(disk: DiskStore, root: Path) -> None:
    for foreign in (f"{ID.hex}.part", f"{ID}.part.bak", "notes.part", f"{ID}.wav"):
        (root / "incoming" / foreign).touch()
    assert await disk.unfinished() == []


async def test_a_long_upload_is_made_durable_on_its_way_for_whoever_hears_of_it(disk: DiskStore, root: Path) -> None:
    heard: list[int] = []

    async def advance(size: int) -> None:
        heard.append(size)

    mibs = PASS_ON_EVERY // MIB + 2
    for listener in (advance, None):
        size = await disk.append(MARK, 0, pieces(*[bytes(MIB)] * mibs), unconcerned, advance=listener)
        assert size == (root / MARK).stat().st_size == mibs * MIB
    assert len(heard) == 1
    assert PASS_ON_EVERY <= heard[0] <= size


class Flushes:
    """Stands before the system's `fdatasync`, and lets as many through as `through` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        """Of the file, when each one began."""
        self.through = threading.Semaphore(0)
        self.fails: OSError | None = None
        """What the next one raises, once: the system tells only one who flushes that bytes were lost."""
        self._fdatasync = fsio.fdatasync
        monkeypatch.setattr(fsio, "fdatasync", self)

    def __call__(self, descriptor: int) -> None:
        self.sizes.append(os.fstat(descriptor).st_size)
        assert self.through.acquire(timeout=DEADLINE)
        fails, self.fails = self.fails, None
        if fails is not None:
            raise fails
        self._fdatasync(descriptor)


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> Flushes:
    return Flushes(monkeypatch)


FAR = 40
"""MiB, more than may wait to be durable."""

AHEAD = 2 * PASS_ON_EVERY + 2 * DEPTH * MIB
"""Bytes; no more may be written that nobody has heard of, blocks of 1 MiB under way included."""


@pytest.mark.parametrize("before", [0, 1], ids=["first", "second"])
async def test_writing_goes_on_during_a_flush_but_not_far(
    disk: DiskStore, root: Path, flushes: Flushes, before: int
) -> None:
    """And nobody hears of bytes that were written meanwhile."""
    heard: asyncio.Queue[int] = asyncio.Queue()
    for _ in range(before):
        flushes.through.release()
    sending = asyncio.create_task(disk.append(MARK, 0, pieces(*[bytes(MIB)] * FAR), unconcerned, advance=heard.put))
    told = [await heard.get() for _ in range(before)]
    far = (before + 2) * PASS_ON_EVERY
    await until(lambda: len(flushes.sizes) > before and (root / MARK).stat().st_size >= far)
    await asyncio.sleep(0.1)
    assert (root / MARK).stat().st_size <= sum(told) + AHEAD
    assert all(size <= flushed for size, flushed in zip(told, flushes.sizes, strict=False))
    assert heard.empty()
    flushes.through.release(FAR)
    assert await sending == FAR * MIB
    assert told[-1:] < [await heard.get()] <= [flushes.sizes[before]]


async def test_writing_waits_for_who_hears_of_it_and_not_only_for_the_disk(disk: DiskStore, root: Path) -> None:
    """What was not heard of is lost in a crash, although it is durable."""
    hears, recorded = asyncio.Event(), asyncio.Event()

    async def slowly(_: int) -> None:
        hears.set()
        await recorded.wait()

    sending = asyncio.create_task(disk.append(MARK, 0, pieces(*[bytes(MIB)] * FAR), unconcerned, advance=slowly))
    await hears.wait()
    await asyncio.sleep(0.1)
    assert (root / MARK).stat().st_size <= AHEAD
    recorded.set()
    assert await sending == FAR * MIB


def test_a_crash_costs_no_more_than_is_promised() -> None:
    """16 MiB: two flushes, the blocks under way, and what was received meanwhile."""
    block = Settings().storage.block_size
    assert 2 * PASS_ON_EVERY + (DEPTH + 3) * block + HELD_RECEIPTS * LARGEST <= 16 * MIB


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def unpublished(_: str) -> None:
    raise AssertionError("It has no other name.")


def test_what_an_executor_does_too_late_changes_nothing(root: Path) -> None:
    """Where there is no thread for it, work is refused and stays in the queue; until the file is another request's."""
    root.mkdir()
    (root / "incoming").mkdir()
    with opened(root) as folder:
        part = PartFile(folder, MARK, 0, unconcerned, nothing, unpublished)
        part.write(b"hello")
        part.close()
        (root / MARK).write_bytes(b"hello, world")
        for late in (part.sync, partial(part.write, b"!"), partial(part.finish, b"")):
            with pytest.raises(StorageFailed):
                late()
    assert (root / MARK).read_bytes() == b"hello, world"


async def test_nobody_hears_of_lost_bytes(disk: DiskStore, flushes: Flushes) -> None:
    """They were lost once, and every flush after that one succeeds."""
    heard: list[int] = []

    async def advance(size: int) -> None:
        heard.append(size)

    flushes.fails = OSError(errno.EIO, "Input/output error")
    flushes.through.release(FAR)
    with pytest.raises(StorageFailed):
        await disk.append(MARK, 0, pieces(*[bytes(MIB)] * FAR), unconcerned, advance=advance)
    assert heard == []
    assert len(flushes.sizes) == 1


async def test_a_disk_that_fails_on_the_way_is_not_ready(disk: DiskStore, flushes: Flushes) -> None:
    flushes.fails = OSError(errno.ENOSPC, "No space left on device")
    flushes.through.release(FAR)
    with pytest.raises(StorageFull):
        await disk.append(MARK, 0, pieces(*[bytes(MIB)] * FAR), unconcerned, advance=unheard)
    flushes.fails = OSError(errno.EIO, "Input/output error")
    with pytest.raises(StorageFailed):
        await disk.probe()
    await disk.probe()


async def test_who_hears_nothing_waits_for_no_flush_on_the_way(disk: DiskStore, flushes: Flushes) -> None:
    flushes.through.release()
    assert await disk.append(MARK, 0, pieces(*[bytes(MIB)] * FAR), unconcerned) == FAR * MIB
    assert flushes.sizes == [FAR * MIB]


async def test_a_slow_upload_is_made_durable_on_its_way_too(disk: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append, "PASS_ON_AFTER", 0.0)
    heard: asyncio.Queue[int] = asyncio.Queue()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"hello"
        assert await heard.get() == 5
        yield b", world"
        assert await heard.get() == 12

    assert await disk.append(MARK, 0, slowly(), unconcerned, advance=heard.put) == 12
    assert heard.empty()


async def test_a_slow_check_does_not_stop_the_others(disk: DiskStore) -> None:
    reached, released = threading.Event(), threading.Event()

    def wait(_: Chunk) -> None:
        reached.set()
        released.wait()

    slow = asyncio.create_task(disk.append(MARK, 0, pieces(b"x"), wait))
    await asyncio.to_thread(reached.wait)
    other = uuid4()
    assert await disk.append(disk.locator_of(other), 0, pieces(b"hello"), unconcerned) == 5
    released.set()
    assert await slow == 1


async def test_a_file_too_large_for_the_system(disk: DiskStore) -> None:
    with limited(resource.RLIMIT_FSIZE, 100_000), pytest.raises(TooLarge):
        await disk.append(MARK, 0, pieces(bytes(99_999), bytes(2)), unconcerned)
    assert await disk.append(MARK, 0, pieces(b"hello"), unconcerned) == 5
    assert await content(disk, MARK) == b"hello"


async def test_without_descriptors_it_is_busy_and_recovers(disk: DiskStore) -> None:
    await disk.append(MARK, 0, pieces(b"hello"), unconcerned)
    with no_descriptors():
        with pytest.raises(Busy):
            await disk.append(disk.locator_of(uuid4()), 0, pieces(b"hello"), unconcerned)
        with pytest.raises(Busy):
            await disk.publish(MARK, ID, ".wav")
        await disk.probe()
    await disk.retract(MARK, PUBLISHED)
    await disk.publish(MARK, ID, ".wav")


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for the layout and three files more."""
    with memory_disk(tmp_path / "tiny", f"size=4m,mode=750,nr_inodes={1 + 3 + 256 + 1 + 3}") as folder:
        yield folder


@as_root
async def test_no_more_files_is_no_more_room(tiny: Path) -> None:
    ids = [uuid4() for _ in range(4)]
    with disk_store(tiny) as store:
        for id in ids[:3]:
            await store.append(store.locator_of(id), 0, pieces(b"hello"), unconcerned)
        with pytest.raises(StorageFull):
            await store.append(store.locator_of(ids[3]), 0, pieces(b"hello"), unconcerned)
        with pytest.raises(StorageFull):
            await store.publish(store.locator_of(ids[0]), ids[0], ".wav")
        with pytest.raises(StorageFull):
            await store.probe()
        assert await store.published(ids[:1]) == {}
        await store.discard(store.locator_of(ids[1]))
        await store.publish(store.locator_of(ids[0]), ids[0], ".wav")


@as_root
async def test_a_full_disk_without_a_reserve_shows_in_the_readiness(tmp_path: Path) -> None:
    with memory_disk(tmp_path / "full", "size=2m,mode=750") as folder, disk_store(folder) as store:
        await store.probe()
        with (folder / "other").open("wb", buffering=0) as other, suppress(OSError):
            while True:
                other.write(bytes(4096))
        await asyncio.sleep(FRESH)
        with pytest.raises(StorageFull):
            await store.probe()


async def test_publishing_that_fails_shows_in_the_readiness(disk: DiskStore, root: Path) -> None:
    await disk.append(MARK, 0, pieces(b"hello"), unconcerned)
    (root / "audio/ab").rmdir()
    (root / "incoming/probe").mkdir()
    with pytest.raises(StorageFailed):
        await disk.publish(MARK, ID, ".wav")
    with pytest.raises(StorageFailed):
        await disk.probe()
    (root / "incoming/probe").rmdir()
    await disk.probe()


def broken(root: Path, fault: str, *paths: str) -> list[str]:
    """How `one_upload` goes when `fault` is put into its system calls on `paths`."""
    with disk_store(root):
        pass
    chosen = [word for path in paths for word in ("-P", root / path)]
    command = ["strace", "-f", "-o", "/dev/null", *chosen, "-e", f"inject={fault}"]
    program = [sys.executable, "-m", "tests.stores.one_upload", root]
    done = subprocess.run(command + program, capture_output=True, text=True, check=True)  # type: ignore[operator]  # of words and paths
    assert done.stderr == ""
    steps: list[str] = done.stdout.splitlines()
    return steps


@traced
@pytest.mark.parametrize(
    ("fault", "paths", "failing"),
    [
        ("write:error=EIO:when=1", [MARK], {"append StorageFailed"}),
        ("write:error=ENOSPC:when=2", [MARK], {"append StorageFull"}),
        ("write:error=EDQUOT:when=2", [MARK], {"append StorageFull"}),
        ("fdatasync:error=EIO:when=1", [MARK], {"append StorageFailed"}),
        ("fdatasync:error=ENOSPC:when=1", [MARK], {"append StorageFull"}),
        ("fsync:error=EIO", ["audio/ab"], {"publish StorageFailed", "read AssertionError", "retract StorageFailed"}),
        ("linkat:error=EROFS", [], {"publish StorageFailed", "read AssertionError", "retract StorageFailed"}),
        ("pread64:error=EIO", [PUBLISHED], {"read StorageFailed"}),
    ],
)
def test_a_failing_disk(root: Path, fault: str, paths: list[str], failing: set[str]) -> None:
    steps = broken(root, fault, *paths)
    assert {step for step in steps if not step.endswith("ok")} == failing
    assert steps[-1] == "probe ok"


def test_what_a_short_write_left_is_written_too(root: Path) -> None:
    """The kernel takes the bytes up to the limit; only the attempt to write the others tells why."""
    with disk_store(root):
        pass
    program = [sys.executable, "-m", "tests.stores.one_upload", str(root)]
    with limited(resource.RLIMIT_FSIZE, 700_000):
        done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "append TooLarge"
    assert (root / MARK).stat().st_size == 700_000


async def test_listings_of_one_folder_at_once_are_all_complete(disk: DiskStore, root: Path) -> None:
    ids = [UUID(int=number) for number in range(3000)]
    for id in ids:
        (root / f"audio/00/{id}.wav").touch()
    listed = await asyncio.gather(*(disk.published(ids) for _ in range(20)))
    assert {len(one) for one in listed} == {len(ids)}


def descriptors() -> list[Path]:
    """What this process has open."""
    return sorted(Path("/proc/self/fd").iterdir())


async def test_a_reading_cancelled_while_it_opens_gives_its_descriptor_back(disk: DiskStore) -> None:
    await disk.append(MARK, 0, pieces(b"hello"), unconcerned)
    before = descriptors()
    for _ in range(20):
        reader = disk.read(MARK, 0, 5)
        opening = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening
    assert descriptors() == before


def test_descriptors_are_given_back(root: Path) -> None:
    async def use() -> None:
        with disk_store(root) as store:
            await store.append(MARK, 0, pieces(b"hello"), unconcerned)
            with pytest.raises(StorageFailed):
                await store.append("incoming", 0, pieces(b"hello"), unconcerned)
            with pytest.raises(Damaged):
                await store.append(MARK, 10, pieces(b"hello"), unconcerned)
            await store.publish(MARK, ID, ".wav")
            await content(store, PUBLISHED)

    before = descriptors()
    asyncio.run(use())
    assert descriptors() == before


async def test_what_could_not_be_closed_is_not_closed_again(
    disk: DiskStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system gives the descriptor back all the same, and perhaps to somebody else."""
    await disk.append(MARK, 0, pieces(b"hello"), unconcerned)
    closed = []

    def fail(descriptor: int) -> None:
        closed.append(descriptor)
        os.close(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fsio, "close", fail)
    with pytest.raises(StorageFailed):
        await disk.append(disk.locator_of(uuid4()), 0, pieces(b"hello"), unconcerned)
    with suppress(OSError):
        await content(disk, MARK)
    monkeypatch.undo()
    assert len(closed) == 2
