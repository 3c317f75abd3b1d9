"""What every book of quotas promises; see `interfaces.QuotaBook`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from maie_aiohttp.catalogs.database import Transaction
from maie_aiohttp.catalogs.quotas import _Attempt
from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.limits.quota import Need, Quota, Spent, minute_of
from maie_aiohttp.model import Charge, Status, Terms
from tests.layers import NOON, sql_catalog, stored, upload

FIVE = Need(5, 5)
HOUR = timedelta(hours=1)


@pytest.fixture
def catalog(sqlite: SqlCatalog) -> SqlCatalog:
    """Each catalog in turn; so far there is one."""
    return sqlite


async def reserve(catalog: SqlCatalog, quota: Quota, need: Need = FIVE, *, owner: str | None = "ada") -> int | None:
    return await catalog.quotas.reserve(uuid4(), owner, quota, need, NOON)


@pytest.mark.parametrize(
    ("quota", "grants"),
    [
        (Quota(size=13), [5, 5, None]),
        (Quota(size=10), [5, 5, None]),
        (Quota(files=2), [5, 5, None]),
        (Quota(uploads=1), [5, None]),
        (Quota(), [5, 5]),
    ],
)
async def test_so_much_and_no_more(catalog: SqlCatalog, quota: Quota, grants: list[int | None]) -> None:
    assert [await reserve(catalog, quota) for _ in grants] == grants
    assert await reserve(catalog, quota, owner="bob") == 5
    assert await reserve(catalog, quota, owner=None) == 5


async def test_as_much_as_is_left(catalog: SqlCatalog) -> None:
    quota = Quota(size=12)
    assert await reserve(catalog, quota, Need(1, 8)) == 8
    assert await reserve(catalog, quota, Need(5, 8)) is None
    assert await reserve(catalog, quota, Need(4, 8)) == 4


async def test_further_files(catalog: SqlCatalog) -> None:
    id, quota = uuid4(), Quota(files=3)
    assert await catalog.quotas.reserve(id, "ada", quota, FIVE, NOON) == 5
    assert [await catalog.quotas.add_file(id, "ada", quota, NOON) for _ in range(3)] == [True, True, False]
    assert await reserve(catalog, quota) is None
    assert not await catalog.quotas.add_file(uuid4(), "ada", Quota(), NOON)
    await catalog.quotas.give_back([id])
    assert await reserve(catalog, quota) == 5


async def test_fifty_at_once_through_two_connections_never_exceed(path: Path) -> None:
    async with sql_catalog(path) as one, sql_catalog(path) as other:
        attempts = (reserve((one, other)[turn % 2], Quota(size=37)) for turn in range(50))
        grants = await asyncio.gather(*attempts)
        assert sum(grant is not None for grant in grants) == 7
        assert (await one.quotas.usage("ada", NOON)).size == 35


async def test_one_attempt_made_twice_reserves_once(catalog: SqlCatalog) -> None:
    """A transaction may have failed when all was written already."""
    attempt = _Attempt(uuid4(), "ada", Quota(size=5), FIVE, NOON)

    def twice(transaction: Transaction) -> None:
        attempt(transaction)
        attempt(transaction)

    await catalog._database.write(twice)
    assert attempt.granted == 5
    assert (await catalog.quotas.usage("ada", NOON)).size == 5


async def test_what_is_stored_counts_as_it_is_and_as_long_as_the_window(catalog: SqlCatalog) -> None:
    id, quota = uuid4(), Quota(size=20, window=HOUR)
    assert await catalog.quotas.reserve(id, "ada", quota, Need(1, 20), NOON) == 20
    files = [upload(owner="ada"), upload(owner="ada", stored=stored(uuid4(), size=6, at=NOON))]
    await catalog.settle(files, charge=Charge(id))
    await catalog.settle([upload(owner="ada")], charge=Charge(uuid4()))
    usage = await catalog.quotas.usage("ada", NOON - HOUR)
    assert (usage.size, usage.files, usage.uploads) == (0, 0, 0)
    assert usage.spent == [Spent(minute_of(NOON), 16, 3)]
    reserve_at = partial(catalog.quotas.reserve, uuid4(), "ada", quota, FIVE)
    assert await reserve_at(NOON + HOUR) is None
    assert await reserve_at(NOON + HOUR + timedelta(minutes=1)) == 5


@pytest.mark.parametrize("end", ["stored", "rejected", "expired", "removed"])
async def test_the_end_of_an_upload_ends_its_reservation(catalog: SqlCatalog, end: str) -> None:
    begun = upload(status=Status.RECEIVING, stored=None, terms=Terms(reserved=5), expires_at=NOON, owner="ada")
    await catalog.quotas.reserve(begun.id, "ada", Quota(size=5), FIVE, NOON)
    await catalog.create(begun)
    assert (await catalog.get(begun.id)).reserved == 5
    await catalog.quotas.give_back([begun.id])
    await catalog.move(begun.id, Status.SCANNING, expires_at=NOON)
    assert await catalog.quotas.unrecorded() == []
    assert (await catalog.quotas.usage("ada", NOON)).uploads == 1
    if end == "removed":
        await catalog.remove(begun.id)
    elif end == "stored":
        await catalog.settle([replace(begun, status=Status.STORED, stored=stored(begun.id))], charge=Charge(begun.id))
    else:
        await catalog.move(begun.id, Status(end), expires_at=NOON)
    assert (await catalog.quotas.usage("ada", NOON)).uploads == 0


async def test_without_a_record_it_can_be_found_and_given_back(catalog: SqlCatalog) -> None:
    ids: list[UUID] = [uuid4(), uuid4()]
    for id in ids:
        await catalog.quotas.reserve(id, None, Quota(files=9), FIVE, NOON)
    assert sorted(await catalog.quotas.unrecorded()) == sorted(ids)
    await catalog.quotas.give_back(ids[:1])
    assert await catalog.quotas.unrecorded() == ids[1:]


async def test_old_uses_are_forgotten(catalog: SqlCatalog) -> None:
    await catalog.settle([upload(owner="ada")], charge=Charge(uuid4()))
    await catalog.quotas.forget(NOON)
    assert len((await catalog.quotas.usage("ada", NOON - HOUR)).spent) == 1
    await catalog.quotas.forget(NOON + timedelta(minutes=1))
    assert (await catalog.quotas.usage("ada", NOON - HOUR)).spent == []
