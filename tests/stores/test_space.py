"""Free space, and what is kept of it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from maie_aiohttp.errors import StorageFailed, StorageFull
from maie_aiohttp.interfaces import Advance, Ahead, unheard
from maie_aiohttp.limits.ledger import Claim
from maie_aiohttp.stores import append, fsio
from maie_aiohttp.stores.space import FRESH, Reserve
from tests.layers import KIB, MIB, as_root, disk_store, memory_disk, pieces, unconcerned

MARK = "incoming/abcdef00-0000-4000-8000-000000000001.part"


@pytest.fixture
def two_mib(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    with memory_disk(tmp_path / "tiny", "size=2m,mode=750") as folder:
        yield folder


@as_root
async def test_the_smaller_reserve_is_kept_free(two_mib: Path) -> None:
    for reserve in (Reserve(512 * KIB, 1.0), Reserve(100 * MIB, 0.25)):
        with disk_store(two_mib, reserve) as store:
            (await store.admit(MIB)).release()
            with pytest.raises(StorageFull):
                await store.admit(MIB + 512 * KIB + 1)


@as_root
async def test_a_reserve_already_touched_admits_nothing_and_reports_it(two_mib: Path) -> None:
    with disk_store(two_mib, Reserve(512 * KIB, 1.0)) as store:
        await store.probe()
        (two_mib / "other").write_bytes(bytes(1800 * KIB))
        await asyncio.sleep(FRESH)
        with pytest.raises(StorageFull):
            await store.admit(0)
        with pytest.raises(StorageFull):
            await store.probe()
        (two_mib / "other").unlink()
        await store.probe()


@as_root
@pytest.mark.parametrize("advance", [None, unheard], ids=["at-once", "resumable"])
async def test_an_upload_of_unknown_length_leaves_the_reserve(
    two_mib: Path, monkeypatch: pytest.MonkeyPatch, advance: Advance | None
) -> None:
    monkeypatch.setattr(append, "PASS_ON_EVERY", 64 * KIB)
    with disk_store(two_mib, Reserve(MIB, 1.0)) as store:
        with pytest.raises(StorageFull):
            await store.append(MARK, 0, pieces(*[bytes(64 * KIB)] * 30), unconcerned, advance=advance)
        assert MIB - 128 * KIB < (two_mib / MARK).stat().st_size < MIB + 512 * KIB
        with pytest.raises(StorageFull):
            await store.probe()


@as_root
async def test_a_full_disk_is_reported_until_it_has_room_again(two_mib: Path) -> None:
    with disk_store(two_mib) as store:
        with pytest.raises(StorageFull):
            await store.append(MARK, 0, pieces(*[bytes(64 * KIB)] * 40), unconcerned)
        with pytest.raises(StorageFull):
            await store.probe()
        await store.discard(MARK)
        await store.probe()
        assert list((two_mib / "incoming").iterdir()) == []
        assert await store.append(MARK, 0, pieces(b"hello"), unconcerned) == 5


@as_root
async def test_what_is_promised_is_not_promised_again(two_mib: Path) -> None:
    with disk_store(two_mib, Reserve(512 * KIB, 1.0)) as store:
        answers = await asyncio.gather(*(store.admit(100 * KIB) for _ in range(50)), return_exceptions=True)
        claims = [answer for answer in answers if isinstance(answer, Claim)]
        assert len(claims) == 1536 // 100
        for claim in claims:
            claim.release()
        await store.admit(1500 * KIB)


@as_root
async def test_what_is_written_is_not_counted_twice(two_mib: Path) -> None:
    with disk_store(two_mib) as store:
        claim = await store.admit(MIB)
        await store.append(MARK, 0, pieces(*[bytes(64 * KIB)] * 16), unconcerned, ahead=Ahead(MIB, claim))
        assert claim.left == 0
        with pytest.raises(StorageFull):
            await store.admit(MIB + 1)
        await store.admit(MIB - 64 * KIB)


@as_root
async def test_who_told_no_length_yields_to_who_did(two_mib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append, "PASS_ON_EVERY", 64 * KIB)
    other = MARK.replace("abc", "def")
    with disk_store(two_mib) as store:
        claim = await store.admit(MIB)
        with pytest.raises(StorageFull):
            await store.append(other, 0, pieces(*[bytes(64 * KIB)] * 30), unconcerned)
        assert (two_mib / other).stat().st_size <= MIB + 128 * KIB
        await store.discard(other)
        assert await store.append(MARK, 0, pieces(*[bytes(MIB)]), unconcerned, ahead=Ahead(MIB, claim)) == MIB


@as_root
async def test_a_promise_that_others_broke_is_noticed(two_mib: Path) -> None:
    with disk_store(two_mib) as store:
        claim = await store.admit(MIB)
        await store.confirm(claim)
        (two_mib / "other").write_bytes(bytes(1500 * KIB))
        await asyncio.sleep(FRESH)
        with pytest.raises(StorageFull):
            await store.confirm(claim)
        (two_mib / "other").unlink()
        await store.confirm(claim)


async def test_many_admissions_share_one_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Counter[int]()
    fstatvfs = os.fstatvfs

    def counted(descriptor: int) -> os.statvfs_result:
        measured[descriptor] += 1
        return fstatvfs(descriptor)

    monkeypatch.setattr(fsio, "fstatvfs", counted)
    with disk_store(tmp_path / "data") as store:
        await asyncio.gather(*(store.admit(1) for _ in range(1000)))
        assert measured.total() == 1
        await asyncio.sleep(FRESH)
        await asyncio.gather(*(store.admit(1) for _ in range(1000)))
        assert measured.total() == 2


async def test_a_disk_that_cannot_be_measured_admits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> os.statvfs_result:
        raise OSError(errno.EIO, "Input/output error")

    with disk_store(tmp_path / "data") as store:
        with monkeypatch.context() as failing:
            failing.setattr(fsio, "fstatvfs", broken)
            answers = await asyncio.gather(*(store.admit(1) for _ in range(3)), return_exceptions=True)
            assert all(isinstance(answer, StorageFailed) for answer in answers)
        await store.admit(1)
