"""What nobody waits for rests while uploads keep the process busy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from threading import Event, Thread
from time import monotonic

import pytest

from maie_aiohttp.limits import deference
from maie_aiohttp.limits.deference import REST, giving_way

WORK = 0.05
"""Seconds."""


@pytest.fixture(autouse=True)
def _others_use_this_machine_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deference, "BUSY", 0.1)


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


async def work() -> None:
    async with giving_way():
        await asyncio.sleep(WORK)


async def failing_work() -> None:
    async with giving_way():
        await asyncio.sleep(WORK)
        raise LookupError


async def test_in_a_busy_process_it_rests_for_longer_than_it_worked() -> None:
    begun = monotonic()
    with busy():
        await work()
    assert monotonic() - begun >= (1 + REST) * WORK


async def test_in_an_idle_process_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deference, "REST", 10_000)
    async with asyncio.timeout(60):
        await work()


async def test_it_goes_on_once_the_process_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deference, "REST", 10_000)
    with busy():
        resting = asyncio.create_task(work())
        await asyncio.sleep(4 * WORK)
        assert not resting.done()
    async with asyncio.timeout(60):
        await resting


async def test_what_fails_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deference, "REST", 10_000)
    with busy():
        async with asyncio.timeout(60):
            with pytest.raises(LookupError):
                await failing_work()
