"""Events of one worker's uploads, heard through another."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import ClientSession, FormData

from tests import crew
from tests.crew import Crew
from tests.pages.test_events import EVENTS, Stream, changes, names
from tests.test_workers import LONG, TUS, WAV, Slow, by_tus, post
from tests.wire import COLLECTION

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

WORDS = b"These are words, but nobody has spoken them.\n" * 2_000


class Pair(NamedTuple):
    """One connection to each worker."""

    served: Crew
    here: ClientSession
    """Where it is listened."""
    there: ClientSession
    """Where it is uploaded."""


@pytest.fixture
async def pair(folder: Path) -> AsyncIterator[Pair]:
    settings = {"server.linger": "100 ms", "facts.workers": "0"}
    async with crew.serving(folder, settings) as served, AsyncExitStack() as clients:
        here, there = [await clients.enter_async_context(served.client_of(pid)) for pid in served.pids]
        yield Pair(served, here, there)


@asynccontextmanager
async def following(client: ClientSession, path: str = EVENTS, after: str | None = None) -> AsyncIterator[Stream]:
    """A stream that is open; the client's connection ends with it."""
    async with client.get(path, headers={} if after is None else {"Last-Event-ID": after}) as answer:
        assert answer.status == 200, await answer.text()
        stream = Stream(answer)
        assert "retry" in await stream.block()
        yield stream


async def begin(client: ClientSession) -> str:
    """Begin an upload that comes in pieces. Returns its path."""
    async with client.post(COLLECTION, headers={**TUS, "Upload-Length": str(len(LONG))}) as answer:
        return answer.headers["Location"]


async def test_of_one_upload_from_its_beginning_to_its_end(pair: Pair) -> None:
    path = await begin(pair.there)
    async with following(pair.here, f"{path}/events") as stream:
        first = await stream.next()
        assert first is not None
        assert first.name == "receiving"
        body = Slow()
        fields = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        appending = asyncio.create_task(append(pair.there, path, body, fields))
        counted = (await stream.until("received"))[-1].data
        assert counted["id"] == path.rpartition("/")[2]
        assert 0 < counted["received"] <= len(LONG) // 2
        assert counted["size"] == len(LONG)
        body.go_on.set()
        assert await appending == 204
        assert names(await stream.rest()) == ["stored"]


async def append(client: ClientSession, path: str, body: Slow, fields: dict[str, str]) -> int:
    async with client.patch(path, data=body.pieces(), headers=fields) as answer:
        return answer.status


async def test_of_all_uploads_through_every_door(pair: Pair) -> None:
    async with following(pair.here) as stream:
        form = FormData({"case": "2026-114"})
        form.add_field("file", WAV, filename="speech.wav")
        async with pair.there.post(COLLECTION, data=form) as answer:
            assert answer.status == 201
        seen = changes(await stream.until("stored"))
        assert [event.name for event in seen] == ["receiving", "stored"]
        assert seen[-1].data["metadata"] == {"case": "2026-114"}
        assert await post(pair.there, WAV) == 201
        assert names(await stream.until("stored")) == ["receiving", "stored"]
        path = await begin(pair.there)
        await by_tus(pair.there, path, 0, len(LONG))
        assert names(await stream.until("stored")) == ["receiving", "stored"]
        async with pair.there.post(COLLECTION, data=WAV, headers={"Upload-Complete": "?1"}) as answer:
            assert answer.status == 201
        assert names(await stream.until("stored")) == ["receiving", "stored"]


async def test_what_is_refused_or_deleted_there(pair: Pair) -> None:
    async with following(pair.here) as stream:
        assert await post(pair.there, WORDS) == 415
        assert names(await stream.until("rejected")) == ["receiving", "rejected"]
        path = await begin(pair.there)
        async with pair.there.delete(path) as answer:
            assert answer.status == 204
        assert names(await stream.until("deleted")) == ["receiving", "deleted"]


async def test_an_upload_without_a_record_is_found_although_it_began_before(pair: Pair) -> None:
    body = Slow()
    posting = asyncio.create_task(post(pair.there, body))
    await body.sent.wait()
    async with following(pair.here) as of_all:
        receiving = (await of_all.until("receiving"))[-1].data
        (pid, _) = pair.served.pids
        async with (
            pair.served.client_of(pid) as again,
            following(again, f"{receiving['links']['self']}/events") as of_one,
        ):
            first = await of_one.next()
            assert first is not None
            assert (first.name, first.data["id"]) == ("receiving", receiving["id"])
            body.go_on.set()
            assert await posting == 201
            assert names(await of_one.rest()) == ["stored"]
        assert names(await of_all.until("stored")) == ["stored"]


async def test_it_is_found_by_the_first_who_listens(pair: Pair) -> None:
    body = Slow()
    posting = asyncio.create_task(post(pair.there, body))
    (id,) = await marks(pair.served)
    async with following(pair.here, f"{COLLECTION}/{id}/events") as stream:
        first = await stream.next()
        assert first is not None
        assert first.name == "receiving"
        body.go_on.set()
        assert await posting == 201
        assert names(await stream.rest()) == ["stored"]


async def marks(served: Crew) -> set[str]:
    await served.left(1)
    return served.unfinished()


async def test_of_nothing_there_is_nothing_to_hear(pair: Pair) -> None:
    async with pair.here.get(f"{COLLECTION}/{'0' * 8}-0000-4000-8000-{'0' * 12}/events") as answer:
        assert answer.status == 404


async def test_who_comes_back_to_another_worker_begins_anew(pair: Pair) -> None:
    assert await post(pair.there, WAV) == 201
    async with following(pair.here) as stream:
        last = (await stream.until("stored"))[-1].id
        assert last is not None
        assert await post(pair.there, WAV) == 201
        last = (await stream.until("stored"))[-1].id
    async with following(pair.there, after=last) as stream:
        assert await snapshot(stream, 2) == ["stored", "stored"]


async def test_who_comes_back_while_others_listened_goes_on(pair: Pair) -> None:
    assert await post(pair.there, WAV) == 201
    (pid, _) = pair.served.pids
    async with following(pair.here) as stream, pair.served.client_of(pid) as again:
        last = (await stream.until("stored"))[-1].id
        assert await post(pair.there, WAV) == 201
        await stream.until("stored")
        async with following(again, after=last) as later:
            assert names(await later.until("stored")) == ["receiving", "stored"]


async def snapshot(stream: Stream, count: int) -> list[str]:
    """The first events."""
    seen = [await stream.next() for _ in range(count)]
    return [event.name for event in seen if event is not None]


async def test_where_a_worker_dies_listeners_of_others_begin_anew(pair: Pair) -> None:
    """What was under way there is not any more, and nobody could tell them."""
    body = Slow()
    posting = asyncio.create_task(post(pair.there, body))
    async with following(pair.here) as stream:
        await stream.until("receiving")
        await pair.served.replaced(pair.served.pids[1])
        assert await posting == 0
        assert names(await stream.rest()) == []
    async with pair.served.client_of(pair.served.pids[0]) as client, following(client) as stream:
        assert await post(pair.here, WAV) == 201
        assert names(await stream.until("stored")) == ["receiving", "stored"]


async def test_many_at_once_are_all_heard_of(pair: Pair) -> None:
    count = 60
    async with following(pair.here) as stream, ClientSession(await pair.served.server.url()) as clients:
        assert set(await asyncio.gather(*(post(clients, WAV) for _ in range(count)))) == {201}
        stored: set[str] = set()
        while len(stored) < count:
            stored |= {event.data["id"] for event in await stream.until("stored") if event.name == "stored"}
