"""What every catalog promises; see `interfaces.Catalog`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event

from maie_aiohttp.catalogs.database import READERS, Change
from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.credentials import Key, Scope
from maie_aiohttp.errors import Busy, NotFound, StorageFailed, StorageFull
from maie_aiohttp.limits.quota import Need, Quota
from maie_aiohttp.model import (
    TRANSITIONS,
    Charge,
    Facts,
    Finding,
    KeyUse,
    Outline,
    Position,
    Settled,
    Sought,
    Status,
    Terms,
    Upload,
)
from tests.layers import (
    MIB,
    NOON,
    as_root,
    being_read,
    impatient,
    locked,
    memory_disk,
    pending,
    pragma,
    query,
    small,
    sql_catalog,
    stored,
    stored_part,
    upload,
)

SECOND = timedelta(seconds=1)
ID = UUID("abcdef00-0000-4000-8000-000000000001")


@pytest.fixture
def catalog(sqlite: SqlCatalog) -> SqlCatalog:
    """Each catalog in turn; so far there is one."""
    return sqlite


def events(path: Path) -> list[UUID]:
    """What is still to be told to the pipeline."""
    return sorted(UUID(str(row[0])) for row in query(path, "SELECT upload_id FROM outbox"))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"filename": None, "metadata": {}, "stored": stored(ID, at=NOON.replace(microsecond=1))},
        {"filename": "Ä".encode().decode() * 200, "size": 2**62, "offset": 2**62, "stored": stored(ID, size=2**62)},
        {"created_at": NOON.replace(microsecond=123_457), "metadata": {"": "", "a": ("", "b"), "ü": "\x01"}},
    ],
)
async def test_gives_back_what_it_was_given(catalog: SqlCatalog, changes: dict[str, object]) -> None:
    given = upload(**changes)  # type: ignore[arg-type]  # fields by name
    await catalog.settle([given])
    assert await catalog.get(given.id) == given


PARTS = Terms("audio/wav", {"sha512": bytes(64)}, {"Upload-Metadata": "a b,c"}, partial=True)
WHOLE = replace(PARTS, partial=False)


def receiving(*, age: float = 0, **changes: object) -> Upload:
    """A record of an upload that comes in pieces, made `age` seconds before noon."""
    values: dict[str, object] = {
        "status": Status.RECEIVING,
        "size": 100,
        "offset": 0,
        "stored": None,
        "terms": WHOLE,
        "expires_at": NOON,
    }
    return upload(age=age, **{**values, **changes})  # type: ignore[arg-type]  # fields by name


def arrived(given: Upload) -> Upload:
    """The same, stored."""
    return replace(given, status=Status.STORED, size=5, offset=5, stored=stored(given.id), expires_at=None)


async def everything(catalog: SqlCatalog) -> Sequence[Upload]:
    return await catalog.list(99, status=None, after=None)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"terms": PARTS, "size": None},
        {"terms": Terms(), "metadata": {}, "filename": None},
        {"size": 2**62, "offset": 2**62 - 1, "expires_at": NOON.replace(microsecond=1)},
        {"terms": Terms(echo={"Upload-Metadata": "\x7f ü", "": ""}), "expires_at": None, "reason": "none"},
    ],
)
async def test_gives_back_what_was_begun(catalog: SqlCatalog, path: Path, changes: dict[str, object]) -> None:
    given = receiving(**changes)  # type: ignore[arg-type]  # fields by name
    await catalog.create(given)
    assert await catalog.get(given.id) == given
    assert events(path) == []


async def test_begins_only_once(catalog: SqlCatalog) -> None:
    given = receiving()
    await catalog.create(given)
    with pytest.raises(StorageFailed):
        await catalog.create(replace(given, size=7))
    assert await everything(catalog) == [given]


async def test_advances_offset_size_and_expiry_and_nothing_else(catalog: SqlCatalog) -> None:
    given = receiving(size=None)
    await catalog.create(given)
    further = replace(given, offset=50, size=100, expires_at=NOON + timedelta(days=1))
    await catalog.advance(replace(further, filename="other.wav", metadata={}, terms=PARTS, reason="x"))
    assert await catalog.get(given.id) == further


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.RECEIVING])
async def test_advances_only_what_is_receiving(catalog: SqlCatalog, status: Status) -> None:
    given = upload(status=status)
    await catalog.settle([given])
    await catalog.advance(replace(given, offset=2, size=3))
    assert await catalog.get(given.id) == given
    await catalog.advance(receiving())
    assert await everything(catalog) == [given]


async def test_what_was_receiving_is_settled_in_its_place(catalog: SqlCatalog, path: Path) -> None:
    given = [receiving(age=age) for age in range(3)]
    for one in given:
        await catalog.create(one)
    plain = upload(age=9)
    done = arrived(given[1])
    await catalog.settle([done, plain])
    assert await everything(catalog) == [given[0], done, given[2], plain]
    assert events(path) == sorted([done.id, plain.id])


def use_of(*uploads: Upload, key: str = "a-key", age: float = 0) -> KeyUse:
    """A use of a key, `age` seconds before noon."""
    return KeyUse(key, "ab" * 32, tuple(one.id for one in uploads), NOON - timedelta(seconds=age))


async def keys(catalog: SqlCatalog, *names: str) -> list[str]:
    """Those of `names` that are remembered."""
    settled = [await catalog.settle([given], use_of(given, key=name)) for name in names for given in [upload()]]
    return [name for name, one in zip(names, settled, strict=True) if one.earlier is not None]


async def test_a_key_is_used_once(catalog: SqlCatalog, path: Path) -> None:
    given = [upload(), upload()]
    first = use_of(*given)
    assert await catalog.settle(given, first) == Settled(given)
    for _ in range(2):
        other = upload()
        assert await catalog.settle([other], use_of(other)) == Settled(earlier=first)
    assert {one.id for one in await everything(catalog)} == {one.id for one in given}
    assert events(path) == sorted(one.id for one in given)


def fail_once(catalog: SqlCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next transaction say that it failed, when all is written."""
    write = catalog._database._transaction

    def write_and_fail_once(changes: Sequence[Change]) -> None:
        monkeypatch.undo()
        write(changes)
        raise StorageFailed("The medium did not say so.")

    monkeypatch.setattr(catalog._database, "_transaction", write_and_fail_once)


