"""A bell between processes."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from maie_aiohttp.crew.bell import FULL, Bell, Heard
from maie_aiohttp.errors import StorageFailed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where it hangs."""
    return tmp_path / "bell"


@pytest.fixture
def bell(file: Path) -> Iterator[Bell]:
    """One that hangs there."""
    bell = Bell(file)
    yield bell
    bell.close()


async def is_heard(heard: Heard) -> bool:
    """Whether it was rung; what is not in the FIFO by now will not be."""
    task = asyncio.ensure_future(heard())
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return not task.cancelled()


async def test_is_heard_once_however_often_it_was_rung(bell: Bell) -> None:
    for _ in range(FULL + 9):
        bell.ring()
    with bell.listening() as heard:
        assert [await is_heard(heard), await is_heard(heard)] == [True, False]


async def test_wakes_who_waits(bell: Bell) -> None:
    with bell.listening() as heard:
        waiting = asyncio.ensure_future(heard())
        await asyncio.sleep(0)
        bell.ring()
        await waiting


async def test_all_who_listen_hear_it(bell: Bell) -> None:
    """Also those who do something else while it is rung, and when others hear it."""
    with bell.listening() as ada, bell.listening() as bob, bell.listening() as eve:
        for _ in range(2):
            waiting = [asyncio.ensure_future(heard()) for heard in (ada, bob)]
            await asyncio.sleep(0)
            bell.ring()
            await asyncio.gather(*waiting)
            assert [await is_heard(heard) for heard in (ada, bob, eve)] == [False, False, True]


async def test_who_waits_no_longer_takes_it_from_nobody(bell: Bell) -> None:
    with bell.listening() as ada, bell.listening() as bob:
        waiting = [asyncio.ensure_future(heard()) for heard in (ada, bob)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        bell.ring()
        await waiting[1]
        assert [await is_heard(ada), await is_heard(bob)] == [True, False]


async def test_what_nobody_heard_is_for_the_next(file: Path, bell: Bell) -> None:
    with bell.listening():
        bell.ring()
        await asyncio.sleep(0)
    next_one = Bell(file)
    with next_one.listening() as heard:
        assert await is_heard(heard)
    next_one.close()


async def test_what_was_rung_by_another_process_is_heard(file: Path, bell: Bell) -> None:
    code = "import sys, pathlib; from maie_aiohttp.crew.bell import Bell; Bell(pathlib.Path(sys.argv[1])).ring()"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, file)
    assert await process.wait() == 0
    with bell.listening() as heard:
        assert await is_heard(heard)


def test_who_rings_a_closed_bell_writes_to_no_other_file(file: Path) -> None:
    bell = Bell(file)
    bell.close()
    elsewhere = file.with_name("elsewhere")
    with elsewhere.open("wb"):  # has the descriptor that the bell had
        bell.ring()
    assert elsewhere.read_bytes() == b""


def test_nobody_else_may_ring(bell: Bell, file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("what", ["file", "link", "folder"])
def test_what_stands_in_its_place_is_not_touched(file: Path, what: str) -> None:
    match what:
        case "file":
            file.write_text("mine")
        case "link":
            file.symlink_to(file.with_name("elsewhere"))
        case _:
            file.mkdir()
    before = os.lstat(file)
    with pytest.raises(StorageFailed, match="bell"):
        Bell(file)
    assert os.lstat(file) == before
    assert not file.with_name("elsewhere").exists()
