"""Gathering: few large writes, in order, within one budget."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maie_aiohttp.interfaces import HEAD, Chunk
from maie_aiohttp.limits import allocator
from maie_aiohttp.stores import blocks
from maie_aiohttp.stores.blocks import LARGEST_CRUMB, OTHERS_TURN, SMALLEST_CRUMB, BlockBudget
from maie_aiohttp.stores.gatherer import SMALL, Gatherer
from maie_aiohttp.stores.writer import DEPTH, Writer
from tests.layers import KIB, MIB, Gated, unflushed


class Written:
    """What was written, block by block; never two at once. While `gate` is closed, writing takes for ever."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.is_due = False
        """Whether it is time for a flush with each block."""
        self._one_at_a_time = threading.Lock()

    def __call__(self, block: Chunk) -> bool:
        assert self._one_at_a_time.acquire(blocking=False)
        self.begun.set()
        self.gate.wait()
        self._one_at_a_time.release()
        if self.failure:
            raise self.failure
        self.blocks.append(bytes(block))
        return self.is_due

    @property
    def sizes(self) -> list[int]:
        return [len(block) for block in self.blocks]


@asynccontextmanager
async def gathering(
    shared: BlockBudget,
    written: Written,
    at_most: int | None = None,
    flush: Callable[[], Awaitable[None]] = unflushed,
) -> AsyncIterator[Gatherer]:
    """One upload's block, with threads that write it."""
    with ThreadPoolExecutor(2) as executor:
        async with (
            Writer(executor, written, flush) as writer,
            Gatherer(shared, writer, at_most=at_most) as gatherer,
        ):
            yield gatherer


def budget(largest: int = MIB, total: int = 16 * MIB) -> BlockBudget:
    return BlockBudget(largest=largest, total=total)


async def feed(gatherer: Gatherer, chunk: bytes) -> None:
    """As a store does."""
    await gatherer.add(chunk)
    await gatherer.make_room()


async def gather(written: Written, chunks: Sequence[bytes], at_most: int | None = None) -> bytes:
    """A whole upload; returns what was left for the last write."""
    async with gathering(budget(largest=100_000), written, at_most) as gatherer:
        for chunk in chunks:
            await feed(gatherer, chunk)
        return bytes(await gatherer.rest())


@given(
    sizes=st.lists(st.integers(0, 3 * HEAD), max_size=20),
    at_most=st.one_of(st.none(), st.integers(0, 2 * SMALL)),
)
def test_what_is_written_is_what_was_given(sizes: list[int], at_most: int | None) -> None:
    given = [bytes([number]) * size for number, size in enumerate(sizes)]

    async def upload() -> bytes:
        written = Written()
        rest = await gather(written, given, at_most)
        return b"".join(written.blocks) + rest

    assert asyncio.run(upload()) == b"".join(given)


