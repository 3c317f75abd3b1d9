"""Shared steps, and steps that are never left half done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from maie_aiohttp.concurrency import Batch, Outcomes, once_a_turn, to_its_end


class Runs:
    """A batch's work: writes down what it was given, and waits for `gate`."""

    executor = ThreadPoolExecutor(2)

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.begins, self.gate = threading.Event(), threading.Event()
        self.batch = Batch(self.executor, self.run)

    def run(self, items: Sequence[str]) -> Outcomes:
        self.seen.append(list(items))
        self.begins.set()
        self.gate.wait()
        return [ValueError(item) if item.startswith("bad") else None for item in items]

    def submit(self, *items: str) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self.batch.submit(item)) for item in items]

    async def begun(self) -> None:
        """Wait until the first run has begun, and let every task go as far as it can."""
        await asyncio.to_thread(self.begins.wait)
        await settled()


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_lone_item_waits_for_nobody() -> None:
    runs = Runs()
    runs.gate.set()
    await runs.batch.submit("one")
    await runs.batch.submit("two")
    assert runs.seen == [["one"], ["two"]]


async def test_a_crowd_shares_the_next_run() -> None:
    runs = Runs()
    (first,) = runs.submit("first")
    await runs.begun()
    crowd = runs.submit(*"abcdef")
    await settled()
    assert runs.seen == [["first"]]
    runs.gate.set()
    await asyncio.gather(first, *crowd)
    assert runs.seen == [["first"], [*"abcdef"]]


async def test_each_hears_its_own_outcome() -> None:
    runs = Runs()
    runs.gate.set()
    outcomes = await asyncio.gather(*runs.submit("good", "bad 1", "fine", "bad 2"), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["None", "bad 1", "None", "bad 2"]


async def test_no_item_is_forgotten_or_handled_twice() -> None:
    """However runs and submissions fall together."""
    handled: list[int] = []

    def run(items: Sequence[int]) -> Outcomes:
        handled.extend(items)
        return [None] * len(items)

    batch = Batch(Runs.executor, run)

    async def submit(turn: int) -> None:
        for item in range(200):
            await batch.submit(turn * 200 + item)
            await asyncio.sleep(0.0001 * (item % 3))

    await asyncio.gather(*map(submit, range(5)))
    assert sorted(handled) == list(range(1000))


async def test_a_run_that_breaks_is_told_to_all_and_the_next_works() -> None:
    broken = True

    def run(items: Sequence[str]) -> Outcomes:
        if broken:
            raise OSError("pulled out")
        return [None] * len(items)

    batch = Batch(Runs.executor, run)
    outcomes = await asyncio.gather(batch.submit("a"), batch.submit("b"), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["pulled out"] * 2
    broken = False
    await batch.submit("c")


async def test_a_system_without_threads_fails_the_item_and_holds_nobody() -> None:
    with ThreadPoolExecutor(1) as executor:
        batch: Batch[str] = Batch(executor, lambda items: [None] * len(items))
    for _ in range(2):  # by now, it takes nothing
        with pytest.raises(RuntimeError):
            await batch.submit("late")


async def test_whoever_leaves_waits_for_the_end_and_disturbs_nobody() -> None:
    runs = Runs()
    leaving, staying = runs.submit("leaving", "staying")
    await settled()
    leaving.cancel()
    await settled()
    assert not leaving.done()
    runs.gate.set()
    await staying
    assert leaving.cancelled()
    assert sorted(item for run in runs.seen for item in run) == ["leaving", "staying"]


async def test_gives_the_result_and_the_error_of_the_work() -> None:
    async def fail() -> None:
        raise KeyError("lost")

    assert await to_its_end(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(KeyError, match="lost"):
        await to_its_end(fail())


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_cancelled_however_often_it_waits_for_the_end(times: int) -> None:
    gate, finished = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        finished.set()

    waiting = asyncio.create_task(to_its_end(work()))
    await settled()
    for _ in range(times):
        waiting.cancel()
        await settled()
        assert not waiting.done()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert finished.is_set()


async def test_work_that_is_cancelled_itself_is_at_its_end() -> None:
    work = asyncio.create_task(asyncio.sleep(60))
    waiting = asyncio.create_task(to_its_end(work))
    await settled()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_the_error_of_work_nobody_waits_for_is_not_reported_as_forgotten() -> None:
    reports: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()
        raise OSError("too late")

    waiting = asyncio.create_task(to_its_end(work()))
    await settled()
    waiting.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    del waiting
    await settled()
    assert reports == []


async def test_who_asks_in_the_same_turn_shares_what_is_done_once_a_turn() -> None:
    done: list[str] = []
    ask = once_a_turn(lambda: done.append("done"))
    for _ in range(3):
        ask()
    assert done == []
    await settled()
    assert done == ["done"]
    ask()
    await settled()
    assert done == ["done", "done"]


async def test_what_is_done_once_a_turn_may_be_asked_for_by_itself() -> None:
    """That is for the next turn."""
    done: list[str] = []

    def work() -> None:
        done.append("done")
        if len(done) == 1:
            ask()

    ask = once_a_turn(work)
    ask()
    await settled()
    assert done == ["done", "done"]


async def test_what_failed_once_a_turn_may_be_asked_for_again() -> None:
    done: list[str] = []

    def work() -> None:
        done.append("done")
        if len(done) == 1:
            raise ValueError("the first time")

    ask = once_a_turn(work)
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["exception"]))
    for _ in range(2):
        ask()
        await settled()
    assert done == ["done", "done"]
    assert len(complaints) == 1


def test_what_is_asked_for_outside_of_the_loop_may_be_asked_for_in_it() -> None:
    done: list[str] = []
    ask = once_a_turn(lambda: done.append("done"))

    async def ask_in_it() -> None:
        ask()
        await settled()

    with pytest.raises(RuntimeError):
        ask()
    asyncio.run(ask_in_it())
    assert done == ["done"]