async def test_a_transaction_that_fails_when_all_is_written(
    catalog: SqlCatalog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again, and its uploads are not taken for repetitions of themselves."""
    fail_once(catalog, monkeypatch)
    given = [upload(), upload()]
    found = await asyncio.gather(*(catalog.settle([one], use_of(one, key=str(one.id))) for one in given))
    assert found == [Settled([one]) for one in given]
    assert events(path) == sorted(one.id for one in await everything(catalog)) == sorted(one.id for one in given)


async def test_a_key_is_kept_with_what_it_was_used_for(path: Path) -> None:
    given = upload()
    use = KeyUse('ä"\x01 ' + "x" * 250, "0" * 64, (given.id,), NOON.replace(microsecond=1))
    async with sql_catalog(path) as catalog:
        assert await catalog.settle([given], use) == Settled([given])
        await catalog.remove(given.id)
    async with sql_catalog(path) as catalog:
        other = upload()
        assert await catalog.settle([other], replace(use_of(other), key=use.key)) == Settled(earlier=use)
        assert await everything(catalog) == []


async def test_fault_40_of_many_at_once_one_uses_the_key(path: Path) -> None:
    """In one transaction, in several, and in two processes: the second catalog stands for another one."""
    given = [upload() for _ in range(40)]
    async with sql_catalog(path) as one, sql_catalog(path) as other:
        for number in range(5):
            uses = [use_of(each, key=f"key-{number}") for each in given]
            settled = await asyncio.gather(
                *((one, other)[place % 2].settle([given[place]], use) for place, use in enumerate(uses))
            )
            earlier = [one.earlier for one in settled]
            (winner,) = (use for use, found in zip(uses, earlier, strict=True) if found is None)
            assert [found or winner for found in earlier] == [winner] * len(given)
            assert [found.id for found in await everything(one)] == events(path) == list(winner.uploads)
            await other.remove(winner.uploads[0])


async def test_uploads_with_and_without_a_key_share_a_transaction(catalog: SqlCatalog, path: Path) -> None:
    given = [upload() for _ in range(30)]
    await asyncio.gather(
        *(catalog.settle([one], use_of(one) if place % 3 == 1 else None) for place, one in enumerate(given))
    )
    assert len(await everything(catalog)) == len(events(path)) == 21


async def test_a_key_of_what_is_not_recorded_stays_free(catalog: SqlCatalog, path: Path) -> None:
    await impatient(catalog)
    given = upload()
    with pytest.raises(NotFound):
        await catalog.settle([given, arrived(receiving())], use_of(given))
    with locked(path), pytest.raises(Busy):
        await catalog.settle([given], use_of(given))
    assert await catalog.settle([given], use_of(given)) == Settled([given])


async def test_keys_are_forgotten_in_portions(catalog: SqlCatalog) -> None:
    for number in range(5):
        given = upload()
        await catalog.settle([given], use_of(given, key=f"{number}", age=number))
    before = NOON - timedelta(seconds=1)
    assert [await catalog.forget_keys(before, 2) for _ in range(3)] == [2, 1, 0]
    assert await keys(catalog, "0", "1", "2", "3", "4") == ["0", "1"]


@pytest.mark.parametrize("end", ["removed", Status.REJECTED, Status.EXPIRED, "settled", "never begun"])
async def test_what_is_not_receiving_any_more_is_not_settled(catalog: SqlCatalog, path: Path, end: str) -> None:
    given, other = receiving(), receiving()
    await catalog.create(other)
    if end != "never begun":
        await catalog.create(given)
    if isinstance(end, Status):
        await catalog.move(given.id, end)
    if end == "removed":
        await catalog.remove(given.id)
    if end == "settled":
        await catalog.settle([arrived(given)])
    before, told = await everything(catalog), events(path)
    with pytest.raises(NotFound):
        await catalog.settle([arrived(other), arrived(given)])
    assert (await everything(catalog), events(path)) == (before, told)


async def test_one_that_was_given_up_costs_no_other(catalog: SqlCatalog, path: Path) -> None:
    given = [receiving() for _ in range(6)]
    for one in given[1:]:
        await catalog.create(one)
    outcomes = await asyncio.gather(*(catalog.settle([arrived(one)]) for one in given), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [NotFound] + [Settled] * 5
    assert events(path) == sorted(one.id for one in given[1:])


def alike(given: Upload, **changes: object) -> Upload:
    """Another upload with the same bytes, published a second earlier."""
    id, recording = uuid4(), stored_part(given)
    recording = replace(recording, locator=stored(id).locator, at=recording.at - timedelta(seconds=1))
    return upload(id, **{"stored": recording, "owner": given.owner, **changes})  # type: ignore[arg-type]  # fields by name


async def first_of(catalog: SqlCatalog, given: Upload) -> UUID | None:
    """Of what the catalog takes a new upload for a duplicate."""
    (recorded,) = (await catalog.settle([given])).uploads
    assert await catalog.get(given.id) == recorded
    assert replace(recorded, duplicate_of=None) == given
    return recorded.duplicate_of


OWNERS = (None, "ada", "", "Ada")


@pytest.mark.parametrize("owner", OWNERS)
async def test_the_same_bytes_of_the_same_owner_are_a_duplicate(catalog: SqlCatalog, owner: str | None) -> None:
    given = upload(owner=owner)
    assert await first_of(catalog, given) is None
    assert await first_of(catalog, upload(owner=owner)) is None
    for other in set(OWNERS) - {owner}:
        assert await first_of(catalog, alike(given, owner=other)) is None
    for _ in range(3):
        assert await first_of(catalog, alike(given)) == given.id


async def test_duplicates_are_of_the_first_that_is_left_and_whole(catalog: SqlCatalog) -> None:
    first = upload()
    second, third = alike(first), alike(first)
    assert await first_of(catalog, first) is None
    await catalog.settle([second, third])
    await catalog.move(first.id, Status.DAMAGED)
    assert await first_of(catalog, alike(third)) == second.id
    await catalog.remove(second.id)
    assert await first_of(catalog, alike(third)) == third.id
    await catalog.move(first.id, Status.STORED)
    assert await first_of(catalog, alike(third)) == first.id
    assert (await catalog.get(third.id)).duplicate_of == first.id


async def test_what_is_not_stored_is_no_first(catalog: SqlCatalog) -> None:
    given = receiving(terms=PARTS)
    await catalog.create(given)
    done = arrived(receiving(id=uuid4()))
    assert await first_of(catalog, alike(done)) is None


async def test_of_many_at_once_one_is_the_first(path: Path) -> None:
    """In one transaction, in several, and in two processes: the second catalog stands for another one."""
    given = upload()
    many = [alike(given) for _ in range(40)]
    async with sql_catalog(path) as one, sql_catalog(path) as other:
        settled = await asyncio.gather(*((one, other)[place % 2].settle([each]) for place, each in enumerate(many)))
        (recorded,) = zip(*(each.uploads for each in settled), strict=True)
        (first,) = (each for each in recorded if each.duplicate_of is None)
        assert {each.duplicate_of for each in recorded} == {None, first.id}
        assert {each.id: each for each in recorded} == {each.id: each for each in await everything(one)}
    assert len(events(path)) == len(many)


async def test_duplicates_cost_a_transaction_one_question(catalog: SqlCatalog) -> None:
    begun = [receiving() for _ in range(10)]
    for one in begun:
        await catalog.create(one)
    statements: list[str] = []
    event.listen(
        catalog._database._engine, "before_cursor_execute", lambda _, __, statement, *___: statements.append(statement)
    )
    await asyncio.gather(*(catalog.settle([one]) for one in (*map(arrived, begun), *(upload() for _ in range(10)))))
    (first, *_) = shared = [statement.split()[0] for statement in statements]
    assert first == "BEGIN"
    transactions = shared.count("BEGIN")
    assert transactions <= 2
    assert shared.count("SELECT") == transactions
    assert len(shared) <= 5 * transactions


async def test_the_question_is_answered_by_an_index(catalog: SqlCatalog, path: Path) -> None:
    given = upload(owner="ada")
    questions: list[tuple[str, Any]] = []
    event.listen(
        catalog._database._engine,
        "before_cursor_execute",
        lambda _, __, statement, values, *___: questions.append((statement, values)),
    )
    await catalog.settle([given])
    await catalog.firsts([given])
    await catalog.list(9, status=None, after=None, sha256=stored_part(given).sha256)
    with closing(sqlite3.connect(path)) as connection:
        for statement, values in questions:
            if statement.startswith("SELECT"):
                plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
                assert any("uploads_by_content (sha256=?" in step for step in plan), plan
                assert not any(step.startswith("SCAN uploads") for step in plan), plan
                assert "USE TEMP B-TREE FOR ORDER BY" not in plan or "created_at" in statement, plan


async def test_another_may_stand_for_an_upload(catalog: SqlCatalog, path: Path) -> None:
    first, other = upload(), upload()
    await catalog.settle([first])
    again, third = alike(first), alike(first)
    stand_ins = await catalog.firsts([again, other])
    assert stand_ins == {first.id: first}
    assert await catalog.settle([again, other], stand_ins=stand_ins) == Settled([first, other])
    assert {one.id for one in await everything(catalog)} == {first.id, other.id}
    assert events(path) == sorted([first.id, other.id])
    assert await catalog.settle([third], stand_ins={other.id: other}) == Settled(
        [replace(third, duplicate_of=first.id)]
    )


@pytest.mark.parametrize("end", ["removed", "damaged"])
async def test_who_has_come_to_an_end_stands_for_nobody(catalog: SqlCatalog, end: str) -> None:
    first = upload()
    await catalog.settle([first])
    again = alike(first)
    stand_ins = await catalog.firsts([again])
    await (catalog.remove(first.id) if end == "removed" else catalog.move(first.id, Status.DAMAGED))
    assert await catalog.settle([again], stand_ins=stand_ins) == Settled([again])
    assert await catalog.get(again.id) == again


async def test_a_key_is_kept_with_what_stands_for_its_uploads(
    catalog: SqlCatalog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that was written already when the transaction failed, and is tried again."""
    first, other, beside = upload(), upload(), upload()
    await catalog.settle([first])
    again = alike(first)
    use = use_of(again, other)
    fail_once(catalog, monkeypatch)
    settled, _ = await asyncio.gather(
        catalog.settle([again, other], use, stand_ins={first.id: first}),
        catalog.settle([beside], use_of(beside, key="b")),
    )
    assert settled == Settled([first, other])
    earlier = replace(use, uploads=(first.id, other.id))
    assert await catalog.settle([alike(first)], use_of(upload()), stand_ins={first.id: first}) == Settled(
        earlier=earlier
    )
    assert events(path) == sorted([first.id, other.id, beside.id])


async def test_only_what_is_recorded_counts_for_a_quota(catalog: SqlCatalog) -> None:
    first, other, since = upload(owner="ada"), upload(owner="ada"), NOON - timedelta(hours=1)
    await catalog.settle([first])
    for given, files in (([alike(first)], 0), ([alike(first), other, alike(other)], 2)):
        await catalog.quotas.reserve(reservation := uuid4(), "ada", Quota(100), Need(1, 50), NOON)
        await catalog.settle(given, None, Charge(reservation), {first.id: first})
        await catalog.quotas.give_back([reservation])
        usage = await catalog.quotas.usage("ada", since)
        assert (usage.uploads, sum(spent.files for spent in usage.spent)) == (0, files)


async def test_uploads_are_found_by_their_bytes(catalog: SqlCatalog) -> None:
    given = upload(owner="ada")
    again, foreign = alike(given, age=1), alike(given, owner="eve", age=2)
    for one in (given, again, foreign, upload()):
        await catalog.settle([one])
    sha256 = stored_part(given).sha256

    async def found(**asked: Any) -> list[UUID]:
        return [one.id for one in await catalog.list(9, after=None, sha256=sha256, **{"status": None, **asked})]

    assert await found() == [given.id, again.id, foreign.id]
    assert await found(owner="ada") == [given.id, again.id]
    assert await found(owner="ada", status=Status.RECEIVING) == []
    assert await catalog.list(9, status=None, after=None, sha256="0" * 64) == []


async def test_partial_ones_are_not_listed(catalog: SqlCatalog) -> None:
    given = [receiving(age=age, terms=PARTS if age % 2 else WHOLE) for age in range(8)]
    for one in given:
        await catalog.create(one)
    assert await everything(catalog) == given[::2]
    assert await catalog.list(2, status=Status.RECEIVING, after=None) == given[:4:2]
    assert await catalog.get(given[1].id) == given[1]
    await catalog.move(given[1].id, Status.REJECTED, reason="no")
    assert await catalog.list(9, status=Status.REJECTED, after=None) == []


async def test_finds_what_is_overdue_oldest_first(catalog: SqlCatalog) -> None:
    ages = (5, 1, 4, 2, 3, 0, -1, -2)
    given = [receiving(expires_at=NOON - timedelta(seconds=age), terms=PARTS if age % 2 else WHOLE) for age in ages]
    for one in (*given, receiving(expires_at=None)):
        await catalog.create(one)
    await catalog.settle([upload()])
    due = sorted((one for one in given if one.expires_at <= NOON), key=lambda one: one.expires_at)  # type: ignore[operator, return-value, arg-type]  # all of them have one
    assert await catalog.overdue(NOON, 99) == due
    assert await catalog.overdue(NOON, 2) == due[:2]
    assert await catalog.overdue(NOON - timedelta(microseconds=1), 99) == due[:-1]
    assert await catalog.overdue(NOON - timedelta(days=1), 99) == []


async def test_receiving_are_all_that_may_go_on(catalog: SqlCatalog) -> None:
    given = [receiving(age=age, terms=PARTS if age % 2 else WHOLE) for age in range(5)]
    settled, refused = receiving(), receiving()
    for one in (*given, settled, refused):
        await catalog.create(one)
    await catalog.settle([arrived(settled), upload()])
    await catalog.move(refused.id, Status.REJECTED)
    assert await catalog.receiving(9, after=None) == given
    assert await catalog.receiving(2, after=Position(given[1].created_at, given[1].id)) == given[2:4]


async def test_what_was_settled_or_advanced_is_not_overdue(catalog: SqlCatalog) -> None:
    settled, advanced = receiving(), receiving()
    for one in (settled, advanced):
        await catalog.create(one)
    await catalog.settle([arrived(settled)])
    await catalog.advance(replace(advanced, expires_at=NOON + timedelta(seconds=1)))
    assert await catalog.overdue(NOON, 9) == []


async def test_an_end_has_a_reason_and_is_forgotten_some_time(catalog: SqlCatalog, path: Path) -> None:
    given = receiving(offset=7)
    await catalog.create(given)
    later = NOON + timedelta(days=7)
    await catalog.move(given.id, Status.REJECTED, reason="It is no audio.", expires_at=later)
    ended = replace(given, status=Status.REJECTED, reason="It is no audio.", expires_at=later)
    assert await catalog.get(given.id) == ended
    await catalog.move(given.id, Status.EXPIRED, reason="other", expires_at=NOON)
    assert await catalog.get(given.id) == ended
    assert await catalog.overdue(later, 9) == [ended]
    await catalog.remove(given.id)
    assert (await everything(catalog), events(path)) == ([], [])


async def test_an_end_without_a_time_is_not_overdue(catalog: SqlCatalog) -> None:
    given = receiving()
    await catalog.create(given)
    await catalog.move(given.id, Status.EXPIRED)
    assert await catalog.overdue(NOON, 9) == []
    assert (await catalog.get(given.id)).expires_at is None


async def test_known_are_the_stored_ones(catalog: SqlCatalog) -> None:
    begun, whole, damaged, refused = (receiving() for _ in range(4))
    for one in (begun, whole, damaged, refused):
        await catalog.create(one)
    await catalog.settle([arrived(whole), arrived(damaged)])
    await catalog.move(damaged.id, Status.DAMAGED)
    await catalog.move(refused.id, Status.REJECTED)
    ids = {one.id for one in (begun, whole, damaged, refused)}
    assert await catalog.known(ids) == {whole.id, damaged.id}


async def test_uploads_under_way_survive_reopening(path: Path) -> None:
    given = receiving(terms=PARTS)
    async with sql_catalog(path) as catalog:
        await catalog.create(given)
        await catalog.advance(replace(given, offset=50))
    async with sql_catalog(path) as catalog:
        assert await catalog.get(given.id) == replace(given, offset=50)


@pytest.mark.parametrize("verb", ["create", "advance", "settle", "move"])
async def test_what_is_busy_or_full_was_not_done(catalog: SqlCatalog, path: Path, verb: str) -> None:
    await impatient(catalog)
    given, new = receiving(), receiving()
    await catalog.create(given)
    attempts: dict[str, Callable[[], Awaitable[object]]] = {
        "create": lambda: catalog.create(new),
        "advance": lambda: catalog.advance(replace(given, offset=1)),
        "settle": lambda: catalog.settle([arrived(given)]),
        "move": lambda: catalog.move(given.id, Status.EXPIRED),
    }
    with locked(path), pytest.raises(Busy):
        await attempts[verb]()
    assert (await everything(catalog), events(path)) == ([given], [])


async def test_a_refused_commit_does_not_come_true_with_the_next(catalog: SqlCatalog, path: Path) -> None:
    """Without a write-ahead log, as where there is no shared memory, whoever reads keeps a commit out."""
    await pragma(catalog, "journal_mode=DELETE")
    await impatient(catalog)
    refused, other = upload(), upload()
    with being_read(path), pytest.raises(Busy):
        await catalog.settle([refused])
    await catalog.settle([other])
    assert events(path) == [other.id]


async def test_whoever_is_cancelled_waits_for_what_was_begun(catalog: SqlCatalog, path: Path) -> None:
    given = receiving()
    await catalog.create(given)
    with locked(path):
        advancing = asyncio.create_task(catalog.advance(replace(given, offset=1)))
        await asyncio.wait([advancing], timeout=0.1)
        advancing.cancel()
        await asyncio.wait([advancing], timeout=0.1)
        before = await catalog.get(given.id)
        assert not advancing.done()
    with pytest.raises(asyncio.CancelledError):
        await advancing
    assert (before.offset, (await catalog.get(given.id)).offset) == (0, 1)


async def test_survives_reopening(path: Path) -> None:
    given = [upload(age=age) for age in range(3)]
    async with sql_catalog(path) as catalog:
        await catalog.settle(given)
        await catalog.move(given[0].id, Status.DAMAGED)
        await catalog.remove(given[1].id)
    async with sql_catalog(path) as catalog:
        assert (await catalog.get(given[0].id)).status is Status.DAMAGED
        assert await catalog.list(10, status=Status.STORED, after=None) == [given[2]]


async def test_one_event_for_each_stored_upload(catalog: SqlCatalog, path: Path) -> None:
    given = [upload() for _ in range(5)]
    await catalog.settle(given[:3])
    await asyncio.gather(*(catalog.settle([one]) for one in given[3:]))
    assert events(path) == sorted(one.id for one in given)
    await catalog.remove(given[0].id)
    assert events(path) == sorted(one.id for one in given[1:])


async def test_settles_all_or_none(catalog: SqlCatalog, path: Path) -> None:
    known = upload()
    await catalog.settle([known])
    with pytest.raises(StorageFailed):
        await catalog.settle([upload(), upload(), known])
    assert await catalog.list(10, status=None, after=None) == [known]
    assert events(path) == [known.id]


async def test_unknown_uploads(catalog: SqlCatalog) -> None:
    with pytest.raises(NotFound):
        await catalog.get(uuid4())
    with pytest.raises(NotFound):
        await catalog.remove(uuid4())
    await catalog.move(uuid4(), Status.DAMAGED)
    assert await catalog.list(10, status=None, after=None) == []


async def test_removes_once(catalog: SqlCatalog) -> None:
    given = upload()
    await catalog.settle([given])
    outcomes = await asyncio.gather(*(catalog.remove(given.id) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(NotFound) == 4
    with pytest.raises(NotFound):
        await catalog.get(given.id)


async def test_lists_newest_first_page_by_page(catalog: SqlCatalog) -> None:
    given = [upload(age=age) for age in (0, 1, 2, 2, 2, 2, 3, 3)]
    await catalog.settle(given)
    found: list[Upload] = []
    after = None
    while page := await catalog.list(3, status=None, after=after):
        assert len(page) <= 3
        found += page
        after = Position(page[-1].created_at, page[-1].id)
    assert found == sorted(given, key=lambda one: (one.created_at, one.id), reverse=True)


async def test_lists_one_status_only(catalog: SqlCatalog) -> None:
    given = [upload(age=age) for age in range(6)]
    await catalog.settle(given)
    for one in given[::2]:
        await catalog.move(one.id, Status.DAMAGED)
    assert await catalog.list(9, status=Status.STORED, after=None) == given[1::2]
    damaged = await catalog.list(9, status=Status.DAMAGED, after=Position(given[0].created_at, given[0].id))
    assert [one.id for one in damaged] == [one.id for one in given[2::2]]


async def test_lists_one_owner_only(catalog: SqlCatalog) -> None:
    given = [upload(age=age, owner=("ada", "bob", None)[age % 3]) for age in range(9)]
    await catalog.settle(given)
    await catalog.move(given[3].id, Status.DAMAGED)
    hers = await catalog.list(9, status=Status.STORED, after=None, owner="ada")
    assert hers == [given[0], given[6]]
    assert await catalog.list(9, status=Status.STORED, after=Position(NOON, given[0].id), owner="ada") == [given[6]]
    assert await catalog.list(1, status=None, after=None, owner="bob") == [given[1]]
    assert await catalog.list(9, status=None, after=None, owner="eve") == []
    assert len(await catalog.list(9, status=None, after=None)) == 9


async def test_an_upload_keeps_its_owner(catalog: SqlCatalog) -> None:
    given = receiving(owner="ada")
    await catalog.create(given)
    await catalog.advance(replace(given, offset=50))
    assert (await catalog.get(given.id)).owner == "ada"
    await catalog.settle([arrived(await catalog.get(given.id))])
    assert (await catalog.get(given.id)).owner == "ada"


ADA = Key("ada", "a" * 64, "lab", frozenset({Scope.READ, Scope.UPLOAD}), NOON)


async def test_keys_are_given_back_the_oldest_first(catalog: SqlCatalog) -> None:
    later = NOON + timedelta(microseconds=1)
    bob = Key("bob", "b" * 64, "bob", frozenset(Scope), later, expires_at=later, revoked_at=later)
    assert await catalog.keyring.add(bob)
    assert await catalog.keyring.add(ADA)
    assert await catalog.keyring.all() == [ADA, bob]


async def test_of_keys_with_one_name_the_first_counts(catalog: SqlCatalog) -> None:
    same = [replace(ADA, digest=digit * 64) for digit in "abcdefg"]
    added = await asyncio.gather(*map(catalog.keyring.add, same))
    assert added.count(True) == 1
    assert await catalog.keyring.all() == [same[added.index(True)]]
    assert not await catalog.keyring.add(replace(ADA, name="eve", digest=same[added.index(True)].digest))


async def test_a_key_is_revoked_once(catalog: SqlCatalog) -> None:
    await catalog.keyring.add(ADA)
    assert not await catalog.keyring.revoke("bob", NOON)
    assert await catalog.keyring.revoke("ada", NOON)
    assert not await catalog.keyring.revoke("ada", NOON + timedelta(days=1))
    assert await catalog.keyring.all() == [replace(ADA, revoked_at=NOON)]
    assert not await catalog.keyring.add(ADA)


async def test_each_change_makes_another_version(catalog: SqlCatalog) -> None:
    versions = [await catalog.keyring.version()]
    for change in (
        catalog.keyring.add(ADA),
        catalog.keyring.add(replace(ADA, name="bob", digest="b" * 64)),
        catalog.keyring.revoke("ada", NOON),
        catalog.keyring.add(replace(ADA, name="eve", digest="e" * 64)),
        catalog.keyring.revoke("eve", NOON),
    ):
        assert await change
        versions.append(await catalog.keyring.version())
    assert len(set(map(str, versions))) == len(versions)
    assert not await catalog.keyring.revoke("eve", NOON)
    assert await catalog.keyring.version() == versions[-1]


async def test_the_keyring_says_when_it_does_not_work(catalog: SqlCatalog, path: Path) -> None:
    with locked(path):
        await impatient(catalog)
        with pytest.raises(Busy):
            await catalog.keyring.add(ADA)
    query(path, "DROP TABLE api_keys")
    for look in (catalog.keyring.all, catalog.keyring.version):
        with pytest.raises(StorageFailed):
            await look()


@pytest.mark.parametrize("source", Status)
@pytest.mark.parametrize("target", Status)
async def test_moves_only_where_it_is_allowed(catalog: SqlCatalog, source: Status, target: Status) -> None:
    given = upload(status=source)
    await catalog.settle([given])
    await catalog.move(given.id, target)
    assert (await catalog.get(given.id)).status is (target if target in TRANSITIONS[source] else source)


async def test_knows_its_own(catalog: SqlCatalog) -> None:
    given = [upload() for _ in range(500)]
    await catalog.settle(given)
    own = {one.id for one in given}
    assert await catalog.known([*own, uuid4()]) == own
    assert await catalog.known([uuid4()]) == await catalog.known([]) == frozenset()


def count_commits(catalog: SqlCatalog) -> list[object]:
    commits: list[object] = []
    event.listen(catalog._database._engine, "commit", commits.append)
    return commits


async def test_writes_at_once_share_a_transaction(catalog: SqlCatalog) -> None:
    commits = count_commits(catalog)
    given = [upload() for _ in range(40)]
    await asyncio.gather(*(catalog.settle([one]) for one in given))
    assert len(commits) <= 2
    assert len(await catalog.list(50, status=None, after=None)) == 40


@pytest.mark.parametrize(
    "bad",
    [
        {"offset": None},
        {"filename": "\ud800"},
        {"size": 2**64},
        {"metadata": {"a": object()}},
    ],
    ids=["missing", "surrogate", "too large a number", "no text"],
)
async def test_a_bad_write_costs_no_other(catalog: SqlCatalog, path: Path, bad: dict[str, object]) -> None:
    given = [upload() for _ in range(7)]
    wrong = upload(**bad)  # type: ignore[arg-type]  # fields by name
    writes: list[Awaitable[object]] = [catalog.settle([one]) for one in given]
    writes[3:3] = [catalog.settle([wrong]), catalog.remove(uuid4())]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(outcome, Settled) for outcome in outcomes] == [True] * 3 + [False] * 2 + [True] * 4
    assert isinstance(outcomes[4], NotFound)
    assert events(path) == sorted(one.id for one in given)


async def test_reading_waits_for_no_writer(catalog: SqlCatalog, path: Path) -> None:
    given = upload()
    await catalog.settle([given])
    with locked(path):
        assert await catalog.get(given.id) == given


async def test_a_locked_catalog_is_busy_once_for_all_who_wait(catalog: SqlCatalog, path: Path) -> None:
    await impatient(catalog)
    attempts: list[object] = []
    event.listen(catalog._database._engine, "rollback", attempts.append)
    given = [upload() for _ in range(20)]
    with locked(path):
        outcomes = await asyncio.gather(*(catalog.settle([one]) for one in given), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Busy}
    assert len(attempts) <= 2
    assert events(path) == []
    await catalog.settle(given)
    assert len(events(path)) == 20


async def test_a_file_name_is_not_taken_for_an_error(catalog: SqlCatalog) -> None:
    for name in ("database is locked.wav", "database or disk is full.wav"):
        known = upload(filename=name)
        await catalog.settle([known])
        with pytest.raises(StorageFailed) as raised:
            await catalog.settle([known])
        assert name not in str(raised.value.__cause__)


async def test_more_readers_than_connections_wait_for_their_turn(catalog: SqlCatalog) -> None:
    given = upload()
    await catalog.settle([given])
    found = await asyncio.gather(*(catalog.get(given.id) for _ in range(10 * READERS)))
    assert found == [given] * 10 * READERS


async def test_changes_of_one_transaction_happen_in_order(catalog: SqlCatalog) -> None:
    given = upload(status=Status.RECEIVING, stored=None, terms=Terms())
    await asyncio.gather(
        catalog.create(given), catalog.move(given.id, Status.REJECTED, reason="not audio"), catalog.create(upload())
    )
    assert (await catalog.get(given.id)).reason == "not audio"


async def test_the_probe_finds_trouble_until_it_is_over(catalog: SqlCatalog, path: Path) -> None:
    await impatient(catalog)
    await catalog.probe()
    with locked(path):
        await catalog.probe()
        with pytest.raises(Busy):
            await catalog.settle([upload()])
        for _ in range(2):
            with pytest.raises(Busy):
                await catalog.probe()
    await catalog.probe()
    with locked(path):
        await catalog.probe()


async def test_a_refusal_of_one_write_is_no_trouble_for_long(catalog: SqlCatalog) -> None:
    known = upload()
    await catalog.settle([known])
    with pytest.raises(StorageFailed):
        await catalog.settle([known])
    await catalog.probe()
    assert await catalog.list(9, status=None, after=None) == [known]


@as_root
async def test_the_probe_finds_a_full_disk(tmp_path: Path) -> None:
    with memory_disk(tmp_path / "tiny", "size=1m") as tiny:
        async with sql_catalog(tiny / "catalog.sqlite"):
            pass
        async with sql_catalog(tiny / "catalog.sqlite") as catalog:
            await catalog.probe()
            with suppress(OSError):
                (tiny / "other").write_bytes(bytes(MIB))
            for attempt in (catalog.settle([upload()]), catalog.probe(), catalog.probe()):
                with pytest.raises(StorageFull):
                    await attempt
            (tiny / "other").unlink()
            await catalog.probe()
            await catalog.settle([upload()])


async def test_the_probe_finds_a_catalog_that_cannot_be_read(catalog: SqlCatalog, path: Path) -> None:
    query(path, "DROP TABLE uploads")
    with pytest.raises(StorageFailed):
        await catalog.probe()


async def test_a_full_disk_takes_no_record_and_loses_none(catalog: SqlCatalog, path: Path) -> None:
    known = upload()
    await catalog.settle([known])
    await small(catalog)
    many = [upload(metadata={"text": "x" * 5000}) for _ in range(20)]
    with pytest.raises(StorageFull):
        await catalog.settle(many)
    assert await catalog.list(50, status=None, after=None) == [known]
    assert events(path) == [known.id]


async def test_a_catalog_that_lost_a_table_fails_without_telling_how(catalog: SqlCatalog, path: Path) -> None:
    query(path, "DROP TABLE outbox")
    with pytest.raises(StorageFailed) as raised:
        await catalog.settle([upload()])
    assert "outbox" not in str(raised.value)
    assert await catalog.list(50, status=None, after=None) == []
    query(path, "DROP TABLE uploads")
    with pytest.raises(StorageFailed):
        await catalog.known([])


FACTS = Facts("pcm_s16le", 1.234567, 16_000, 2, 256_000, (Finding.SILENT, Finding.TRUNCATED))


def with_facts(upload: Upload, facts: Facts) -> Upload:
    return replace(upload, stored=replace(stored_part(upload), facts_pending=False, facts=facts))


@pytest.mark.parametrize("facts", [FACTS, Facts(), Facts(findings=(Finding.UNEXAMINED,)), Facts(duration=0.0)])
async def test_keeps_facts(catalog: SqlCatalog, facts: Facts) -> None:
    given = pending()
    await catalog.settle([given])
    assert await catalog.get(given.id) == given
    assert await catalog.facts.record({given.id: facts}) == {given.id}
    assert await catalog.get(given.id) == with_facts(given, facts)
    assert await catalog.facts.pending(9) == []


async def test_those_who_wait_for_facts_come_the_oldest_first(catalog: SqlCatalog) -> None:
    waiting = [pending() for _ in range(3)]
    late = [replace(one, stored=replace(stored_part(one), at=NOON + n * SECOND)) for n, one in enumerate(waiting)]
    await catalog.settle([*reversed(late), upload()])
    assert await catalog.facts.pending(2) == late[:2]
    assert await catalog.facts.pending(9) == late
    await catalog.facts.forgo()
    assert await catalog.facts.pending(9) == []
    assert (await catalog.get(late[0].id)).stored == replace(stored_part(late[0]), facts_pending=False)


async def test_there_are_no_facts_of_what_is_not_there(catalog: SqlCatalog) -> None:
    begun = receiving()
    await catalog.create(begun)
    assert await catalog.facts.record({uuid4(): FACTS, begun.id: FACTS}) == set()
    assert await catalog.get(begun.id) == begun


async def test_what_waits_for_its_facts_is_told_to_nobody_and_what_is_behind_it_waits_too(path: Path) -> None:
    rung: list[object] = []
    catalog = await SqlCatalog.open(f"sqlite:///{path}", ring=lambda: rung.append(path))
    first, waiting, last = upload(), pending(), upload()
    for one in (first, waiting, last):
        await catalog.settle([one])
    assert [letter.upload for letter in await catalog.outbox.fresh("log", 9)] == [first]
    rung.clear()
    await catalog.facts.record({waiting.id: FACTS})
    assert rung
    told = [first, with_facts(waiting, FACTS), last]
    assert [letter.upload for letter in await catalog.outbox.fresh("log", 9)] == told
    await catalog.close()


async def test_without_facts_nobody_waits_for_them_any_more(path: Path) -> None:
    rung: list[object] = []
    catalog = await SqlCatalog.open(f"sqlite:///{path}", ring=lambda: rung.append(path))
    await catalog.settle([pending()])
    assert await catalog.outbox.fresh("log", 9) == []
    rung.clear()
    await catalog.facts.forgo()
    assert rung
    assert len(await catalog.outbox.fresh("log", 9)) == 1
    await catalog.close()


SOUGHT = [
    (Sought(), 5),
    (Sought(duration_min=2), 2),
    (Sought(duration_max=1.5), 2),
    (Sought(duration_min=1, duration_max=1), 1),
    (Sought(codec="mp3"), 1),
    (Sought(finding=Finding.SILENT), 1),
    (Sought(finding=Finding.CORRUPT), 0),
    (Sought(codec="pcm_s16le", duration_min=1.6, finding=Finding.CLIPPED), 1),
]


@pytest.mark.parametrize(("sought", "number"), SOUGHT)
async def test_finds_uploads_by_their_facts(catalog: SqlCatalog, path: Path, sought: Sought, number: int) -> None:
    known = [
        Facts("mp3", 1.0),
        Facts("pcm_s16le", 1.5, findings=(Finding.CLIPPED, Finding.SILENT)),
        Facts("pcm_s16le", 2.0, findings=(Finding.CLIPPED,)),
        Facts("flac", 7_200.0),
        Facts(findings=(Finding.UNEXAMINED,)),
    ]
    given = {pending().id: facts for facts in known}
    await catalog.settle([upload(id) for id in given])
    assert await catalog.facts.record({**given, uuid4(): FACTS}) == given.keys()
    found = await catalog.list(9, status=None, after=None, sought=sought)
    assert len(found) == number


@pytest.mark.parametrize(
    ("sought", "index"),
    [
        (Sought(duration_min=1), "uploads_newest_by_duration"),
        (Sought(codec="mp3"), "uploads_newest_by_codec"),
        (Sought(finding=Finding.SILENT), "uploads_newest_with_findings"),
    ],
)
async def test_a_search_walks_an_index_in_its_order(catalog: SqlCatalog, sought: Sought, index: str) -> None:
    said: list[str] = []

    def explain(connection: Any, _cursor: object, statement: str, values: Any, *_: object) -> None:
        if statement.startswith("SELECT"):
            rows = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
            said.extend(row[3] for row in rows)

    event.listen(catalog._database._engine, "before_cursor_execute", explain)
    await catalog.list(9, status=None, after=None, sought=sought)
    assert len(said) == 1
    assert index in said[0]


async def test_those_who_wait_are_found_without_looking_at_all_others(catalog: SqlCatalog, path: Path) -> None:
    plan = "EXPLAIN QUERY PLAN SELECT * FROM uploads WHERE facts_pending = 1 ORDER BY stored_at LIMIT 9"
    assert "uploads_unexamined" in str(query(path, plan))
    said: list[str] = []
    event.listen(catalog._database._engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    await catalog.facts.pending(9)
    assert "uploads.facts_pending = 1 ORDER BY uploads.stored_at" in " ".join(said[0].split())


async def test_keeps_the_first_outline_as_long_as_the_upload(catalog: SqlCatalog) -> None:
    given, other = upload(), upload()
    await catalog.settle([given, other])
    outline = Outline(48_000, 16, bytes(range(256)))
    assert await catalog.waveforms.find(given.id) == ()
    await catalog.waveforms.keep(given.id, outline)
    await catalog.waveforms.keep(given.id, None)
    await catalog.waveforms.keep(other.id, None)
    await catalog.waveforms.keep(uuid4(), outline)
    assert await catalog.waveforms.find(given.id) == (outline,)
    assert await catalog.waveforms.find(other.id) == (None,)
    await catalog.remove(given.id)
    assert await catalog.waveforms.find(given.id) == ()
