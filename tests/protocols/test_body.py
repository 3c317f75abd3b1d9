"""The form reader alone: whatever pieces a form comes in, the same parts come out."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from maie_aiohttp.errors import Draining, Malformed, TooSlow, Truncated
from maie_aiohttp.protocols.body import YIELD_EVERY, Body
from maie_aiohttp.protocols.pace import Pace
from maie_aiohttp.protocols.parts import walk

BOUNDARY = "b-b"
NEAR = [b"\r\n--b-b"[:size] for size in range(1, 7)] + [b"--b-b", b"\n--b-b", b"\r--b-b", b"\r\n\r\n", b"x", b"\0"]

contents = (
    st.lists(st.sampled_from(NEAR) | st.binary(max_size=30), max_size=12)
    .map(b"".join)
    .filter(lambda content: b"\r\n--b-b" not in b"\r\n" + content)
)
forms = st.lists(contents, min_size=1, max_size=4)


def encoded(parts: list[bytes]) -> bytes:
    """The form of these parts."""
    head = b'--b-b\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
    return b"".join(head + content + b"\r\n" for content in parts) + b"--b-b--\r\n"


async def decoded(pieces: list[bytes], size: int) -> list[bytes]:
    """What the reader finds in a body that comes in `pieces`, asked for `size` bytes at a time."""
    stream, body, _ = opened()
    feeding = asyncio.create_task(feed(stream, pieces))
    found = []
    async for part in walk(BOUNDARY, body):
        content = b""
        while chunk := await part.read_chunk(size):
            assert len(chunk) <= size
            content += chunk
        found.append(content)
    await feeding
    return found


def opened(idle_timeout: float = 20) -> tuple[StreamReader, Body, web.Request]:
    """A body that nothing has come of yet."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.transport = asyncio.Transport()
    stream = StreamReader(protocol, 65_536, loop=loop)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    request = make_mocked_request("POST", "/", headers=headers, payload=stream)
    return stream, Body(request, Pace(idle=idle_timeout, rate=0, window=20, total=20)), request


async def feed(stream: StreamReader, pieces: list[bytes]) -> None:
    """Let the pieces arrive, one at a time."""
    for piece in pieces:
        stream.feed_data(piece)
        await asyncio.sleep(0)
    stream.feed_eof()


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """The body in pieces, cut at these places."""
    edges = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return [body[start:stop] for start, stop in pairwise(edges)]


@given(forms, st.lists(st.integers(0, 2000), max_size=20), st.integers(1, 40))
async def test_parts_come_out_as_they_went_in(parts: list[bytes], places: list[int], size: int) -> None:
    assert await decoded(cut(encoded(parts), places), size) == parts


@given(forms, st.integers(1, 40))
async def test_parts_come_out_of_single_bytes(parts: list[bytes], size: int) -> None:
    body = encoded(parts)
    assert await decoded(cut(body, list(range(len(body)))), size) == parts


@given(forms, st.lists(st.integers(0, 2000), max_size=20), st.integers(1, 40))
async def test_what_of_a_part_came_together_is_handed_on_together(
    parts: list[bytes], places: list[int], size: int
) -> None:
    pieces = cut(encoded(parts), places)
    stream, body, _ = opened()
    feeding = asyncio.create_task(feed(stream, pieces))
    found = [[chunk async for chunk in part.chunks(size)] async for part in walk(BOUNDARY, body)]
    await feeding
    assert [b"".join(chunks) for chunks in found] == parts
    assert all(all(chunks) for chunks in found)
    assert sum(map(len, found)) <= len(pieces) + len(parts)


@given(forms, st.integers(0, 10_000), st.lists(st.integers(0, 2000), max_size=5))
async def test_a_form_without_its_end_is_never_read_to_an_end(parts: list[bytes], at: int, places: list[int]) -> None:
    whole = encoded(parts)
    body = whole[: at % (len(whole) - len(b"--\r\n"))]
    with pytest.raises((Malformed, Truncated)):
        await decoded(cut(body, places), 40)


async def test_a_broken_connection_is_an_end_too_early() -> None:
    stream, body, _ = opened()
    stream.feed_data(b"abc")
    assert await body.read(100) == b"abc"
    stream.set_exception(ConnectionResetError())
    with pytest.raises(Truncated):
        await body.read(100)


async def test_silence_is_too_slow() -> None:
    _, body, _ = opened(idle_timeout=0.01)
    with pytest.raises(TooSlow):
        await body.read(100)


@pytest.mark.parametrize("waiting", [True, False])
async def test_an_interruption_ends_the_next_wait(waiting: bool) -> None:
    _, body, _ = opened()
    reading = asyncio.create_task(body.read(100))
    if waiting:
        await asyncio.sleep(0)
    body.interrupt(Draining("Come back."))
    with pytest.raises(Draining):
        await reading


async def test_an_interruption_may_come_as_the_patience_ends() -> None:
    _, body, _ = opened(idle_timeout=0)
    reading = asyncio.create_task(body.read(100))
    await asyncio.sleep(0)  # it waits,
    await asyncio.sleep(0)  # and its time is over, but it has not heard of that
    body.interrupt(Draining("Come back."))
    with pytest.raises(Draining):
        await reading


async def test_who_always_finds_something_to_read_is_interrupted_too() -> None:
    stream, body, _ = opened()
    for _ in range(3):
        stream.feed_data(b"abc")
        assert await body.read(3) == b"abc"
    stream.feed_data(b"abc")
    body.interrupt(Draining("Come back."))
    assert await body.read(3) == b"abc"  # had arrived before
    stream.feed_data(b"abc")
    with pytest.raises(Draining):
        await body.read(3)


async def test_what_has_all_come_is_not_interrupted() -> None:
    stream, body, _ = opened()
    stream.feed_data(b"abc")
    stream.feed_eof()
    body.interrupt(Draining("Come back."))
    assert await body.read(3) == b"abc"
    assert await body.read(3) == b""


async def test_a_connection_lost_before_the_first_read_is_an_end_too_early() -> None:
    stream, body, request = opened()
    stream._protocol.transport = request.protocol.transport = None
    with pytest.raises(Truncated):
        await body.read(100)


async def test_a_slip_is_not_the_client_s() -> None:
    _, body, _ = opened()
    reading = asyncio.create_task(body.read(100))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError):
        await body.read(100)
    reading.cancel()


async def test_what_is_there_is_read_before_an_interruption() -> None:
    stream, body, _ = opened()
    stream.feed_data(b"abcdef")
    assert await body.read(2) == b"ab"
    body.interrupt(Draining("Come back."))
    assert await body.read(10) == b"cdef"
    with pytest.raises(Draining):
        await body.read(1)


async def test_others_get_their_turn_while_much_is_read_from_the_buffer() -> None:
    stream, body, _ = opened()
    stream.feed_data(bytes(1000))
    turns = asyncio.create_task(_count_turns())
    for _ in range(1000):
        await body.read(1)
    turns.cancel()
    assert await turns >= 1000 // YIELD_EVERY - 1


async def _count_turns() -> int:
    turns = 0
    try:
        while True:
            await asyncio.sleep(0)
            turns += 1
    except asyncio.CancelledError:
        return turns
