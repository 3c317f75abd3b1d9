"""From the loop to the disk: in order, a few blocks ahead, and nothing forgotten."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import pytest

from maie_aiohttp.interfaces import Chunk
from maie_aiohttp.stores.writer import DEPTH, TURN, Writer
from tests.crew import until
from tests.layers import Gated, unflushed
from tests.wire import DEADLINE

BLOCKS = 3 * TURN


@asynccontextmanager
async def writing(
    write: Callable[[Chunk], bool], flush: Callable[[], Awaitable[None]] = unflushed
) -> AsyncIterator[Writer]:
    with ThreadPoolExecutor(1) as executor:
        async with Writer(executor, write, flush) as writer:
            yield writer


def keeping(blocks: list[Chunk], *, is_due: bool = False) -> Callable[[Chunk], bool]:
    """A disk that keeps blocks in a list, and what it says of flushing."""

    def write(block: Chunk) -> bool:
        blocks.append(block)
        return is_due

    return write


def due(_: Chunk) -> bool:
    """It is always time to flush."""
    return True


def kept() -> None:
    """For blocks whose memory is nobody's concern."""


async def put_all(writer: Writer, number: int = BLOCKS) -> None:
    for block in range(number):
        await writer.room()
        writer.put(bytes([block]), kept)


async def test_blocks_are_written_in_order_however_they_come() -> None:
    blocks: list[Chunk] = []
    async with writing(keeping(blocks)) as writer:
        for block in range(BLOCKS):
            await writer.room()
            writer.put(bytes([block]), kept)
            if block % 5 == 0:
                await writer.written()
        await writer.written()
        assert blocks == [bytes([block]) for block in range(BLOCKS)]


