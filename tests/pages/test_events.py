"""Following uploads by server-sent events, as a browser does."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientResponse, ClientSession, FormData

from maie_aiohttp.pages import events
from maie_aiohttp.progress import hub
from maie_aiohttp.progress.events import KEPT
from maie_aiohttp.upkeep.reconcile import confirm_damage
from maie_aiohttp.web.appkeys import CATALOG, DRAIN, INTAKE, STORE
from tests import audio
from tests.conftest import Client, configure, send, serving
from tests.layers import upload
from tests.scenarios import process
from tests.wire import COLLECTION, DEADLINE, FORM, NEXT, WAV, Wire, request

EVENTS = "/v1/events"
SAMPLE = audio.sample("wav-u8")
LONG = b"".join(audio.long_wav(200_000))
WORDS = b"These are words, but nobody has spoken them.\n" * 2_000
TUS = {"Tus-Resumable": "1.0.0"}


@dataclass(frozen=True, slots=True)
class Event:
    """What a browser would hand to its page."""

    name: str
    id: str | None
    data: dict[str, Any]


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[Client]:
    """A client of a server that does not wait for streams when a test is done with it."""
    async with serving(configure(folder, server={"linger": "100 ms"})) as client:
        yield client


class Stream:
    """An open stream."""

    def __init__(self, answer: ClientResponse) -> None:
        self.answer = answer

    async def block(self) -> dict[str, str]:
        """The next fields that stand together; a comment stands there without a name. Nothing at the end."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(DEADLINE):
            while line := (await self.answer.content.readline()).decode().rstrip("\n"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
        return fields

    async def next(self) -> Event | None:
        """The next event; None at the end."""
        while fields := await self.block():
            if "event" in fields:
                return Event(fields["event"], fields.get("id"), json.loads(fields["data"]))
        return None

    async def until(self, name: str) -> list[Event]:
        """All events up to the next of that name."""
        seen: list[Event] = []
        while not seen or seen[-1].name != name:
            event = await self.next()
            assert event is not None, seen
            seen.append(event)
        return seen

    async def rest(self) -> list[Event]:
        """All events up to the end."""
        seen: list[Event] = []
        while event := await self.next():
            seen.append(event)
        return seen


@asynccontextmanager
async def following(client: Client, path: str = EVENTS, after: str | None = None) -> AsyncIterator[Stream]:
    """A stream that is open."""
    async with client.get(path, headers={} if after is None else {"Last-Event-ID": after}) as answer:
        assert answer.status == 200, await answer.text()
        stream = Stream(answer)
        assert "retry" in await stream.block()
        yield stream


def events_of(record: Mapping[str, Any]) -> str:
    """Where to follow an upload."""
    return f"{record['links']['self']}/events"


def changes(seen: list[Event]) -> list[Event]:
    """Those that carry a record."""
    return [event for event in seen if event.name != "received"]


def names(seen: list[Event]) -> list[str]:
    return [event.name for event in changes(seen)]


async def by_form(client: Client, content: bytes) -> ClientResponse:
    form = FormData()
    form.add_field("file", content, filename="speech.wav")
    return await client.post(COLLECTION, data=form)


async def by_body(client: Client, content: bytes) -> ClientResponse:
    return await client.post(COLLECTION, data=content)


async def by_tus(client: Client, content: bytes) -> ClientResponse:
    fields = {**TUS, "Upload-Length": str(len(content)), "Content-Type": "application/offset+octet-stream"}
    return await client.post(COLLECTION, data=content, headers=fields)


async def by_resumable(client: Client, content: bytes) -> ClientResponse:
    return await client.post(COLLECTION, data=content, headers={"Upload-Complete": "?1"})


Door = Callable[[Client, bytes], Awaitable[ClientResponse]]
DOORS = (by_form, by_body, by_tus, by_resumable)
doors = pytest.mark.parametrize("door", DOORS)


async def begin(client: Client, *, partial: bool = False) -> str:
    """Begin an upload of `LONG` that comes in pieces. Returns its path."""
    concat = {"Upload-Concat": "partial"} if partial else {}
    answer = await client.post(COLLECTION, headers={**TUS, **concat, "Upload-Length": str(len(LONG))})
    assert answer.status == 201
    return answer.headers["Location"]


async def go_on(client: Client, path: str, start: int, stop: int) -> None:
    """Send bytes of `LONG`."""
    fields = {**TUS, "Upload-Offset": str(start), "Content-Type": "application/offset+octet-stream"}
    answer = await client.patch(path, data=LONG[start:stop], headers=fields)
    assert answer.status == 204


async def record(client: Client, path: str) -> Any:
    shown = await (await client.get(path)).json()
    del shown["handoffs"]
    return shown


@doors
async def test_every_door_tells_from_the_first_byte_to_the_record(client: Client, door: Door) -> None:
    async with following(client) as stream:
        assert (await door(client, SAMPLE.content)).status == 201
        receiving, stored = changes(await stream.until("stored"))
    assert (receiving.name, receiving.data["status"], receiving.data["sha256"]) == ("receiving", "receiving", None)
    assert receiving.data["id"] == stored.data["id"]
    assert stored.data == await record(client, stored.data["links"]["self"])
    assert receiving.id
    assert stored.id
    assert receiving.id != stored.id


@doors
async def test_every_door_tells_why_it_refused(client: Client, door: Door) -> None:
    async with following(client) as stream:
        refused = await door(client, WORDS)
        assert refused.status == 415
        receiving, rejected = changes(await stream.until("rejected"))
    assert rejected.data["id"] == receiving.data["id"]
    assert rejected.data["status"] == "rejected"
    assert rejected.data["reason"] == (await refused.json())["detail"]


async def test_the_files_of_a_form_share_its_outcome(client: Client) -> None:
    form = FormData()
    for content in (SAMPLE.content, WORDS):
        form.add_field("file", content, filename="speech.wav")
    async with following(client) as stream:
        assert (await client.post(COLLECTION, data=form)).status == 415
        first, second, *ends = changes([*await stream.until("rejected"), *await stream.until("rejected")])
    assert [first.name, second.name, *names(ends)] == ["receiving", "receiving", "rejected", "rejected"]
    assert {end.data["id"] for end in ends} == {first.data["id"], second.data["id"]}


@pytest.mark.parametrize("head", [request("Content-Length: 99999"), request("Content-Length: 99999", FORM)])
async def test_a_lost_sender_leaves_nothing(client: Client, head: bytes) -> None:
    async with following(client) as stream:
        async with Wire.connect(client) as wire:
            wire.send(head)
            if FORM.encode() in head:
                wire.send(NEXT + b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n')
            wire.send(WAV[:100])
            (receiving,) = await stream.until("receiving")
            path = receiving.data["links"]["self"]
            assert (await client.get(path)).status == 404
            async with following(client, events_of(receiving.data)) as one:
                assert names(await one.until("receiving")) == ["receiving"]
        deleted = (await stream.until("deleted"))[-1]
    assert deleted.data["id"] == receiving.data["id"]
    assert deleted.data["reason"]


async def test_an_upload_is_followed_through_its_pieces_to_its_end(client: Client) -> None:
    path = await begin(client)
    async with following(client, f"{path}/events") as stream:
        (now,) = await stream.until("receiving")
        assert now.data == await record(client, path)
        await go_on(client, path, 0, 100_000)
        count = {"id": now.data["id"], "received": 100_000, "size": len(LONG)}
        assert (await stream.until("received"))[-1] == Event("received", None, count)
        await go_on(client, path, 100_000, len(LONG))
        *_, stored = await stream.rest()
    assert stored == Event("stored", stored.id, await record(client, path))


async def test_what_is_under_way_is_counted_a_few_times_a_second(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "SAMPLE", 0.02)
    loop = asyncio.get_running_loop()
    path = await begin(client)
    async with following(client, f"{path}/events") as stream:
        begun = loop.time()
        seen = await stream.until("receiving")

        async def trickled() -> AsyncIterator[bytes]:
            for start in range(0, len(LONG), 200):
                yield LONG[start : start + 200]
                if start % 50_000 == 0:
                    seen.extend(await stream.until("received"))

        fields = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        assert (await client.patch(path, data=trickled(), headers=fields)).status == 204
        seen += await stream.rest()
        looks = (loop.time() - begun) / hub.SAMPLE
    counts = [event.data["received"] for event in seen if event.name == "received"]
    assert counts == sorted(set(counts))
    assert 4 <= len(counts) <= looks + 1
    assert names(seen) == ["receiving", "stored"]


async def test_headers_keep_the_stream_from_being_held_back_or_kept(client: Client) -> None:
    async with following(client) as stream:
        headers = stream.answer.headers
    assert headers["Content-Type"] == "text/event-stream"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["Connection"] == "close"
    answer = await client.head(EVENTS)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")


async def test_a_silent_stream_shows_that_it_lives(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", 0.01)
    path = await begin(client)
    async with following(client, f"{path}/events") as stream:
        assert await stream.next()
        assert [await stream.block() for _ in range(3)] == [{"": ""}] * 3


@pytest.mark.parametrize("id", ["abcdef00-0000-4000-8000-000000000001", "x"])
async def test_an_unknown_upload_is_404(client: Client, id: str) -> None:
    answer = await client.get(f"{COLLECTION}/{id}/events")
    assert (answer.status, answer.content_type) == (404, "application/problem+json")


async def test_who_has_seen_the_end_asks_no_more(client: Client) -> None:
    stored = await send(client, SAMPLE)
    async with following(client, events_of(stored)) as stream:
        (now,) = await stream.rest()
    assert now == Event("stored", now.id, stored)
    again = await client.get(events_of(stored), headers={"Last-Event-ID": now.id or ""})
    assert (again.status, await again.read()) == (204, b"")


async def test_a_deleted_upload_ends_its_stream(client: Client) -> None:
    path = await begin(client)
    async with following(client, f"{path}/events") as stream:
        await stream.until("receiving")
        assert (await client.delete(path, headers=TUS)).status == 204
        (deleted,) = await stream.rest()
    assert deleted.name == "deleted"
    assert (await client.get(f"{path}/events", headers={"Last-Event-ID": deleted.id or ""})).status == 204
    assert (await client.get(f"{path}/events")).status == 404


async def test_an_expired_upload_ends_its_stream(folder: Path) -> None:
    brief: dict[str, object] = {"lifetime": "200 ms", "sweep_interval": "50 ms"}
    async with serving(configure(folder, resumable=brief, server={"linger": "100 ms"})) as client:
        path = await begin(client)
        async with following(client, f"{path}/events") as stream:
            *_, expired = await stream.rest()
        assert (expired.name, expired.data["status"]) == ("expired", "expired")


async def test_damage_is_told(client: Client, folder: Path) -> None:
    record = await send(client, SAMPLE)
    (file,) = (folder / "audio").rglob("*.wav")
    async with following(client) as stream:
        await stream.until("stored")
        file.unlink()
        found = await client.app[CATALOG].get(UUID(record["id"]))
        assert await confirm_damage(client.app[STORE], client.app[CATALOG], found, client.app[INTAKE].hub.publish)
        (damaged,) = await stream.until("damaged")
    assert damaged.data == {**record, "status": "damaged"}


async def test_parts_of_a_concatenation_are_nobody_elses_business(client: Client) -> None:
    part = await begin(client, partial=True)
    async with following(client) as stream, following(client, f"{part}/events") as own:
        await own.until("receiving")
        await go_on(client, part, 0, len(LONG))
        assert (await own.until("received"))[-1].data["received"] == len(LONG)
        fields = {**TUS, "Upload-Concat": f"final;{part}"}
        whole = (await client.post(COLLECTION, headers=fields)).headers["Location"]
        seen = await stream.until("stored")
    assert {event.data["id"] for event in seen} == {whole.rpartition("/")[2]}


async def test_who_was_away_hears_what_was_missed(client: Client) -> None:
    async with following(client) as stream:
        await by_body(client, SAMPLE.content)
        seen = (await stream.until("stored"))[-1]
    missed = await send(client, SAMPLE)
    async with following(client, after=seen.id) as stream:
        receiving, stored = await stream.until("stored")
        assert (receiving.name, stored.data) == ("receiving", missed)
        third = await send(client, SAMPLE)
        assert (await stream.until("stored"))[-1].data == third


async def test_a_stream_goes_on_where_it_broke_off(client: Client) -> None:
    path = await begin(client)
    async with following(client, f"{path}/events") as stream:
        now = await stream.next()
    assert now
    async with following(client, f"{path}/events", after=now.id) as stream:
        await go_on(client, path, 0, len(LONG))
        seen = await stream.rest()
    assert names(seen) == ["stored"]
    async with following(client, f"{path}/events", after=now.id) as stream:
        assert names(await stream.rest()) == ["stored"]


@pytest.mark.parametrize("after", [None, "", "7", "0-0", "\u0661-1", "9" * 5000])
async def test_who_comes_from_nowhere_gets_what_there_is(client: Client, after: str | None) -> None:
    sent = [await send(client, SAMPLE) for _ in range(3)]
    async with following(client, after=after) as stream:
        seen = [await stream.next() for _ in sent]
    assert [event and event.data for event in seen] == sent
    assert [event and event.id is not None for event in seen] == [False, False, True]


async def test_who_was_away_too_long_gets_what_there_is(client: Client) -> None:
    stored = await send(client, SAMPLE)
    async with following(client, events_of(stored)) as stream:
        (now,) = await stream.rest()
    for _ in range(KEPT + 1):
        client.app[INTAKE].hub.publish(upload())
    async with following(client, events_of(stored), after=now.id) as stream:
        (anew,) = await stream.rest()
    assert (anew.name, anew.data) == ("stored", stored)


async def test_stopping_ends_all_streams_and_lets_no_more_in(client: Client) -> None:
    path = await begin(client)
    async with following(client) as all_of_them, following(client, f"{path}/events") as one:
        assert await client.app[DRAIN].run(0, _nothing) == 0
        assert names(await one.rest()) == ["receiving"]
        assert names(await all_of_them.rest()) == ["receiving"]
    answer = await client.get(EVENTS)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def _nothing() -> None:
    """There is nobody else to tell."""


async def test_streams_do_not_hold_the_server_up(tmp_path: Path) -> None:
    patient = {"server.linger": f"{DEADLINE * 10} s", "server.drain_timeout": f"{DEADLINE * 10} s"}
    async with process.serving(tmp_path, patient) as server, ClientSession() as session:
        async with session.get(await server.url() + EVENTS) as answer:
            server.signal(signal.SIGTERM)
            assert await Stream(answer).rest() == []
        async with asyncio.timeout(DEADLINE):
            assert await server.ended() == 0


async def test_who_does_not_read_is_sent_away(client: Client) -> None:
    told = upload(metadata={"speech": "x" * 16_000})
    async with Wire.connect(client) as sleeper, following(client) as reader:
        sleeper.send(request(line=f"GET {EVENTS} HTTP/1.1"))
        await listening(client, 2)
        sent = 0
        while listeners(client) > 1:
            client.app[INTAKE].hub.publish(told)
            assert await reader.next()
            sent += 1
        assert (await sleeper.rest()).count(b"event: stored") < sent
        client.app[INTAKE].hub.publish(told)
        assert await reader.next()


async def many_large_records(client: Client) -> None:
    """Let a stream of all begin with 5 MB."""
    records = [upload(metadata={"speech": "x" * 100_000}) for _ in range(events.NEWEST)]
    await client.app[CATALOG].settle(records)


@asynccontextmanager
async def asleep(client: Client) -> AsyncIterator[None]:
    """Ask for the stream of all, and read nothing of it."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (str(client.host), client.port))
        await asyncio.get_running_loop().sock_sendall(sock, request(line=f"GET {EVENTS} HTTP/1.1"))
        yield


async def test_little_waits_for_who_does_not_read(client: Client) -> None:
    await many_large_records(client)
    async with asleep(client):
        async with asyncio.timeout(DEADLINE):
            while not unsent(client):
                await client.get("/health")
        assert unsent(client) < 300_000


async def test_who_does_not_read_what_there_is_is_sent_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", 0.1)
    await many_large_records(client)
    async with asleep(client):
        await listening(client, 1)
        await listening(client, 0)


async def test_who_comes_when_too_many_are_there_comes_back_later(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LISTENERS", 1)
    async with following(client):
        refused = await client.get(EVENTS)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert (await refused.json())["type"] == "urn:maie:problem:busy"
        assert (await client.get("/health")).status == 200


async def test_each_gets_the_links_of_where_it_came_from(folder: Path) -> None:
    trusting: dict[str, object] = {"linger": "100 ms", "trusted_proxies": ["127.0.0.1"]}
    async with serving(configure(folder, access={"without_keys": "anybody"}, server=trusting)) as client:
        path = events_of(await send(client, SAMPLE))
        for host in ("one.example", "two.example", "one.example"):
            answer = await client.get(path, headers={"Forwarded": f"host={host};proto=https"})
            (now,) = await Stream(answer).rest()
            assert now.data["links"]["self"].startswith(f"https://{host}/")


async def test_who_is_gone_is_forgotten(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", 0.01)
    async with following(client):
        await listening(client, 1)
    await listening(client, 0)


def unsent(client: Client) -> int:
    """Bytes that clients do not take, of all connections."""
    handler = client.server.handler
    assert handler is not None
    transports = [connection.transport for connection in handler.connections]
    return sum(transport.get_write_buffer_size() for transport in transports if transport is not None)


def listeners(client: Client) -> int:
    """How many streams are open."""
    return len(client.app[INTAKE].hub._listeners)


async def listening(client: Client, number: int) -> None:
    """Wait until so many streams are open."""
    async with asyncio.timeout(DEADLINE):
        while listeners(client) != number:
            await client.get("/health")
