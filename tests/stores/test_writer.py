"""From the loop to the disk: in order, a few blocks ahead, and nothing forgotten."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import pytest

from maie_aiohttp.interfaces import Advance, Chunk, unheard
from maie_aiohttp.stores.writer import DEPTH, TURN, Writer

BLOCKS = 3 * TURN


@asynccontextmanager
async def writing(write: Callable[[Chunk], int | None], advance: Advance = unheard) -> AsyncIterator[Writer]:
    with ThreadPoolExecutor(1) as executor:
        async with Writer(executor, write, advance) as writer:
            yield writer


def kept() -> None:
    """For blocks whose memory is nobody's concern."""


async def put_all(writer: Writer, number: int = BLOCKS) -> None:
    for block in range(number):
        await writer.room()
        writer.put(bytes([block]), kept)


async def test_blocks_are_written_in_order_however_they_come() -> None:
    blocks: list[Chunk] = []
    async with writing(blocks.append) as writer:
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

    def write(block: Chunk) -> None:
        assert together.acquire(blocking=False), "two at once"
        time.sleep(0.008)
        blocks.append(block)
        together.release()

    with ThreadPoolExecutor(4) as executor:
        async with Writer(executor, write, unheard) as writer:
            writer._lock = Dawdling()  # type: ignore[assignment]
            for block in range(0, BLOCKS, 2):
                await asyncio.sleep(0.002)  # by now a thread has found that there is nothing left
                writer.put(bytes([block]), kept)
                writer.put(bytes([block + 1]), kept)
                await writer.written()
    assert blocks == [bytes([block]) for block in range(BLOCKS)]


async def test_every_block_gives_its_memory_back_once() -> None:
    released: list[int] = []
    async with writing(lambda _: None) as writer:
        for block in range(BLOCKS):
            await writer.room()
            writer.put(b"x", partial(released.append, block))
    assert released == list(range(BLOCKS))


async def test_dropped_blocks_give_their_memory_back_too() -> None:
    gate = threading.Event()
    released: list[int] = []
    async with writing(lambda _: gate.wait() and None) as writer:
        for block in range(DEPTH):
            writer.put(b"x", partial(released.append, block))
        gate.set()
    assert released == list(range(DEPTH))


async def test_others_get_the_thread_although_blocks_keep_coming() -> None:
    order: list[str] = []
    begun, gate = threading.Event(), threading.Event()

    def write(_: Chunk) -> None:
        begun.set()
        gate.wait()
        order.append("block")

    with ThreadPoolExecutor(1) as executor:
        async with Writer(executor, write, unheard) as writer:
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

    def write(block: Chunk) -> None:
        if block == b"\2":
            raise OSError("pulled out")
        blocks.append(block)

    async with writing(write) as writer:
        with pytest.raises(OSError, match="pulled out"):
            await put_all(writer)
        with pytest.raises(OSError, match="pulled out"):
            await writer.written()
    assert blocks == [b"\0", b"\1"]


async def test_durable_sizes_are_heard_in_order_and_the_last_one_always() -> None:
    heard: list[int] = []

    async def advance(size: int) -> None:
        await asyncio.sleep(0)
        heard.append(size)

    sizes = iter(range(1, BLOCKS + 1))
    async with writing(lambda _: next(sizes), advance) as writer:
        await put_all(writer)
        await writer.written()
        assert heard[-1] == BLOCKS
    assert heard == sorted(set(heard))


async def test_what_advance_raises_ends_the_upload() -> None:
    async def advance(_: int) -> None:
        raise LookupError("no such upload")

    async with writing(lambda _: 1, advance) as writer:
        writer.put(b"x", kept)
        with pytest.raises(LookupError):
            await writer.written()


async def test_advance_hears_nothing_more_once_it_has_failed() -> None:
    heard: list[int] = []
    failed, gate = asyncio.Event(), threading.Event()

    def write(block: Chunk) -> int:
        if block != b"first":
            gate.wait()
        return len(block)

    async def refuse(size: int) -> None:
        heard.append(size)
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
    assert heard == [len(b"first")]


async def test_leaving_waits_until_advance_has_ended() -> None:
    ended = False

    async def advance(_: int) -> None:
        nonlocal ended
        await asyncio.sleep(0.01)
        ended = True

    async with writing(lambda _: 1, advance) as writer:
        writer.put(b"x", kept)
    assert ended


async def test_a_system_without_threads_fails_the_upload_and_holds_nobody() -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    async with Writer(executor, lambda _: None, unheard) as writer:
        with pytest.raises(RuntimeError):
            writer.put(b"x", kept)
        assert writer.is_idle
