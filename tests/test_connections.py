"""How many connections there may be, and how long each may wait."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from maie_aiohttp.limits.capacity import MOST, connections_by_descriptors
from maie_aiohttp.web.appkeys import INTAKE, STORE
from maie_aiohttp.web.connection import RECEIVE_SIZE
from tests import audio
from tests.conftest import configure, files, serving
from tests.layers import KIB, MIB, limited, no_descriptors
from tests.wire import DEADLINE, WAV, Answer, Edge, Wire, request, sized

HEALTH = request(line="GET /health HTTP/1.1")
EVENTS = request(line="GET /v1/events HTTP/1.1")
HALF = sized(WAV)[:-10]
"""An upload that does not end."""
BUSY = (503, "busy", "1", "close")


@asynccontextmanager
async def edge_of(folder: Path, **server: object) -> AsyncIterator[Edge]:
    """A server with these settings of its group."""
    async with serving(configure(folder, server={"linger": "100 ms", **server})) as client:
        yield Edge(client, folder)


async def dripped(wire: Wire, pieces: Iterator[bytes]) -> None:
    """Send a piece now and then, until there is an answer."""
    async with asyncio.timeout(DEADLINE):
        while not wire.has_answer:
            wire.send(next(pieces))
            await asyncio.sleep(0.02)


async def reset(wire: Wire) -> None:
    """Return once the connection is no longer there, which whoever only sends finds out by sending."""
    async with asyncio.timeout(DEADLINE):
        with suppress(ConnectionError):
            while True:
                wire.send(b"GET")
                await wire.sent()
                await asyncio.sleep(0.01)


async def served(wire: Wire) -> Answer:
    """The answer to a request on this connection."""
    wire.send(HEALTH)
    return await wire.answer()


def told(answer: Answer) -> tuple[int, str, str | None, str | None]:
    """What a refusal says."""
    return answer.status, answer.problem, answer.headers.get("retry-after"), answer.headers.get("connection")


async def test_a_connection_that_asks_nothing_is_closed(folder: Path) -> None:
    async with edge_of(folder, header_timeout="100 ms") as edge, Wire.connect(edge.client) as wire:
        assert await wire.rest() == b""


@pytest.mark.parametrize("asked_before", [False, True], ids=["new", "kept alive"])
async def test_a_header_that_never_ends_is_too_slow(folder: Path, asked_before: bool) -> None:
    """However steadily it comes."""
    endless = (b"X-%d: x\r\n" % number for number in range(100_000))
    async with edge_of(folder, header_timeout="200 ms") as edge, Wire.connect(edge.client) as wire:
        if asked_before:
            assert (await served(wire)).status == 200
        wire.send(HEALTH[:-2])
        await dripped(wire, endless)
        assert told(await wire.answer()) == (408, "too-slow", None, "close")
        assert await wire.rest() == b""


async def test_a_header_may_come_in_pieces(folder: Path) -> None:
    """Also at the end of the time that an idle connection has."""
    async with edge_of(folder, keepalive_timeout="1 s") as edge, Wire.connect(edge.client) as wire:
        assert (await served(wire)).status == 200
        for piece in (HEALTH[:1], HEALTH[1:30], HEALTH[30:]):
            wire.send(piece)
            await asyncio.sleep(0.6)
        assert (await wire.answer()).status == 200
        assert await wire.rest() == b""


async def test_an_idle_connection_has_the_time_for_idle_ones(folder: Path) -> None:
    """Not that for a header, although the same timer runs for both."""
    settings = {"keepalive_timeout": "100 ms", "header_timeout": "10 min"}
    async with edge_of(folder, **settings) as edge, Wire.connect(edge.client) as wire:
        assert (await served(wire)).status == 200
        assert await wire.rest() == b""


async def test_who_takes_nothing_of_an_answer_is_let_go(folder: Path) -> None:
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("the system has no such limit")
    async with edge_of(folder, send_timeout="200 ms") as edge, Wire.connect(edge.client) as wire:
        wire.send(sized(b"".join(audio.long_wav(16 * MIB))))
        content = (await wire.answer()).json()["links"]["content"]
        wire._writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport that reads
        wire.send(request(line=f"GET {content} HTTP/1.1"))
        await reset(wire)


async def test_where_there_are_too_many_the_longest_idle_goes(folder: Path) -> None:
    async with edge_of(folder, max_connections=4) as edge, AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(Wire.connect(edge.client)) for _ in range(4)]
        for wire in (idle[3], idle[1], idle[0]):
            assert (await served(wire)).status == 200
        async with Wire.connect(edge.client) as fifth:
            assert (await served(fifth)).status == 200
        assert await idle[2].rest() == b""
        assert [(await served(wire)).status for wire in (idle[0], idle[1], idle[3])] == [200] * 3


async def test_idle_connections_keep_no_upload_out(folder: Path) -> None:
    """However many, and however often they come back."""
    async with edge_of(folder, max_connections=8) as edge, AsyncExitStack() as stack:
        for number in range(40):
            wire = await stack.enter_async_context(Wire.connect(edge.client))
            wire.send(b"" if number % 2 else HEALTH[:-2])
            if number % 10 == 9:
                assert (await edge.exchange(sized(WAV))).status == 201


async def test_where_nobody_is_idle_uploads_have_to_wait(folder: Path) -> None:
    """And all others do not: a client that hears 503 to its HEAD might begin again from the first byte."""
    async with edge_of(folder, max_connections=2) as edge:
        stored = (await edge.exchange(sized(WAV))).json()["links"]["self"]
        async with Wire.connect(edge.client) as one, Wire.connect(edge.client) as other:
            for wire in (one, other):
                wire.send(HALF)
            await asyncio.sleep(0.05)
            for refused in (
                sized(WAV),
                request("Content-Length: 100", "Expect: 100-continue"),
                request("Content-Length: 9", "Upload-Offset: 0", line=f"PATCH {stored} HTTP/1.1"),
            ):
                assert told(await edge.exchange(refused)) == BUSY
            for method, status in (("GET", 200), ("HEAD", 204), ("DELETE", 204)):
                answer = await edge.exchange(request(line=f"{method} {stored} HTTP/1.1"))
                assert (answer.status, answer.headers["connection"]) == (status, "close")
            one.send(WAV[-10:])
            assert (await one.answer()).status == 201
        assert (await edge.exchange(sized(WAV))).status == 201


async def test_who_is_refused_while_sending_hears_it(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As long as it is read on; and that is no error of the server."""
    async with edge_of(folder, max_connections=1, linger="20 s") as edge, Wire.connect(edge.client) as one:
        one.send(HALF)
        await asyncio.sleep(0.05)
        async with Wire.connect(edge.client) as other:
            for piece in (request(f"Content-Length: {MIB}"), *[bytes(MIB // 16)] * 16):
                other.send(piece)
                await asyncio.sleep(0.01)
            assert told(await other.answer()) == BUSY
            assert await other.rest() == b""
    assert caplog.records == []


async def test_what_a_refused_client_still_sends_is_read_to_its_end(folder: Path) -> None:
    """Also where more had come than is read at once."""
    body = bytes(8 * MIB)
    async with edge_of(folder, linger="5 min") as edge, Wire.connect(edge.client) as wire:
        wire.send(request(f"Content-Length: {len(body)}", body=body))
        assert (await wire.answer()).status == 415
        assert await wire.rest() == b""


async def test_beyond_all_limits_there_is_no_answer(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It costs nothing, and what is there goes on."""
    async with edge_of(folder, max_connections=1) as edge:
        async with AsyncExitStack() as stack:
            for _ in range(9):
                wire = await stack.enter_async_context(Wire.connect(edge.client))
                wire.send(EVENTS)
                await wire._reader.readuntil(b"\r\n\r\n")
            for _ in range(3):
                with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                    await edge.exchange(HEALTH)
        async with asyncio.timeout(DEADLINE):
            while True:
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    assert (await edge.exchange(sized(WAV))).status == 201
                    break
        assert len(files(folder)) == 1
    gc.collect()
    assert caplog.records == []


async def test_without_descriptors_who_is_there_is_served_and_the_rest_waits(folder: Path) -> None:
    async with edge_of(folder, max_connections=100) as edge, Wire.connect(edge.client) as here:
        assert (await served(here)).status == 200
        with socket.socket() as newcomer:
            newcomer.connect((str(edge.client.host), edge.client.port))
            newcomer.setblocking(False)
            newcomer.send(HEALTH)
            with no_descriptors():
                await asyncio.sleep(0.1)
                assert (await served(here)).status == 200
                with pytest.raises(BlockingIOError):
                    newcomer.recv(1)
            async with asyncio.timeout(DEADLINE):
                assert (await asyncio.get_running_loop().sock_recv(newcomer, 100)).startswith(b"HTTP/1.1 200")


async def test_what_may_have_to_be_parsed_comes_in_small_receipts_while_nobody_reads(folder: Path) -> None:
    """Behind the body comes the next request, whose body may come in chunks of one byte."""
    recording, gate = (WAV + bytes(MIB))[: 560 * KIB], threading.Event()
    async with serving(configure(folder, storage={"write_threads": 1})) as client, Wire.connect(client) as wire:
        parts: Any = client.app
        server: Any = client.server.runner.server  # type: ignore[union-attr]
        wire.send(sized(recording)[: -len(recording) + 100])
        async with asyncio.timeout(DEADLINE):
            while not parts[INTAKE].receiving:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        parts[STORE]._executor.submit(gate.wait)
        try:
            wire.send(recording[100:-1])
            (connection,) = server.connections
            async with asyncio.timeout(DEADLINE):
                while connection._missing() != 1:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
            assert connection.transport.max_size == RECEIVE_SIZE
        finally:
            gate.set()
        wire.send(recording[-1:])
        assert (await wire.answer()).status == 201


@pytest.mark.parametrize(("descriptors", "connections"), [(10, 1), (1_024, 412), (4_096, 1_948), (100_000, MOST)])
def test_connections_leave_descriptors_for_files(descriptors: int, connections: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < descriptors:
        pytest.skip("this process may not have so many descriptors")
    with limited(resource.RLIMIT_NOFILE, descriptors):
        assert connections_by_descriptors() == connections
