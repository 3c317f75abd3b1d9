"""The relay: what is stored is delivered, at least once, to each target by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maie_aiohttp import relay as module
from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.crew.bell import Bell
from maie_aiohttp.errors import Undeliverable, Undelivered
from maie_aiohttp.model import Backlog, Event, Handed, Letter, Upload
from maie_aiohttp.relay import Relay, Schedule, relay
from tests.layers import impatient, locked, sql_catalog, stored_part, upload
from tests.targets import Notebook, hang, refuse

PAGE = 20
"""Letters taken at a time, in these tests."""

QUICK = Schedule(attempts=5, first_pause=0.001, longest_pause=0.002)


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", PAGE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the catalog is."""
    return tmp_path / "catalog.sqlite"


@pytest.fixture
async def bell(tmp_path: Path) -> AsyncIterator[Bell]:
    """Rung by the catalog."""
    bell = Bell(tmp_path / "bell")
    yield bell
    bell.close()


@pytest.fixture
async def catalog(path: Path, bell: Bell) -> AsyncIterator[SqlCatalog]:
    """A catalog that rings."""
    catalog = await SqlCatalog.open(f"sqlite:///{path}", ring=bell.ring)
    yield catalog
    await catalog.close()


async def settle(catalog: SqlCatalog, count: int = 1) -> list[Upload]:
    """Store that many, in this order."""
    uploads = [upload(age=-number) for number in range(count)]
    await catalog.settle(uploads)
    return uploads


def made(catalog: SqlCatalog, target: Notebook, schedule: Schedule = QUICK, *, concurrency: int = 4) -> Relay:
    return Relay(catalog.outbox, target, Path("/data").joinpath, schedule, concurrency=concurrency)


@asynccontextmanager
async def relaying(bell: Bell, *relays: Relay) -> AsyncIterator[None]:
    """As a server does it."""
    with bell.listening() as heard:
        task = asyncio.create_task(relay(relays, heard))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def standing(catalog: SqlCatalog, wanted: Callable[[Sequence[Letter]], bool]) -> Sequence[Letter]:
    """All letters, as soon as they stand as wanted; the oldest first."""
    while not wanted(letters := (await catalog.outbox.list(1000))[::-1]):  # noqa: ASYNC110 - another connection's doing
        await asyncio.sleep(0.005)
    return letters


def all_are(status: Handed, count: int = 1) -> Callable[[Sequence[Letter]], bool]:
    return lambda letters: [letter.status for letter in letters] == [status] * count


def ids(told: Sequence[Event]) -> list[str]:
    return [event.id for event in told]


async def test_what_is_stored_is_told_with_all_that_is_known_of_it(catalog: SqlCatalog, bell: Bell) -> None:
    (stored,) = await settle(catalog)
    target = Notebook()
    async with relaying(bell, made(catalog, target)):
        (letter,) = await standing(catalog, all_are(Handed.DELIVERED))
    (event,) = target.told
    at = stored_part(stored).at
    assert event == Event(str(stored.id), "upload.stored", at, stored, Path("/data") / stored_part(stored).locator)
    assert (letter.target, letter.attempts, letter.error, letter.upload) == ("notebook", 1, None, stored)


async def test_the_bell_wakes_it(catalog: SqlCatalog, bell: Bell) -> None:
    target = Notebook()
    async with relaying(bell, made(catalog, target)):
        for count in range(1, 4):
            await settle(catalog)
            await target.until(lambda count=count: len(target.taken) == count)  # type: ignore[misc]  # bound early


async def test_each_of_many_is_told_once(catalog: SqlCatalog, bell: Bell) -> None:
    uploads = await settle(catalog, 2 * PAGE + 50)
    target = Notebook()
    async with relaying(bell, made(catalog, target)):
        await standing(catalog, all_are(Handed.DELIVERED, len(uploads)))
        await settle(catalog)
        await standing(catalog, all_are(Handed.DELIVERED, len(uploads) + 1))
    assert ids(target.told)[:-1] == [str(one.id) for one in uploads]
    assert await catalog.outbox.backlog(target.name) == Backlog(0, 0)


async def test_no_more_at_a_time_than_allowed(catalog: SqlCatalog, bell: Bell) -> None:
    await settle(catalog, 30)

    async def dawdle(_: Event) -> None:
        await asyncio.sleep(0.001)

    target = Notebook(react=dawdle)
    async with relaying(bell, made(catalog, target, concurrency=3)):
        await standing(catalog, all_are(Handed.DELIVERED, 30))
    assert target.most_at_once == 3


async def test_what_fails_is_tried_again(catalog: SqlCatalog, bell: Bell) -> None:
    (stored,) = await settle(catalog)
    target = Notebook(react=refuse)
    async with relaying(bell, made(catalog, target, replace(QUICK, attempts=10_000))):
        await target.until(lambda: len(target.told) == 3)
        (letter,) = await standing(catalog, lambda letters: letters[0].attempts > 2)
        target.react = Notebook().react
        assert (letter.status, letter.error) == (Handed.PENDING, "Not now.")
        (letter,) = await standing(catalog, all_are(Handed.DELIVERED))
    assert {*ids(target.told)} == {str(stored.id)}
    assert letter.attempts == len(target.told)
    assert letter.error is None


