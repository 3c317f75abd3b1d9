"""Limits of time for work that may be interrupted."""

from __future__ import annotations

import asyncio

import pytest

from maie_aiohttp.inspection.deadlines import Deadlines

LIMIT = 0.5
"""Seconds."""


async def endless(deadlines: Deadlines, seconds: float = LIMIT) -> None:
    async with deadlines.within(seconds):
        await asyncio.Event().wait()


async def test_what_takes_longer_is_ended() -> None:
    with pytest.raises(TimeoutError):
        await endless(Deadlines())


async def test_an_interruption_does_not_count() -> None:
    deadlines = Deadlines()
    work = asyncio.create_task(endless(deadlines))
    for _ in range(4):
        await asyncio.sleep(0.01)
        deadlines.interrupt()
        await asyncio.sleep(LIMIT)
        assert not work.done()
        deadlines.go_on()
    with pytest.raises(TimeoutError):
        await work


async def test_only_what_is_left_counts() -> None:
    deadlines = Deadlines()
    work = asyncio.create_task(endless(deadlines, 60))
    await asyncio.sleep(0)
    (limit,) = deadlines._running
    for _ in range(3):
        left = remaining(limit)
        await asyncio.sleep(0.05)
        deadlines.interrupt()
        await asyncio.sleep(0.01)
        deadlines.go_on()
        assert remaining(limit) <= left - 0.05
    assert not deadlines._left
    work.cancel()


def remaining(limit: asyncio.Timeout) -> float:
    ends_at = limit.when()
    assert ends_at is not None
    return ends_at - asyncio.get_running_loop().time()


async def test_what_begins_during_an_interruption_begins_behind_it() -> None:
    deadlines = Deadlines()
    deadlines.interrupt()
    begun = asyncio.Event()

    async def work() -> None:
        async with deadlines.within(LIMIT):
            begun.set()

    task = asyncio.create_task(work())
    await asyncio.sleep(2 * LIMIT)
    assert not begun.is_set()
    deadlines.go_on()
    await task
    assert begun.is_set()


async def test_what_ends_during_an_interruption_is_over() -> None:
    deadlines = Deadlines()
    work = asyncio.create_task(endless(deadlines))
    await asyncio.sleep(0)
    deadlines.interrupt()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    deadlines.go_on()


async def test_one_interruption_in_another_is_the_same() -> None:
    deadlines = Deadlines()
    work = asyncio.create_task(endless(deadlines))
    await asyncio.sleep(0)
    deadlines.interrupt()
    deadlines.interrupt()
    await asyncio.sleep(2 * LIMIT)
    assert not work.done()
    deadlines.go_on()
    deadlines.go_on()
    with pytest.raises(TimeoutError):
        await work


async def test_what_has_expired_is_not_revived() -> None:
    """An interruption begins after the limit has gone off and before the work hears of it."""
    deadlines = Deadlines()
    loop = asyncio.get_running_loop()
    interrupted = loop.create_future()

    def interrupt() -> None:
        (limit,) = deadlines._running
        assert limit.expired()
        deadlines.interrupt()
        interrupted.set_result(None)

    loop.call_at(loop.time() + LIMIT, loop.call_soon, interrupt)
    with pytest.raises(TimeoutError):
        await endless(deadlines)
    deadlines.go_on()
    assert interrupted.done()
