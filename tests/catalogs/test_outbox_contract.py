"""What every outbox promises; see `interfaces.Outbox`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.interfaces import Outbox
from maie_aiohttp.model import Backlog, Handed, Letter, Place, Upload
from tests.layers import NOON, query, upload

LATER = NOON + timedelta(seconds=1, microseconds=1)


@pytest.fixture
def catalog(sqlite: SqlCatalog) -> SqlCatalog:
    """Each catalog in turn; so far there is one."""
    return sqlite


@pytest.fixture
def outbox(catalog: SqlCatalog) -> Outbox:
    """Its outbox."""
    return catalog.outbox


async def settle(catalog: SqlCatalog, count: int = 1) -> list[Upload]:
    """Store that many, in this order."""
    uploads = [upload(age=-number) for number in range(count)]
    for one in uploads:
        await catalog.settle([one])
    return uploads


def delivered(letter: Letter) -> Letter:
    return replace(letter, attempts=1, delivered_at=LATER)


def failed(letter: Letter, due_in: float = 0) -> Letter:
    return replace(letter, attempts=letter.attempts + 1, error="no", due_at=NOON + timedelta(seconds=due_in))


def given_up(letter: Letter) -> Letter:
    return replace(letter, attempts=9, error="never", due_at=None, died_at=LATER)


def about(letters: Sequence[Letter]) -> list[Upload]:
    return [letter.upload for letter in letters]


async def test_an_empty_outbox(outbox: Outbox) -> None:
    assert [*await outbox.fresh("a", 9), *await outbox.waiting("a", 9), *await outbox.list(9)] == []
    assert await outbox.backlog("a") == Backlog(0, 0)
    assert await outbox.replay(NOON) == 0
    await outbox.file([])


async def test_what_is_stored_is_fresh_for_each_target_until_it_is_filed_for_that(
    catalog: SqlCatalog, outbox: Outbox
) -> None:
    uploads = await settle(catalog, 3)
    assert about(await outbox.fresh("a", 9)) == about(await outbox.fresh("b", 9)) == uploads
    first, second = await outbox.fresh("a", 2)
    assert (first.event, first.at, first.status, first.attempts) == ("upload.stored", NOON, Handed.PENDING, 0)
    await outbox.file([delivered(first), failed(second)])
    assert about(await outbox.fresh("a", 9)) == uploads[2:]
    assert about(await outbox.fresh("b", 9)) == uploads
    assert [await outbox.backlog(name) for name in "ab"] == [Backlog(2, 0), Backlog(3, 0)]


async def test_a_letter_is_given_back_as_it_was_filed(catalog: SqlCatalog, outbox: Outbox) -> None:
    (stored,) = await settle(catalog)
    (letter,) = await outbox.fresh("a", 9)
    for change in (failed, given_up, delivered):
        letter = change(letter)
        await outbox.file([letter])
        assert await outbox.of(stored.id) == await outbox.list(9) == [letter]
        letter = replace(letter, died_at=None)


async def test_those_due_first_wait_in_front(catalog: SqlCatalog, outbox: Outbox) -> None:
    uploads = await settle(catalog, 4)
    one, two, three, four = await outbox.fresh("a", 9)
    await outbox.file([failed(one, 3), failed(two, 1), delivered(three), given_up(four)])
    await outbox.file([failed(letter) for letter in await outbox.fresh("b", 9)])
    assert about(await outbox.waiting("a", 9)) == [uploads[1], uploads[0]]
    assert about(await outbox.waiting("a", 1)) == [uploads[1]]
    assert about(await outbox.waiting("a", 9, besides={uploads[1].id})) == [uploads[0]]


async def test_replayed_is_as_if_never_tried(catalog: SqlCatalog, outbox: Outbox) -> None:
    uploads = await settle(catalog, 4)
    one, two, three, four = await outbox.fresh("a", 9)
    await outbox.file([delivered(one), given_up(two), given_up(three), failed(four, 60)])
    assert await outbox.replay(NOON, dead=True, id=uploads[0].id) == 0
    assert await outbox.replay(NOON, dead=True, id=uploads[1].id) == 1
    assert await outbox.replay(NOON, dead=True) == 1
    again = await outbox.waiting("a", 9)
    assert {letter.upload.id for letter in again} == {uploads[1].id, uploads[2].id, uploads[3].id}
    assert (again[0].status, again[0].attempts, again[0].error) == (Handed.PENDING, 0, "never")
    assert await outbox.replay(NOON, id=uploads[0].id) == 1
    assert await outbox.replay(NOON, id=upload().id) == 0
    assert await outbox.backlog("a") == Backlog(4, 0)


async def test_lists_pages_and_filters(catalog: SqlCatalog, outbox: Outbox) -> None:
    uploads = await settle(catalog, 3)
    for target in ("a", "b"):
        one, two, three = await outbox.fresh(target, 9)
        await outbox.file([delivered(one), given_up(two), failed(three)])
    newest = await outbox.list(9)
    assert [(letter.upload, letter.target) for letter in newest] == [
        (one, name) for one in reversed(uploads) for name in ("b", "a")
    ]
    for letter, following in pairwise(newest):
        assert (await outbox.list(1, after=Place(letter.number, letter.target))) == [following]
    for status, stored in ((Handed.DELIVERED, uploads[0]), (Handed.DEAD, uploads[1]), (Handed.PENDING, uploads[2])):
        assert about(await outbox.list(9, status=status)) == [stored, stored]


async def test_a_deleted_upload_leaves_no_letter(catalog: SqlCatalog, outbox: Outbox, path: Path) -> None:
    (stored,) = await settle(catalog)
    (letter,) = await outbox.fresh("a", 9)
    await outbox.file([failed(letter)])
    await catalog.remove(stored.id)
    assert query(path, "SELECT * FROM letters") == []
    await outbox.file([delivered(letter)])
    assert query(path, "SELECT * FROM letters") == []


async def test_an_entry_that_gets_the_number_of_a_deleted_one_is_fresh(
    catalog: SqlCatalog, outbox: Outbox, path: Path
) -> None:
    """SQLite gives the last number again."""
    (gone,) = await settle(catalog)
    (letter,) = await outbox.fresh("a", 9)
    await outbox.file([delivered(letter)])
    await catalog.remove(gone.id)
    await settle(catalog)
    (next_letter,) = await outbox.fresh("a", 9)
    assert next_letter.number == letter.number
    await outbox.file([delivered(letter)])
    assert await outbox.fresh("a", 9) == [next_letter]


async def test_a_letter_that_belongs_to_nothing_hides_no_entry(catalog: SqlCatalog, outbox: Outbox, path: Path) -> None:
    (stored,) = await settle(catalog)
    (letter,) = await outbox.fresh("a", 9)
    await outbox.file([delivered(letter)])
    query(path, f"UPDATE letters SET upload_id = '{upload().id.hex}'")  # noqa: S608 - our own id
    assert about(await outbox.fresh("a", 9)) == [stored]
    assert [*await outbox.of(stored.id), *await outbox.list(9)] == []
    await outbox.file([delivered(letter)])
    assert await outbox.of(stored.id) == [delivered(letter)]