async def test_what_nobody_takes_is_given_up_and_can_be_replayed(catalog: SqlCatalog, bell: Bell) -> None:
    (stored,) = await settle(catalog)
    target = Notebook(react=refuse)
    async with relaying(bell, made(catalog, target)):
        (letter,) = await standing(catalog, all_are(Handed.DEAD))
        assert (letter.attempts, letter.error, letter.due_at, len(target.told)) == (5, "Not now.", None, 5)
        assert await catalog.outbox.backlog(target.name) == Backlog(0, 1)
        target.react = Notebook().react
        assert await catalog.outbox.replay(datetime.now(UTC), id=stored.id) == 1
        await standing(catalog, all_are(Handed.DELIVERED))
    assert await catalog.outbox.backlog(target.name) == Backlog(0, 0)


async def test_what_will_never_be_taken_is_given_up_at_once(catalog: SqlCatalog, bell: Bell) -> None:
    await settle(catalog)

    async def gone(_: Event) -> None:
        raise Undeliverable("Never.")

    target = Notebook(react=gone)
    async with relaying(bell, made(catalog, target)):
        (letter,) = await standing(catalog, all_are(Handed.DEAD))
    assert (letter.attempts, letter.error, len(target.told)) == (1, "Never.", 1)


@pytest.mark.parametrize("error", [ValueError("bug"), ExceptionGroup("bugs", [KeyError(1)]), asyncio.CancelledError()])
async def test_a_target_with_a_bug_counts_as_one_that_fails(
    catalog: SqlCatalog, bell: Bell, error: BaseException
) -> None:
    await settle(catalog)

    async def stumble(_: Event) -> None:
        raise error

    async with relaying(bell, made(catalog, Notebook(react=stumble))):
        (letter,) = await standing(catalog, all_are(Handed.DEAD))
    assert letter.error == "The hand-off itself failed; the server's log says how."


async def test_a_reason_is_one_line_and_not_endless(catalog: SqlCatalog, bell: Bell) -> None:
    await settle(catalog)

    async def ramble(_: Event) -> None:
        raise Undeliverable("a\nb\x1b[31m\0" + "c" * 10_000)

    async with relaying(bell, made(catalog, Notebook(react=ramble))):
        (letter,) = await standing(catalog, all_are(Handed.DEAD))
    assert letter.error is not None
    assert (letter.error.isprintable(), len(letter.error)) == (True, module.LONGEST_REASON)


async def test_a_target_that_says_when_is_asked_no_earlier(catalog: SqlCatalog, bell: Bell) -> None:
    await settle(catalog, 2)

    async def wish(event: Event) -> None:
        raise Undelivered("Later.", retry_after=100 if len(target.told) == 1 else 1e9)

    target = Notebook(react=wish)
    before = datetime.now(UTC)
    async with relaying(bell, made(catalog, target, concurrency=1)):
        letters = await standing(catalog, lambda letters: [one.attempts for one in letters] == [1, 1])
    soon, late = (letter.due_at - before for letter in letters if letter.due_at)
    assert timedelta(seconds=100) <= soon <= timedelta(seconds=200)
    assert timedelta(days=1) <= late <= timedelta(days=1, seconds=100)


