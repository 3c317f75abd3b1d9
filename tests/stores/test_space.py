"""Free space, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from maie_aiohttp.errors import StorageFull
from maie_aiohttp.stores import part
from maie_aiohttp.stores.space import Reserve
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
            await store.admit(MIB)
            with pytest.raises(StorageFull):
                await store.admit(MIB + 512 * KIB + 1)


@as_root
async def test_a_reserve_already_touched_admits_nothing_and_reports_it(two_mib: Path) -> None:
    with disk_store(two_mib, Reserve(512 * KIB, 1.0)) as store:
        await store.probe()
        (two_mib / "other").write_bytes(bytes(1800 * KIB))
        with pytest.raises(StorageFull):
            await store.admit(0)
        with pytest.raises(StorageFull):
            await store.probe()
        (two_mib / "other").unlink()
        await store.probe()


@as_root
async def test_an_upload_of_unknown_length_leaves_the_reserve(two_mib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "SYNC_EVERY", 64 * KIB)
    with disk_store(two_mib, Reserve(MIB, 1.0)) as store:
        with pytest.raises(StorageFull):
            await store.append(MARK, 0, pieces(*[bytes(64 * KIB)] * 30), unconcerned)
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
