"""Stopping without losing uploads."""

from __future__ import annotations

import asyncio

import pytest

from maie_aiohttp.errors import Draining, IntakeError
from maie_aiohttp.web.drain import Drain


class Reading:
    """An upload that reads until it is told to stop, or that everything is there."""

    def __init__(self) -> None:
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def interrupt(self, error: IntakeError, /) -> None:
        self.end.set_exception(error)

    async def run(self, drain: Drain) -> None:
        with drain.upload(self):
            await self.end


class Settling(Reading):
    """An upload that has all its bytes: there is nothing left to interrupt."""

    def interrupt(self, _: IntakeError) -> None:
        asyncio.get_running_loop().call_later(0.01, self.end.set_result, None)


class Deaf(Reading):
    """An upload that does not wait for its body."""

    interrupted = False

    def interrupt(self, _: IntakeError) -> None:
        self.interrupted = True


async def nothing() -> None:
    """There is nobody else to tell."""


async def start(drain: Drain, upload: Reading) -> asyncio.Task[None]:
    task = asyncio.create_task(upload.run(drain))
    await asyncio.sleep(0)
    return task


async def test_an_idle_server_stops_at_once() -> None:
    drain = Drain()
    drain.check()
    assert await drain.run(0, nothing) == 0


async def test_what_ends_in_time_is_waited_for() -> None:
    drain, upload = Drain(), Reading()
    task = await start(drain, upload)
    assert len(drain) == 1
    stopping = asyncio.create_task(drain.run(60, nothing))
    await asyncio.sleep(0)
    upload.end.set_result(None)
    assert await stopping == 0
    assert len(drain) == 0
    await task


async def test_nothing_new_is_taken_while_stopping() -> None:
    drain, upload = Drain(), Reading()
    await start(drain, upload)
    stopping = asyncio.create_task(drain.run(60, nothing))
    await asyncio.sleep(0)
    with pytest.raises(Draining):
        drain.check()
    with pytest.raises(Draining):
        await Reading().run(drain)
    assert len(drain) == 1
    upload.end.set_result(None)
    await stopping


async def test_what_is_late_is_told_to_come_back() -> None:
    drain = Drain()
    late = [await start(drain, Reading()) for _ in range(3)]
    assert await drain.run(0.01, nothing) == 3
    for task in late:
        with pytest.raises(Draining):
            await task


async def test_what_waits_for_something_else_is_given_up() -> None:
    drain, upload = Drain(), Deaf()
    task = await start(drain, upload)

    async def give_up() -> None:
        assert upload.interrupted
        upload.end.set_exception(Draining("Come back."))

    assert await drain.run(0, give_up) == 1
    with pytest.raises(Draining):
        await task


async def test_nobody_is_given_up_in_time() -> None:
    drain, upload = Drain(), Reading()
    task = await start(drain, upload)
    asyncio.get_running_loop().call_soon(upload.end.set_result, None)
    assert await drain.run(60, _fail) == 0
    await task


async def _fail() -> None:
    raise AssertionError("given up")


async def test_what_has_all_its_bytes_is_waited_for_even_when_late() -> None:
    drain = Drain()
    task = await start(drain, Settling())
    assert await drain.run(0, nothing) == 1
    assert task.done()
    assert task.exception() is None


async def test_a_failed_upload_is_counted_out() -> None:
    drain, upload = Drain(), Reading()
    task = await start(drain, upload)
    upload.end.set_exception(OSError("reset"))
    with pytest.raises(OSError, match="reset"):
        await task
    assert await drain.run(0, nothing) == 0
