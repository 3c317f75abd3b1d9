"""As many uploads at a time as the server takes, and one more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.conftest import configure, serving
from tests.wire import COLLECTION, DEADLINE, FORM, WAV, Edge, Wire, file, form, request, sized

TUS = "Tus-Resumable: 1.0.0"
OCTETS = "Content-Type: application/offset+octet-stream"
LENGTH = f"Upload-Length: {len(WAV)}"
DOORS = {
    "raw": sized(WAV),
    "form": form(file()),
    "tus": sized(WAV, TUS, OCTETS, LENGTH),
    "resumable": sized(WAV, "Upload-Complete: ?1"),
}


@pytest.fixture
async def edge(folder: Path) -> AsyncIterator[Edge]:
    """A server that takes two uploads at a time."""
    async with serving(configure(folder, limits={"max_uploads": 2}, server={"linger": "100 ms"})) as client:
        yield Edge(client, folder)


@pytest.mark.parametrize("held", DOORS.values(), ids=DOORS)
async def test_one_more_upload_waits_at_every_door(edge: Edge, held: bytes) -> None:
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire.connect(edge.client)) for _ in range(2)]
        for wire in wires:
            wire.send(held[:-100])
        await receiving(edge, 2)
        for whole in DOORS.values():
            answer = await edge.exchange(whole)
            assert (answer.status, answer.problem, answer.headers["retry-after"]) == (503, "busy", "1")
        for wire in wires:
            wire.send(held[-100:])
            assert (await wire.answer()).status == 201
    assert (await edge.exchange(sized(WAV))).status == 201


async def test_who_asks_before_sending_hears_it_before_sending(edge: Edge) -> None:
    async with AsyncExitStack() as stack:
        await crowd(edge, stack)
        for expecting in (request("Content-Length: 100", "Expect: 100-continue", *fields) for fields in ((), (FORM,))):
            answer = await edge.exchange(expecting)
            assert (answer.status, answer.problem, answer.headers["connection"]) == (503, "busy", "close")


async def test_all_but_uploads_go_on(edge: Edge) -> None:
    """Above all, nobody is told that the upload is not there any more."""
    begun = await edge.exchange(request(TUS, LENGTH, "Content-Length: 0"))
    upload = begun.headers["location"]
    async with AsyncExitStack() as stack:
        await crowd(edge, stack)
        patch = sized(WAV, TUS, OCTETS, "Upload-Offset: 0").replace(
            b"POST " + COLLECTION.encode(), b"PATCH %s" % upload.encode()
        )
        assert (await edge.exchange(patch)).status == 503
        for method, status in (("HEAD", 200), ("GET", 200), ("OPTIONS", 204), ("DELETE", 204), ("GET", 404)):
            assert (await edge.exchange(request(TUS, line=f"{method} {upload} HTTP/1.1"))).status == status


async def test_a_request_that_lost_its_client_makes_room_for_the_next(edge: Edge) -> None:
    """The server may not know yet that the client is gone; its HEAD tells."""
    begun = await edge.exchange(request(TUS, LENGTH, "Content-Length: 0"))
    upload = begun.headers["location"]
    line = f"PATCH {upload} HTTP/1.1"
    async with AsyncExitStack() as stack:
        await crowd(edge, stack, 1)
        lost = await stack.enter_async_context(Wire.connect(edge.client))
        lost.send(request(TUS, OCTETS, "Upload-Offset: 0", f"Content-Length: {len(WAV)}", line=line, body=WAV[:5000]))
        await receiving(edge, 2)
        told = await edge.exchange(request(TUS, line=f"HEAD {upload} HTTP/1.1"))
        assert (told.status, told.headers["upload-offset"]) == (200, "5000")
        rest = WAV[5000:]
        again = request(TUS, OCTETS, "Upload-Offset: 5000", f"Content-Length: {len(rest)}", line=line, body=rest)
        assert (await edge.exchange(again)).status == 204


async def crowd(edge: Edge, stack: AsyncExitStack, count: int = 2) -> None:
    """So many uploads that stay."""
    for _ in range(count):
        wire = await stack.enter_async_context(Wire.connect(edge.client))
        wire.send(sized(WAV)[:-100])
    await receiving(edge, count)


async def receiving(edge: Edge, count: int) -> None:
    """Return once bytes of so many uploads are on their way."""
    async with asyncio.timeout(DEADLINE):
        while (await edge.exchange(request(line="GET /ready HTTP/1.1"))).json()["receiving"] < count:
            pass