class Dawdling:
    """A lock that lets others go first when a worker thread gives it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.005)


async def test_no_two_threads_write_one_upload() -> None:
    """Not even where a block comes just when a thread finds that there is none."""
    blocks: list[Chunk] = []
    together = threading.Lock()

    def write(block: Chunk) -> bool:
        assert together.acquire(blocking=False), "two at once"
        time.sleep(0.008)
        blocks.append(block)
        together.release()
        return False

    with ThreadPoolExecutor(4) as executor:
        async with Writer(executor, write, unflushed) as writer:
            writer._lock = Dawdling()  # type: ignore[assignment]
            for block in range(0, BLOCKS, 2):
                await asyncio.sleep(0.002)  # by now a thread has found that there is nothing left
                writer.put(bytes([block]), kept)
                writer.put(bytes([block + 1]), kept)
                await writer.written()
    assert blocks == [bytes([block]) for block in range(BLOCKS)]


async def test_every_block_gives_its_memory_back_once() -> None:
    released: list[int] = []
    async with writing(keeping([])) as writer:
        for block in range(BLOCKS):
            await writer.room()
            writer.put(b"x", partial(released.append, block))
    assert released == list(range(BLOCKS))


async def test_dropped_blocks_give_their_memory_back_too() -> None:
    gate = threading.Event()
    released: list[int] = []
    async with writing(lambda _: not gate.wait(DEADLINE)) as writer:
        for block in range(DEPTH):
            writer.put(b"x", partial(released.append, block))
        gate.set()
    assert released == list(range(DEPTH))


async def test_others_get_the_thread_although_blocks_keep_coming() -> None:
    order: list[str] = []
    begun, gate = threading.Event(), threading.Event()

    def write(_: Chunk) -> bool:
        begun.set()
        gate.wait()
        order.append("block")
        return False

    with ThreadPoolExecutor(1) as executor:
        async with Writer(executor, write, unflushed) as writer:
            for _ in range(BLOCKS):
                writer.put(b"x", kept)
            begun.wait()
            other = executor.submit(order.append, "other")
            gate.set()
            await asyncio.wrap_future(other)
            await writer.written()
    assert order == ["block"] * TURN + ["other"] + ["block"] * (BLOCKS - TURN)


async def test_what_writing_raises_is_raised_to_whoever_waits_and_ends_it() -> None:
    blocks: list[Chunk] = []

    def write(block: Chunk) -> bool:
        if block == b"\2":
            raise OSError("pulled out")
        blocks.append(block)
        return False

    async with writing(write) as writer:
        with pytest.raises(OSError, match="pulled out"):
            await put_all(writer)
        with pytest.raises(OSError, match="pulled out"):
            await writer.written()
    assert blocks == [b"\0", b"\1"]


async def test_all_is_flushed_that_was_written_when_it_was_time() -> None:
    blocks, flushed = list[Chunk](), list[int]()

    async def flush() -> None:
        size = len(blocks)
        await asyncio.sleep(0)
        flushed.append(size)

    async with writing(keeping(blocks, is_due=True), flush) as writer:
        await put_all(writer)
        await writer.written()
        assert flushed[-1] == BLOCKS
    assert flushed == sorted(flushed)


async def test_blocks_are_written_while_a_flush_is_under_way() -> None:
    blocks, flush = list[Chunk](), Gated()

    def write(block: Chunk) -> bool:
        blocks.append(block)
        return len(blocks) == 1

    async with writing(write, flush) as writer:
        await put_all(writer)
        await flush.begun.wait()
        await until(lambda: len(blocks) == BLOCKS)
        assert flush.ended == 0
        flush.through.release()


async def test_there_is_no_room_while_a_flush_waits_for_another() -> None:
    blocks, flush = list[Chunk](), Gated()
    async with writing(keeping(blocks, is_due=True), flush) as writer:
        writer.put(b"x", kept)
        await flush.begun.wait()
        await writer.room()
        writer.put(b"x", kept)
        await until(lambda: len(blocks) == 2)
        room = asyncio.create_task(writer.room())
        await asyncio.sleep(0.01)
        assert not room.done()
        assert not writer.keeps_up
        flush.through.release()
        await room
        assert flush.ended == 1
        flush.through.release()
        await writer.written()
    assert flush.ended == 2
    assert flush.most == 1


async def test_what_a_flush_raises_ends_the_upload() -> None:
    async def flush() -> None:
        raise LookupError("no such upload")

    async with writing(due, flush) as writer:
        writer.put(b"x", kept)
        with pytest.raises(LookupError):
            await writer.written()


async def test_nothing_is_flushed_any_more_once_that_has_failed() -> None:
    flushes = 0
    failed, gate = asyncio.Event(), threading.Event()

    def write(block: Chunk) -> bool:
        return block == b"first" or gate.wait(DEADLINE)

    async def refuse() -> None:
        nonlocal flushes
        flushes += 1
        failed.set()
        raise EOFError("no")

    async with writing(write, refuse) as writer:
        writer.put(b"first", kept)
        writer.put(b"second", kept)
        await failed.wait()
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(EOFError, match="no"):
            await writer.written()
        with pytest.raises(EOFError, match="no"):
            await writer.room()
    assert flushes == 1


async def test_nothing_is_flushed_any_more_once_writing_has_failed() -> None:
    flush = Gated()

    def write(block: Chunk) -> bool:
        if block == b"third":
            raise OSError("pulled out")
        return True

    async with writing(write, flush) as writer:
        writer.put(b"first", kept)
        await flush.begun.wait()
        for block in (b"second", b"second", b"third"):
            writer.put(block, kept)
        with pytest.raises(OSError, match="pulled out"):
            await writer.room()
        flush.through.release()
    assert flush.ended == 1


async def test_leaving_waits_until_a_flush_has_ended() -> None:
    ended = False

    async def flush() -> None:
        nonlocal ended
        await asyncio.sleep(0.01)
        ended = True

    async with writing(due, flush) as writer:
        writer.put(b"x", kept)
    assert ended


async def test_a_flush_that_is_cancelled_holds_nobody() -> None:
    """A loop that ends cancels all there is."""
    flush, before = Gated(), asyncio.all_tasks()
    async with asyncio.timeout(DEADLINE), writing(due, flush) as writer:
        writer.put(b"x", kept)
        await flush.begun.wait()
        (flushing,) = asyncio.all_tasks() - before
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writer.written()


async def test_a_system_without_threads_fails_the_upload_and_holds_nobody() -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    async with Writer(executor, due, unflushed) as writer:
        with pytest.raises(RuntimeError):
            writer.put(b"x", kept)
        assert writer.keeps_up
