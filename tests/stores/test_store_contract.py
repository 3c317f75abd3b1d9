"""What every store promises; see `interfaces.Store`."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from maie_aiohttp.errors import Damaged, NotAudio, StorageFailed, StorageFull
from maie_aiohttp.interfaces import Advance, Ahead, Chunk, Content, Store
from maie_aiohttp.stores.disk import DiskStore
from tests.layers import MIB, pieces, unconcerned

ID = UUID("abcdef00-0000-4000-8000-000000000001")


@pytest.fixture(params=["disk"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each store in turn."""
    made: DiskStore = request.getfixturevalue(request.param)
    return made


async def put(store: Store, content: bytes = b"hello", id: UUID = ID) -> str:
    """Durable bytes, not published."""
    await store.append(store.locator_of(id), 0, pieces(content), unconcerned)
    return store.locator_of(id)


async def content(store: Store, locator: str) -> bytes:
    size = await store.size(locator)
    assert size is not None
    return b"".join([piece async for piece in store.read(locator, 0, size)])


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 3 * MIB + 7])
async def test_gives_back_what_it_was_given(store: Store, size: int) -> None:
    given = bytes(range(251)) * (size // 251 + 1)
    locator = store.locator_of(ID)
    taken = await store.append(locator, 0, pieces(given[: size // 3], given[size // 3 : size]), unconcerned)
    assert taken == await store.size(locator) == size
    assert await content(store, locator) == given[:size]


@pytest.mark.parametrize("at_most", [None, 11, 1000, 256 * 1024, MIB])
async def test_shows_every_byte_in_order(store: Store, at_most: int | None) -> None:
    seen = bytearray()
    await store.append(
        store.locator_of(ID), 0, pieces(b"one ", b"", b"two ", b"six"), seen.extend, ahead=Ahead(at_most)
    )
    assert seen == b"one two six"


async def test_appends_behind_an_offset_and_over_what_stood_there(store: Store) -> None:
    locator = await put(store, b"hello, wonderful world")
    assert await store.append(locator, 7, pieces(b"you"), unconcerned) == 10
    assert await content(store, locator) == b"hello, you"


async def test_refuses_to_append_behind_bytes_it_does_not_have(store: Store) -> None:
    locator = await put(store, b"hello")
    with pytest.raises(Damaged):
        await store.append(locator, 6, pieces(b"?"), unconcerned)
    assert await content(store, locator) == b"hello"
    await store.discard(locator)
    with pytest.raises(Damaged):
        await store.append(locator, 1, pieces(b"?"), unconcerned)
    assert await store.size(locator) is None
    await store.probe()


async def test_begins_with_nothing(store: Store) -> None:
    locator = store.locator_of(ID)
    await store.begin(locator)
    assert await store.size(locator) == 0
    assert await store.unfinished() == [ID]
    assert await store.append(locator, 0, pieces(b"hello"), unconcerned) == 5
    assert await content(store, locator) == b"hello"


async def test_begins_only_once(store: Store) -> None:
    locator = await put(store)
    with pytest.raises(StorageFailed):
        await store.begin(locator)
    assert await content(store, locator) == b"hello"


async def test_an_append_of_nothing_forgets_what_stood_behind(store: Store) -> None:
    locator = await put(store, b"hello, world")
    assert await store.append(locator, 5, pieces(), unconcerned) == 5
    assert await store.append(locator, 5, pieces(b""), unconcerned) == 5
    assert await content(store, locator) == b"hello"


@pytest.mark.parametrize("stop", [0, 1, 65_535, 300_000, 2 * MIB])
async def test_replays_what_was_written(store: Store, stop: int) -> None:
    given = bytes(range(251)) * (2 * MIB // 251 + 2)
    locator = await put(store, given)
    seen = bytearray()
    await store.replay(locator, stop, seen.extend)
    assert seen == given[:stop]


async def test_does_not_replay_what_is_not_there(store: Store) -> None:
    locator = await put(store)
    seen = bytearray()
    with pytest.raises(Damaged):
        await store.replay(locator, 6, seen.extend)
    assert b"hello".startswith(seen)
    await store.discard(locator)
    await store.replay(locator, 0, seen.extend)
    with pytest.raises(Damaged):
        await store.replay(locator, 1, seen.extend)
    await store.probe()


async def test_an_objection_to_a_replay_passes_through(store: Store) -> None:
    def object_to_all(_: Chunk) -> None:
        raise NotAudio("no")

    with pytest.raises(NotAudio):
        await store.replay(await put(store), 5, object_to_all)


async def test_a_replay_lets_others_work(store: Store) -> None:
    locator = await put(store, bytes(4 * MIB))
    seen = 0
    done = threading.Event()

    def observe(chunk: Chunk) -> None:
        nonlocal seen
        seen += len(chunk)
        assert seen < 4 * MIB or done.wait(60), "nobody else had a turn"

    async def work() -> None:
        other = await put(store, b"other", uuid4())
        assert await content(store, other) == b"other"
        done.set()

    working = asyncio.create_task(work())
    await store.replay(locator, 4 * MIB, observe)
    assert seen == 4 * MIB
    await working


ADVANCES = 20 * MIB
"""Bytes; any store should have made some of them durable before the last."""


def advancing(store: Store, heard: list[tuple[int, bytes]]) -> Advance:
    """Write down each offset, and what stands just before it then."""

    async def advance(durable: int) -> None:
        locator = store.locator_of(ID)
        heard.append((durable, b"".join([piece async for piece in store.read(locator, durable - 100, durable)])))

    return advance


async def test_tells_on_the_way_what_is_durable(store: Store) -> None:
    given = random.Random(1).randbytes(ADVANCES)
    heard: list[tuple[int, bytes]] = []
    locator = await put(store, given[:1000])
    chunks = pieces(*(given[start : start + MIB] for start in range(1000, ADVANCES, MIB)))
    advance = advancing(store, heard)
    assert await store.append(locator, 1000, chunks, unconcerned, advance=advance) == ADVANCES
    offsets = [durable for durable, _ in heard]
    assert offsets == sorted(set(offsets))
    assert len(offsets) >= 1
    assert all(1000 < offset <= ADVANCES for offset in offsets)
    assert [before for _, before in heard] == [given[offset - 100 : offset] for offset in offsets]


async def test_what_was_told_holds_although_the_rest_breaks_off(store: Store) -> None:
    given = random.Random(2).randbytes(ADVANCES)
    heard: list[tuple[int, bytes]] = []

    async def broken() -> AsyncIterator[bytes]:
        for start in range(0, ADVANCES - MIB, MIB):
            yield given[start : start + MIB]
        raise EOFError("gone")

    advance = advancing(store, heard)
    with pytest.raises(EOFError):
        await store.append(store.locator_of(ID), 0, broken(), unconcerned, advance=advance)
    offset, _ = heard[-1]
    assert await store.append(store.locator_of(ID), offset, pieces(given[offset:]), unconcerned) == ADVANCES
    assert await content(store, store.locator_of(ID)) == given


async def test_who_hears_is_waited_for_and_may_end_it(store: Store) -> None:
    heard: list[int] = []

    async def refuse(durable: int) -> None:
        heard.append(durable)
        await asyncio.sleep(0.01)
        raise EOFError("no")

    chunks = pieces(*[bytes(MIB)] * (ADVANCES // MIB))
    with pytest.raises(EOFError, match="no"):
        await store.append(store.locator_of(ID), 0, chunks, unconcerned, advance=refuse)
    assert len(heard) == 1
    size = await store.size(store.locator_of(ID))
    assert size is not None
    assert size >= heard[0]


async def test_the_conclusion_sees_everything(store: Store) -> None:
    locator = await put(store, b"hello, ")
    seen: list[bytes] = []

    def conclude(content: Content) -> None:
        seen.extend((content.read(0, 100), content.read(3, 5), content.read(12, 5), bytes([content.size])))

    await store.append(locator, 7, pieces(b"world"), unconcerned, conclude)
    assert seen == [b"hello, world", b"lo, w", b"", b"\x0c"]
    await store.append(locator, 12, pieces(), unconcerned, conclude)
    assert seen[4:] == seen[:4]


async def test_what_the_conclusion_objects_to_passes_through(store: Store) -> None:
    locator = await put(store, b"hello, world")

    def object_to_all(_: Content) -> None:
        raise NotAudio("no")

    with pytest.raises(NotAudio):
        await store.append(locator, 5, pieces(b"?"), unconcerned, object_to_all)
    assert (await content(store, locator))[:5] == b"hello"


async def test_goes_on_after_being_taken_back(store: Store) -> None:
    mark = await put(store)
    await store.retract(mark, await store.publish(mark, ID, ".wav"))
    assert await store.append(mark, 5, pieces(b", world"), unconcerned) == 12
    published = await store.publish(mark, ID, ".wav")
    assert await content(store, published) == b"hello, world"


async def test_goes_on_although_it_was_published(store: Store) -> None:
    mark = await put(store)
    await store.publish(mark, ID, ".wav")
    assert await store.append(mark, 5, pieces(b", world"), unconcerned) == 12
    assert await store.published([ID]) == {}
    assert await content(store, await store.publish(mark, ID, ".wav")) == b"hello, world"


async def test_an_objection_passes_through(store: Store) -> None:
    def object_to_all(_: Chunk) -> None:
        raise NotAudio("no")

    with pytest.raises(NotAudio):
        await store.append(store.locator_of(ID), 0, pieces(b"x" * 100_000), object_to_all)
    with pytest.raises(NotAudio):
        await store.append(store.locator_of(ID), 0, pieces(b"x"), object_to_all)


async def test_what_breaks_the_upload_passes_through(store: Store) -> None:
    async def broken() -> object:
        yield b"x" * 100_000
        raise EOFError("gone")

    with pytest.raises(EOFError):
        await store.append(store.locator_of(ID), 0, broken(), unconcerned)  # type: ignore[arg-type]  # yields bytes


async def test_a_cancelled_append_writes_nothing_afterwards(store: Store) -> None:
    reached, released = threading.Event(), threading.Event()

    def wait(_: Chunk) -> None:
        reached.set()
        released.wait()

    appending = asyncio.create_task(store.append(store.locator_of(ID), 0, pieces(b"x" * 100_000), wait))
    await asyncio.to_thread(reached.wait)
    for _ in range(3):
        appending.cancel()
        await asyncio.sleep(0.01)
        assert not appending.done()
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await appending
    size = await store.size(store.locator_of(ID))
    await asyncio.sleep(0.01)
    assert await store.size(store.locator_of(ID)) == size


async def test_publishes_and_keeps_the_mark(store: Store) -> None:
    mark = await put(store)
    published = await store.publish(mark, ID, ".wav")
    assert await store.published([ID]) == {ID: published}
    assert await content(store, published) == b"hello"
    assert await store.unfinished() == [ID]
    await store.discard(mark)
    assert await store.unfinished() == []
    assert await store.size(mark) is None
    assert await content(store, published) == b"hello"


async def test_publishing_overwrites_nothing(store: Store) -> None:
    mark = await put(store)
    published = await store.publish(mark, ID, ".wav")
    await store.discard(mark)
    await put(store, b"other")
    with pytest.raises(StorageFailed):
        await store.publish(mark, ID, ".wav")
    assert await content(store, published) == b"hello"


async def test_publishing_what_is_not_there_costs_no_other(store: Store) -> None:
    ids = [uuid4() for _ in range(20)]
    for id in ids[::2]:
        await put(store, id=id)
    outcomes = await asyncio.gather(
        *(store.publish(store.locator_of(id), id, ".wav") for id in ids), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [str, StorageFailed] * 10
    published = await store.published(ids)
    assert [id in published for id in ids] == [True, False] * 10


@pytest.mark.parametrize("marked", [True, False])
async def test_retracting_twice_is_retracting_once(store: Store, *, marked: bool) -> None:
    mark = await put(store)
    published = await store.publish(mark, ID, ".wav")
    if not marked:
        await store.discard(mark)
    for _ in range(2):
        await store.retract(mark, published)
        assert await store.published([ID]) == {}
        assert await content(store, mark) == b"hello"
    assert await store.publish(mark, ID, ".wav") == published


async def test_discarding_nothing_is_no_error(store: Store) -> None:
    await store.discard(store.locator_of(ID))


async def test_knows_what_it_does_not_have(store: Store) -> None:
    assert await store.size(store.locator_of(ID)) is None
    assert await store.published([ID]) == {}
    assert await store.unfinished() == []


async def test_reads_a_part(store: Store) -> None:
    locator = await put(store, bytes(range(256)) * 4096)
    piece = b"".join([piece async for piece in store.read(locator, 255, 600_000)])
    assert piece == (bytes(range(256)) * 4096)[255:600_000]
    assert [piece async for piece in store.read(locator, 7, 7)] == []


async def test_bytes_that_are_not_there_any_more_are_damage(store: Store) -> None:
    locator = await put(store)
    with pytest.raises(Damaged):
        _ = [piece async for piece in store.read(locator, 3, 9)]
    await store.discard(locator)
    with pytest.raises(Damaged):
        _ = [piece async for piece in store.read(locator, 0, 5)]
    await store.probe()


async def test_what_is_read_while_it_is_deleted_is_read_to_its_end(store: Store) -> None:
    mark = await put(store, b"x" * MIB)
    published = await store.publish(mark, ID, ".wav")
    reading = store.read(published, 0, MIB)
    size = len(await anext(reading))
    await store.retract(mark, published)
    await store.discard(mark)
    assert size + sum([len(piece) async for piece in reading]) == MIB


async def test_what_is_open_can_be_read_as_it_grows_and_whatever_becomes_of_its_name(store: Store) -> None:
    mark = store.locator_of(ID)
    await store.begin(mark)
    async with store.opened(mark) as read:
        assert read is not None
        await store.append(mark, 0, pieces(b"hello"), unconcerned)
        assert [piece async for piece in read(1, 5)] == [b"ello"]
        await store.append(mark, 5, pieces(b", world"), unconcerned)
        published = await store.publish(mark, ID, ".wav")
        await store.discard(mark)
        assert [piece async for piece in read(5, 12)] == [b", world"]
        await store.discard(published)
        assert [piece async for piece in read(0, 12)] == [b"hello, world"]
        with pytest.raises(Damaged):
            _ = [piece async for piece in read(12, 13)]


async def test_what_is_not_there_is_not_opened(store: Store) -> None:
    async with store.opened(store.locator_of(ID)) as read:
        assert read is None


async def test_puts_aside_what_nobody_knows(store: Store) -> None:
    mark = await put(store)
    published = await store.publish(mark, ID, ".wav")
    await store.quarantine(published)
    assert await store.published([ID]) == {}
    await store.quarantine(published)
    await store.probe()


async def test_room_is_asked_for_ahead(store: Store) -> None:
    await store.admit(1)
    await store.probe()
    with pytest.raises(StorageFull):
        await store.admit(2**60)
    await store.probe()