@pytest.mark.parametrize("react", [refuse, hang])
async def test_fault_49_a_bad_target_does_not_block_another(
    catalog: SqlCatalog, bell: Bell, react: Callable[[Event], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 0)
    bad, good = Notebook("bad", react), Notebook("good")
    async with relaying(bell, made(catalog, bad), made(catalog, good)):
        await settle(catalog, PAGE)
        await good.until(lambda: len(good.taken) == PAGE)
        await settle(catalog)
        await good.until(lambda: len(good.taken) == PAGE + 1)
    assert bad.taken == []


async def test_fault_50_an_event_that_is_never_taken_blocks_no_other(
    catalog: SqlCatalog, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 0)
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    uploads = await settle(catalog, 9)
    poison, slow = str(uploads[0].id), str(uploads[1].id)

    async def choke(event: Event) -> None:
        if event.id == poison:
            raise Undelivered("Cannot read that.")
        if event.id == slow:
            await hang(event)

    target = Notebook(react=choke)
    async with relaying(bell, made(catalog, target)):
        letters = await standing(catalog, lambda letters: bool(letters) and letters[0].status is Handed.DEAD)
        await settle(catalog)
        await target.until(lambda: len(target.taken) == 8)
    assert [letter.status for letter in letters[1:]] == [Handed.PENDING] + [Handed.DELIVERED] * 7


async def test_those_that_wait_do_not_keep_new_ones_out(catalog: SqlCatalog, bell: Bell) -> None:
    await settle(catalog, 3 * PAGE)
    target = Notebook(react=refuse)
    async with relaying(bell, made(catalog, target, Schedule(10_000, 0.001, 0.001))):
        await standing(catalog, lambda letters: len(letters) == 3 * PAGE)
        (new,) = await settle(catalog)
        await target.until(lambda: str(new.id) in ids(target.told))


async def test_an_upload_deleted_meanwhile_is_forgotten(catalog: SqlCatalog, bell: Bell) -> None:
    gone, kept = await settle(catalog, 2)
    let_go = asyncio.Event()

    async def wait(_: Event) -> None:
        await let_go.wait()

    target = Notebook(react=wait)
    async with relaying(bell, made(catalog, target)):
        await target.until(lambda: len(target.told) == 2)
        await catalog.remove(gone.id)
        let_go.set()
        (letter,) = await standing(catalog, all_are(Handed.DELIVERED))
    assert letter.upload == kept


async def test_stopping_lets_what_is_under_way_end(
    catalog: SqlCatalog, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    await settle(catalog, 3)
    let_go = asyncio.Event()

    async def wait(_: Event) -> None:
        await let_go.wait()

    target = Notebook(react=wait)
    async with relaying(bell, made(catalog, target, concurrency=2)):
        await target.until(lambda: len(target.told) == 2)
        asyncio.get_running_loop().call_later(0.05, let_go.set)
    letters = await standing(catalog, lambda letters: len(letters) == 3)
    assert [letter.status for letter in letters] == [Handed.DELIVERED, Handed.DELIVERED, Handed.PENDING]
    assert len(target.told) == 2


async def test_what_hangs_when_it_stops_is_told_again_by_the_next(
    catalog: SqlCatalog, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.01)
    first, second = await settle(catalog, 2)

    async def hang_at_first(event: Event) -> None:
        if event.id == str(first.id):
            await hang(event)

    target = Notebook(react=hang_at_first)
    async with relaying(bell, made(catalog, target)):
        await target.until(lambda: ids(target.taken) == [str(second.id)])
    target.react = Notebook().react
    async with relaying(bell, made(catalog, target)):
        await standing(catalog, all_are(Handed.DELIVERED, 2))
    assert ids(target.told) == [str(first.id), str(second.id), str(first.id)]


async def test_a_catalog_that_fails_makes_nothing_told_again(
    catalog: SqlCatalog, path: Path, bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_AFTER_FAILURE", 0.01)
    await settle(catalog)
    await impatient(catalog)
    target = Notebook()
    with bell.listening() as heard:
        with locked(path):
            task = asyncio.create_task(relay([made(catalog, target)], heard))
            await target.until(lambda: bool(target.taken))
            await asyncio.sleep(0.05)
        await standing(catalog, all_are(Handed.DELIVERED))
        task.cancel()
        await asyncio.wait([task])
    assert len(target.told) == 1


async def test_a_clock_set_back_does_not_put_it_off(catalog: SqlCatalog, bell: Bell) -> None:
    await settle(catalog)
    (letter,) = await catalog.outbox.fresh("notebook", 9)
    a_year = timedelta(days=365)
    await catalog.outbox.file([replace(letter, attempts=1, due_at=datetime.now(UTC) + a_year)])
    async with relaying(bell, made(catalog, Notebook())):
        await standing(catalog, all_are(Handed.DELIVERED))


async def test_what_is_due_later_is_told_later_without_being_woken(catalog: SqlCatalog, bell: Bell) -> None:
    await settle(catalog)
    (letter,) = await catalog.outbox.fresh("notebook", 9)
    due_at = datetime.now(UTC) + timedelta(seconds=0.2)
    await catalog.outbox.file([replace(letter, attempts=1, due_at=due_at)])
    async with relaying(bell, made(catalog, Notebook())):
        (letter,) = await standing(catalog, all_are(Handed.DELIVERED))
    assert letter.delivered_at is not None
    assert letter.delivered_at >= due_at


@settings(deadline=None)
@given(
    st.integers(1, 10**6),
    st.floats(0.001, 1e6, allow_nan=False),
    st.floats(0.001, 1e6, allow_nan=False),
)
def test_pauses_double_up_to_the_longest_and_are_cut_by_up_to_half(attempts: int, first: float, longest: float) -> None:
    whole = min(longest, first * 2.0 ** min(attempts - 1, 60))
    pause = Schedule(9, first, longest).pause(attempts).total_seconds()
    assert whole / 2 - 1e-6 <= pause <= whole + 1e-6


async def test_a_new_target_hears_of_all_that_is_stored(path: Path, catalog: SqlCatalog, bell: Bell) -> None:
    await settle(catalog, 3)
    first, second = Notebook("first"), Notebook("second")
    async with relaying(bell, made(catalog, first)):
        await standing(catalog, all_are(Handed.DELIVERED, 3))
    async with sql_catalog(path) as reopened, relaying(bell, made(reopened, first), made(reopened, second)):
        await standing(catalog, all_are(Handed.DELIVERED, 6))
    assert ids(second.told) == ids(first.told)
