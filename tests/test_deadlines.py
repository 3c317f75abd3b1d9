"""Limits of time that stand still while the work does."""

from __future__ import annotations

import asyncio

import pytest

from maie_aiohttp.inspection.deadlines import Deadlines

LIMIT = 0.2
"""Seconds."""


async def endless(deadlines: Deadlines, seconds: float = LIMIT) -> None:
    async with deadlines.within(seconds):
        await asyncio.Event().wait()


async def test_what_takes_longer_is_ended() -> None:
    with pytest.raises(TimeoutError):
        await endless(Deadlines())


async def test_a_standstill_does_not_count() -> None:
    deadlines = Deadlines()
    work = asyncio.create_task(endless(deadlines))
    for _ in range(4):
        await asyncio.sleep(0.01)
        deadlines.stand_still()
        await asyncio.sleep(LIMIT)
        assert not work.done()
        deadlines.go_on()
    with pytest.raises(TimeoutError):
        await work


async def test_what_is_left_counts() -> None:
    deadlines = Deadlines()
    work = asyncio.create_task(endless(deadlines, 60))
    await asyncio.sleep(0)
    (limit,) = deadlines._running
    ends_at = limit.when()
    deadlines.stand_still()
    await asyncio.sleep(0.1)
    deadlines.go_on()
    moved_to = limit.when()
    assert ends_at is not None
    assert moved_to is not None
    assert 0.1 <= moved_to - ends_at < 60
    work.cancel()


async def test_what_begins_during_a_standstill_begins_behind_it() -> None:
    deadlines = Deadlines()
    deadlines.stand_still()
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


async def test_what_ends_during_a_standstill_is_over() -> None:
    deadlines = Deadlines()
    work = asyncio.create_task(endless(deadlines))
    await asyncio.sleep(0)
    deadlines.stand_still()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    deadlines.go_on()


async def test_one_standstill_in_another_is_the_same() -> None:
    deadlines = Deadlines()
    work = asyncio.create_task(endless(deadlines))
    await asyncio.sleep(0)
    deadlines.stand_still()
    deadlines.stand_still()
    await asyncio.sleep(2 * LIMIT)
    assert not work.done()
    deadlines.go_on()
    deadlines.go_on()
    with pytest.raises(TimeoutError):
        await work


async def test_what_has_expired_is_not_revived() -> None:
    """A standstill begins after the limit has gone off and before the work hears of it."""
    deadlines = Deadlines()
    loop = asyncio.get_running_loop()
    loop.call_at(loop.time() + LIMIT, lambda: loop.call_soon(deadlines.stand_still))
    with pytest.raises(TimeoutError):
        await endless(deadlines)
    deadlines.go_on()