@pytest.mark.parametrize("size", [1, HEAD, 2 * HEAD, SMALL])
async def test_an_upload_known_to_be_small_is_left_for_one_write(size: int) -> None:
    written = Written()
    async with gathering(budget(), written, size) as gatherer:
        for chunk in [b"x" * 1000] * (size // 1000) + [b"x" * (size % 1000)]:
            await feed(gatherer, chunk)
        assert len(await gatherer.rest()) == size
    assert written.blocks == []


async def test_in_a_crowd_even_a_small_upload_is_written_in_blocks() -> None:
    written = Written()
    async with gathering(budget(largest=HEAD), written, SMALL) as gatherer:
        await feed(gatherer, b"x" * HEAD)
    assert written.sizes == [HEAD]


@pytest.mark.parametrize("at_most", [None, SMALL + 1, 10 * MIB])
async def test_the_first_block_is_the_head_and_is_waited_for(at_most: int | None) -> None:
    written = Written()
    async with gathering(budget(), written, at_most) as gatherer:
        await feed(gatherer, b"x" * (HEAD - 1))
        assert written.sizes == []
        await feed(gatherer, b"x")
        assert written.sizes == [HEAD]


async def test_later_blocks_are_as_large_as_allowed_and_written_behind_the_reading() -> None:
    written = Written()
    async with gathering(budget(largest=200 * KIB), written) as gatherer:
        await feed(gatherer, b"x" * HEAD)
        written.gate.clear()
        for _ in range(3):
            await feed(gatherer, b"x" * 100 * KIB)
        assert written.sizes == [HEAD]
        written.gate.set()
        assert len(await gatherer.rest()) == 100 * KIB
    assert written.sizes == [HEAD, 200 * KIB]


async def test_a_disk_that_is_slower_than_the_client_holds_the_client_back() -> None:
    written = Written()
    async with gathering(budget(largest=HEAD), written) as gatherer:
        await feed(gatherer, b"x" * HEAD)
        written.gate.clear()
        for _ in range(DEPTH):
            await feed(gatherer, b"x" * HEAD)
        another = asyncio.create_task(feed(gatherer, b"x" * HEAD))
        await asyncio.sleep(0.01)
        assert not another.done()
        written.gate.set()
        await another
        await gatherer.rest()
    assert written.sizes == [HEAD] * (DEPTH + 2)


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """Patience cut to a millisecond; wait until it has certainly run out."""
    monkeypatch.setattr(blocks, "PATIENCE", 0.001)

    async def wait() -> None:
        await asyncio.sleep(0.03)

    return wait


async def test_a_silent_client_costs_no_memory(tick: Callable[[], Awaitable[None]]) -> None:
    written = Written()
    async with gathering(budget(), written) as gatherer:
        for size in (10, 2 * HEAD, 20, 30):
            await feed(gatherer, b"x" * size)
            await tick()
            assert written.sizes[-1] == size
        assert await gatherer.rest() == b""
    assert written.sizes == [10, 2 * HEAD, 20, 30]


async def test_a_client_that_drips_costs_no_memory(tick: Callable[[], Awaitable[None]]) -> None:
    written = Written()
    async with gathering(budget(), written) as gatherer:
        for _ in range(40):
            await feed(gatherer, b"x")
            await asyncio.sleep(0.002)
        assert sum(written.sizes) > 20
        rest = await gatherer.rest()
    assert sum(written.sizes) + len(rest) == 40


BIG = b"x" * (LARGEST_CRUMB + 1)
"""Needs a place, and is no head yet."""


def places(count: int) -> BlockBudget:
    """With so many, for blocks no larger than a head."""
    return budget(largest=HEAD, total=3 * count * HEAD // 2)


@pytest.fixture
def _no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "HURRY", 60)


async def begun(gatherer: Gatherer, chunk: bytes = BIG) -> asyncio.Task[None]:
    """A chunk that is being taken in, or waits for it."""
    task = asyncio.create_task(feed(gatherer, chunk))
    await asyncio.sleep(0.01)
    return task


@pytest.mark.usefixtures("_no_hurry")
async def test_who_finds_the_budget_used_up_waits_for_a_place() -> None:
    shared, written = places(2), Written()
    async with (
        gathering(shared, written) as first,
        gathering(shared, Written()) as second,
        gathering(shared, Written()) as third,
    ):
        await feed(first, b"x" * HEAD)
        await feed(second, BIG)
        waiting = await begun(third)
        assert not waiting.done()
        full = await begun(first, b"x" * HEAD)
        await waiting
        assert written.sizes == [HEAD, HEAD]
        assert not full.done()  # it waits for its next place, behind the third
        full.cancel()


async def test_what_is_left_at_the_end_keeps_its_place_until_it_is_written(
    tick: Callable[[], Awaitable[None]],
) -> None:
    shared = places(1)
    async with gathering(shared, Written()) as next_one:
        async with gathering(shared, Written()) as last:
            await feed(last, BIG)
            await last.rest()
            waiting = await begun(next_one)
            await tick()
            assert not waiting.done()
        await waiting


@pytest.mark.usefixtures("_no_hurry")
async def test_who_has_much_in_hand_goes_first_but_not_always() -> None:
    shared, order = places(1), []
    await shared.take_place(Idle())

    async def take(in_hand: int) -> None:
        await shared.take_place(Idle(), in_hand)
        order.append(in_hand)

    async with asyncio.TaskGroup() as group:
        for in_hand in [0] * 2 + [MIB] * 2 * OTHERS_TURN:
            group.create_task(take(in_hand))
        await asyncio.sleep(0)
        for _ in range(2 + 2 * OTHERS_TURN):
            shared.give_place()
            await asyncio.sleep(0)
    first_turn = order.index(0)
    assert first_turn < OTHERS_TURN
    assert order[first_turn + 1 :].index(0) == OTHERS_TURN - 1


@pytest.mark.usefixtures("_no_hurry")
@pytest.mark.parametrize("late", [False, True])
async def test_who_is_cancelled_in_the_line_leaves_it_and_takes_no_place(late: bool) -> None:
    """Also if the place comes at the same moment."""
    shared = places(1)
    await shared.take_place(Idle())
    waiting = asyncio.create_task(shared.take_place(Idle()))
    await asyncio.sleep(0)
    if late:
        shared.give_place()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not late:
        shared.give_place()
    async with asyncio.timeout(1):
        await shared.take_place(Idle())


@pytest.mark.parametrize("size", [len(BIG), HEAD])
async def test_who_has_nothing_to_gather_leaves_its_place_to_others(size: int) -> None:
    """Whether its block has begun or not."""
    shared, written = places(1), Written()
    async with gathering(shared, written) as silent, gathering(shared, Written()) as other:
        await feed(silent, b"x" * size)
        async with asyncio.timeout(10):
            await feed(other, BIG)
        assert written.sizes == [size]
        async with asyncio.timeout(10):
            await feed(silent, BIG)


async def test_whose_block_grows_keeps_its_place() -> None:
    written = Written()
    async with gathering(places(1), written) as busy:
        for number in range(3):
            await feed(busy, b"x" if number else BIG)
            busy.write_if_still()
        assert written.sizes == []
        busy.write_if_still()
        assert await busy.rest() == b""
    assert written.sizes == [len(BIG) + 2]


@pytest.mark.parametrize("call", [Gatherer.write_if_old, Gatherer.write_if_still])
async def test_what_comes_slowly_waits_too_where_a_flush_waits_for_another(call: Callable[[Gatherer], None]) -> None:
    """However often one looks at it; or a crash would cost all that came meanwhile."""
    written, flush = Written(), Gated()
    written.is_due = True
    async with gathering(budget(), written, flush=flush) as slow:
        for blocks in (1, 2, 2):
            await feed(slow, b"x")
            for _ in range(3):
                call(slow)
                await asyncio.sleep(0.02)
            assert len(written.blocks) == blocks
        for _ in range(3):
            flush.through.release()


async def test_where_a_crowd_falls_silent_memory_is_given_back(
    monkeypatch: pytest.MonkeyPatch, tick: Callable[[], Awaitable[None]]
) -> None:
    trimmed = threading.Event()
    monkeypatch.setattr(blocks, "CROWD", 1)
    monkeypatch.setattr(allocator, "trim", trimmed.set)
    async with gathering(budget(), Written()) as silent:
        await feed(silent, b"x" * HEAD)
        await tick()
        assert await asyncio.to_thread(trimmed.wait, 10)


class Idle:
    """Somebody else with a place."""

    def write_if_old(self) -> None: ...

    def write_if_still(self) -> None: ...


async def test_who_drips_needs_no_place() -> None:
    shared = places(1)
    await shared.take_place(Idle())
    async with gathering(shared, Written()) as gatherer, asyncio.timeout(1):
        await feed(gatherer, b"x" * shared.crumb)
        assert len(await gatherer.rest()) > SMALLEST_CRUMB


async def test_the_more_uploads_run_the_less_each_may_have_without_a_place() -> None:
    shared = budget(total=48 * MIB)
    async with AsyncExitStack() as crowd:
        crumbs = {}
        for number in range(1, 5001):
            shared.enter(idle := Idle())
            crowd.callback(shared.leave, idle)
            crumbs[number] = shared.crumb
    assert [crumbs[number] for number in (1, 512, 1024, 5000)] == [
        LARGEST_CRUMB,
        32 * KIB,
        16 * KIB,
        SMALLEST_CRUMB,
    ]


async def test_who_leaves_gives_the_place_back() -> None:
    shared = places(1)
    for _ in range(3):
        async with gathering(shared, Written()) as gatherer:
            await feed(gatherer, b"x" * HEAD)
            await feed(gatherer, b"x" * HEAD)
    async with asyncio.timeout(1):
        await shared.take_place(Idle())


async def test_no_block_overtakes_another(tick: Callable[[], Awaitable[None]]) -> None:
    written = Written()
    written.gate.clear()
    async with gathering(budget(), written) as gatherer:
        for chunk in (b"one", b"two", b"six"):
            await feed(gatherer, chunk)
            await tick()
        written.gate.set()
        rest = await gatherer.rest()
    assert b"".join(written.blocks) + rest == b"onetwosix"


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_failure_while_the_client_is_silent_is_raised_as_soon_as_it_says_anything(
    tick: Callable[[], Awaitable[None]], goes_on: bool
) -> None:
    """Who never fills a block must not send all of a recording that was refused at its first bytes."""
    written = Written()
    written.failure = OSError("pulled out")
    async with gathering(budget(), written) as gatherer:
        await feed(gatherer, b"one")
        await tick()
        with pytest.raises(OSError, match="pulled out"):
            await (feed(gatherer, b"two") if goes_on else gatherer.rest())
    assert written.blocks == []


async def test_a_failure_of_one_upload_leaves_the_others_their_turn(tick: Callable[[], Awaitable[None]]) -> None:
    shared, broken, working = budget(), Written(), Written()
    broken.failure = OSError("pulled out")
    async with gathering(shared, broken) as first, gathering(shared, working) as second:
        await feed(first, b"one")
        await feed(second, b"two")
        await tick()
        await feed(second, b"three")
        await tick()
    assert working.blocks == [b"two", b"three"]


async def test_a_failure_nobody_stayed_for_is_not_reported_as_forgotten() -> None:
    reports: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    written = Written()
    async with gathering(budget(largest=HEAD), written) as gatherer:
        await feed(gatherer, b"x" * HEAD)
        written.failure = OSError("pulled out")
        await feed(gatherer, b"x" * HEAD)
    del gatherer
    await asyncio.sleep(0)
    assert reports == []


async def test_leaving_waits_for_the_write_under_way_and_no_longer() -> None:
    written = Written()

    async def upload() -> None:
        async with gathering(budget(largest=HEAD), written) as gatherer:
            await feed(gatherer, b"x" * HEAD)
            written.begun.clear()
            written.gate.clear()
            for _ in range(DEPTH):
                await feed(gatherer, b"x" * HEAD)
            written.begun.wait()

    leaving = asyncio.create_task(upload())
    await asyncio.sleep(0.01)
    assert not leaving.done()
    written.gate.set()
    await leaving
    assert written.sizes == [HEAD, HEAD]
