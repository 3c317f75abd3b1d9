"""What nobody waits for stands still while uploads keep the process busy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from threading import Event, Thread
from time import monotonic

import pytest

from maie_aiohttp.concurrency import beside
from maie_aiohttp.limits import deference
from maie_aiohttp.limits.deference import REST, give_way


@pytest.fixture(autouse=True)
def _others_use_this_machine_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deference, "BUSY", 0.1)
    monkeypatch.setattr(deference, "LOOK", 0.02)


class Work:
    """Knows for how long it went on, and stood still."""

    def __init__(self) -> None:
        self.stands_still = False
        self.interruptions = 0
        self.spent = {False: 0.0, True: 0.0}
        """Seconds, by whether it stood still."""
        self._since = monotonic()

    def interrupt(self) -> None:
        self.interruptions += 1
        self._become(stands_still=True)

    def go_on(self) -> None:
        self._become(stands_still=False)

    def _become(self, *, stands_still: bool) -> None:
        now = monotonic()
        self.spent[self.stands_still] += now - self._since
        self.stands_still, self._since = stands_still, now


@contextmanager
def busy() -> Iterator[None]:
    """A thread takes what there is of a core, as a digest does: without the interpreter's lock."""
    done = Event()

    def work() -> None:
        block = bytes(4 * 1024 * 1024)
        while not done.is_set():
            sha256(block)

    thread = Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@asynccontextmanager
async def giving_way(*, under_way: bool = True) -> AsyncIterator[Work]:
    work, event = Work(), asyncio.Event()
    if under_way:
        event.set()
    async with beside(give_way(work, event)):
        yield work


async def until_interrupted(work: Work, times: int = 1) -> None:
    async with asyncio.timeout(60):
        while work.interruptions < times or not work.stands_still:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


async def test_in_a_busy_process_it_stands_still_for_longer_than_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deference, "BUSY", -1.0)
    async with giving_way() as work:
        await until_interrupted(work, times=2)
        assert work.spent[True] >= REST * deference.LOOK


async def test_in_an_idle_process_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deference, "BUSY", 0.9)
    async with giving_way() as work:
        await asyncio.sleep(0.5)
    assert work.interruptions == 0


async def test_it_goes_on_once_the_process_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deference, "REST", 10_000)
    async with giving_way() as work:
        with busy():
            await until_interrupted(work)
        async with asyncio.timeout(60):
            while work.stands_still:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)


async def test_nothing_is_interrupted_that_is_not_under_way() -> None:
    with busy():
        async with giving_way(under_way=False) as work:
            await asyncio.sleep(0.5)
    assert work.interruptions == 0


async def test_nothing_stands_still_behind_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deference, "REST", 10_000)
    with busy():
        async with giving_way() as work:
            await until_interrupted(work)
        assert not work.stands_still
