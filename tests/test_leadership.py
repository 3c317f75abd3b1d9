"""One at a time; the other when it ends."""

from __future__ import annotations

import asyncio
import signal
from contextlib import closing
from pathlib import Path

import pytest

from maie_aiohttp.crew import leadership
from maie_aiohttp.crew.leadership import HOUSEKEEPING, leading
from maie_aiohttp.intake.locks import Locks
from tests.test_locks import line, other


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "LOOK_AGAIN", 0.01)


async def lead(locks: Locks, leads: asyncio.Event) -> None:
    async with leading(locks):
        leads.set()
        await asyncio.Event().wait()


async def test_who_waits_takes_over_when_the_leader_is_killed(tmp_path: Path) -> None:
    file, leads = tmp_path / "locks", asyncio.Event()
    with closing(Locks(file)) as locks:
        async with other("own", file, HOUSEKEEPING) as process:
            assert await line(process) == "owned"
            waiting = asyncio.create_task(lead(locks, leads))
            await asyncio.sleep(0.05)
            assert not leads.is_set()
            process.send_signal(signal.SIGKILL)
            await leads.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        with locks.own(HOUSEKEEPING):
            pass
