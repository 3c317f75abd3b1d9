"""Reading an upload while it arrives."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import pytest
from aiohttp import ClientPayloadError, ClientResponse, ClientSession
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maie_aiohttp.errors import StorageFailed
from maie_aiohttp.pages import following
from maie_aiohttp.progress import followers
from maie_aiohttp.stores import append
from maie_aiohttp.web.appkeys import CATALOG, DRAIN, FOLLOWERS, INTAKE
from tests import audio, crew
from tests.conftest import Client, configure, serving
from tests.crew import until
from tests.keys import EVERYTHING, key, revoke
from tests.protocols.test_tus import nothing
from tests.scanners import Fake, as_setting, fake_clamd
from tests.scenarios import process
from tests.scenarios.process import MIB
from tests.scenarios.recordings import Recording, wav
from tests.scenarios.warmth import warm_up
from tests.wire import COLLECTION, DEADLINE, Wire, request

LONG = b"".join(audio.long_wav(200_000))
HALF = len(LONG) // 2
SIZE = str(len(LONG))
WORDS = b"These are words, but nobody has spoken them.\n" * 2_000
ALL = {"follow": "1"}

BROKEN = (ClientPayloadError, ConnectionError)
"""What a client meets where an answer is broken off."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a client begins an upload, and goes on with it."""

    creation: Mapping[str, str]
    append: Mapping[str, str]
    end: Mapping[str, str]
    """What the last piece has besides."""

    async def begin(self, client: Client | ClientSession, **more: str) -> str:
        """Returns the path of the upload."""
        fields = {name.replace("_", "-"): value for name, value in more.items()}
        async with client.post(COLLECTION, headers={**self.creation, **fields}) as answer:
            assert answer.status == 201, await answer.text()
            return answer.headers["Location"]

    async def go_on(
        self, client: Client | ClientSession, path: str, start: int, piece: bytes | AsyncIterator[bytes], *, last: bool
    ) -> int:
        """Send a piece. Returns the status."""
        fields = {**self.append, **(self.end if last else {}), "Upload-Offset": str(start)}
        async with client.patch(path, data=piece, headers=fields) as answer:
            return answer.status

    async def send(self, client: Client | ClientSession, path: str, start: int = 0, stop: int = len(LONG)) -> None:
        """Send bytes of `LONG`."""
        assert await self.go_on(client, path, start, LONG[start:stop], last=stop == len(LONG)) in (201, 204)

    async def offset(self, client: Client, path: str) -> int:
        """Where the upload goes on."""
        async with client.head(path, headers=self.append) as answer:
            return int(answer.headers["Upload-Offset"])


TUS_FIELDS = {"Tus-Resumable": "1.0.0"}
TUS = Protocol(
    {**TUS_FIELDS, "Upload-Length": SIZE}, {**TUS_FIELDS, "Content-Type": "application/offset+octet-stream"}, {}
)
DEFERRED = Protocol({**TUS_FIELDS, "Upload-Defer-Length": "1"}, TUS.append, {"Upload-Length": SIZE})
IETF = Protocol(
    {"Upload-Complete": "?0", "Upload-Length": SIZE, "Content-Type": "audio/wav"},
    {"Content-Type": "application/partial-upload", "Upload-Complete": "?0"},
    {"Upload-Complete": "?1"},
)
ENDLESS = Protocol({"Upload-Complete": "?0", "Content-Type": "audio/wav"}, IETF.append, IETF.end)

PROTOCOLS = {"tus": TUS, "tus, of unknown length": DEFERRED, "IETF": IETF, "IETF, of unknown length": ENDLESS}
by_each = pytest.mark.parametrize("by", PROTOCOLS.values(), ids=PROTOCOLS)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let followers hear soon, and slow bytes be durable at once."""
    monkeypatch.setattr(followers, "BEAT", 0.01)
    monkeypatch.setattr(append, "PASS_ON_AFTER", 0.0)


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[Client]:
    """A client of a server that does not wait for streams when a test is done with it."""
    async with serving(configure(folder, server={"linger": "100 ms"})) as client:
        yield client


@asynccontextmanager
async def reading(
    client: Client | ClientSession, path: str, *, status: int = 200, params: Mapping[str, str] = ALL, **fields: str
) -> AsyncIterator[ClientResponse]:
    """An answer that has begun."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    async with client.get(f"{path}/content", params=params, headers=headers) as answer:
        assert answer.status == status, await answer.text()
        yield answer


async def some(answer: ClientResponse, size: int) -> bytes:
    """So many bytes, as soon as they are there."""
    async with asyncio.timeout(DEADLINE):
        return await answer.content.readexactly(size)


async def rest(answer: ClientResponse) -> bytes:
    """All of it. Raises one of `BROKEN` if it is broken off."""
    async with asyncio.timeout(DEADLINE):
        return await answer.read()


async def assert_broken_off(answer: ClientResponse) -> None:
    with pytest.raises(BROKEN):
        await rest(answer)


@by_each
async def test_what_has_come_is_read_before_the_rest_is_sent(client: Client, by: Protocol) -> None:
    path = await by.begin(client)
    await by.send(client, path, 0, HALF)
    async with reading(client, path) as answer:
        assert await some(answer, HALF) == LONG[:HALF]
        await by.send(client, path, HALF)
        assert await rest(answer) == LONG[HALF:]
    async with reading(client, path) as stored:
        assert await rest(stored) == LONG
        assert stored.headers["Repr-Digest"]


@by_each
async def test_who_follows_from_before_the_first_byte_gets_all(client: Client, by: Protocol) -> None:
    path = await by.begin(client)
    async with reading(client, path) as answer:
        known = by in (TUS, IETF)
        assert answer.headers.get("Content-Length") == (SIZE if known else None)
        await by.send(client, path)
        assert await rest(answer) == LONG


async def test_a_slow_piece_is_read_while_it_comes(client: Client) -> None:
    path, read = await TUS.begin(client), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield LONG[:HALF]
        await read.wait()
        yield LONG[HALF:]

    async with reading(client, path) as answer:
        sending = asyncio.create_task(TUS.go_on(client, path, 0, slowly(), last=True))
        assert LONG.startswith(await some(answer, 65_536))
        assert not sending.done()
        read.set()
        assert await rest(answer) == LONG[65_536:]
        assert await sending == 204


async def test_nothing_is_read_that_has_not_been_judged(client: Client) -> None:
    path = await TUS.begin(client)
    assert await TUS.go_on(client, path, 0, WORDS[:60_000], last=False) == 204
    async with reading(client, path) as answer:
        assert await TUS.go_on(client, path, 60_000, WORDS[60_000:], last=False) == 415
        with pytest.raises(BROKEN):
            await some(answer, 1)


@pytest.mark.parametrize("status", ["rejected", "deleted", "expired"])
async def test_what_comes_to_no_good_end_is_broken_off(folder: Path, status: str) -> None:
    resumable: dict[str, object] = {"lifetime": "1 s" if status == "expired" else "1 h", "sweep_interval": "50 ms"}
    async with serving(configure(folder, limits={"max_size": "500 KiB"}, resumable=resumable)) as client:
        for by in (TUS, ENDLESS):
            path = await by.begin(client)
            await by.send(client, path, 0, HALF)
            async with reading(client, path) as answer:
                assert await some(answer, HALF) == LONG[:HALF]
                if status == "rejected":
                    assert await by.go_on(client, path, HALF, bytes(1_000_000), last=True) == 413
                if status == "deleted":
                    async with client.delete(path) as deleted:
                        assert deleted.status == 204
                await assert_broken_off(answer)


async def test_what_is_lost_is_broken_off(client: Client, folder: Path) -> None:
    path = await TUS.begin(client)
    await TUS.send(client, path, 0, HALF)
    (part,) = (folder / "incoming").iterdir()
    part.chmod(0o600)
    os.truncate(part, 70_000)
    async with reading(client, path) as answer:
        await assert_broken_off(answer)


async def test_a_lost_sender_does_not_end_it(client: Client) -> None:
    path = await TUS.begin(client)
    async with reading(client, path) as answer:
        async with Wire.connect(client) as wire:
            head = [f"{name}: {value}" for name, value in TUS.append.items()]
            line = f"PATCH {path} HTTP/1.1"
            wire.send(request(*head, "Upload-Offset: 0", f"Content-Length: {SIZE}", line=line, body=LONG[:HALF]))
            assert LONG.startswith(await some(answer, 65_536))
        await TUS.send(client, path, await TUS.offset(client, path))
        assert await rest(answer) == LONG[65_536:]


@pytest.mark.parametrize("prefer", ["wait=0", "respond-async, wait=0", 'wait="x", wait=0'])
async def test_who_would_not_wait_gets_what_there_is(client: Client, prefer: str) -> None:
    path = await TUS.begin(client)
    await TUS.send(client, path, 0, HALF)
    async with reading(client, path, params={}, Prefer=prefer) as answer:
        assert answer.headers["Preference-Applied"] == "wait=0"
        assert await some(answer, HALF) == LONG[:HALF]
        await assert_broken_off(answer)


@pytest.mark.parametrize(
    ("prefer", "applied"), [("wait", following.WAIT), ("wait=7", 7), ("wait=99999", following.LONGEST_WAIT)]
)
async def test_a_preference_is_answered(client: Client, prefer: str, applied: int) -> None:
    path = await TUS.begin(client)
    async with reading(client, path, params={}, Prefer=prefer) as answer:
        assert answer.headers["Preference-Applied"] == f"wait={applied}"
        await TUS.send(client, path)
        assert await rest(answer) == LONG


@pytest.mark.parametrize("prefer", ["respond-async", "wait=soon", "wait=-1", "wait=1.5", "Wait=1", "%%", "wait=\xff"])
async def test_other_preferences_are_ignored(client: Client, prefer: str) -> None:
    path = await TUS.begin(client)
    await TUS.send(client, path, 0, HALF)
    async with reading(client, path, status=404, params={}, Prefer=prefer) as answer:
        assert "Preference-Applied" not in answer.headers


async def test_who_does_not_ask_for_it_gets_no_part(client: Client) -> None:
    path = await TUS.begin(client)
    await TUS.send(client, path, 0, HALF)
    for params, status in (({}, 404), ({"follow": "0"}, 404), ({"follow": "yes"}, 400)):
        async with reading(client, path, status=status, params=params):
            pass


async def test_a_silent_sender_is_not_waited_for_for_ever(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "WAIT", 0.1)
    path = await TUS.begin(client)
    async with reading(client, path) as answer:
        await assert_broken_off(answer)


KNOWN = {
    "bytes=0-": range(len(LONG)),
    "bytes=70000-": range(70_000, len(LONG)),
    "bytes=150000-": range(150_000, len(LONG)),
    "bytes=-7": range(len(LONG) - 7, len(LONG)),
    "bytes=10-80009": range(10, 80_010),
    "bytes=3-2": range(len(LONG)),
    "bytes=0-1,3-4": range(len(LONG)),
}


@pytest.mark.parametrize(("asked", "expected"), KNOWN.items(), ids=KNOWN)
async def test_a_range_of_a_known_length(client: Client, asked: str, expected: range) -> None:
    path = await TUS.begin(client)
    await TUS.send(client, path, 0, HALF)
    partly = len(expected) < len(LONG)
    async with reading(client, path, status=206 if partly else 200, Range=asked) as answer:
        if partly:
            assert answer.headers["Content-Range"] == f"bytes {expected.start}-{expected.stop - 1}/{SIZE}"
        assert answer.headers["Content-Length"] == str(len(expected))
        await TUS.send(client, path, HALF)
        assert await rest(answer) == LONG[expected.start : expected.stop]


UNKNOWN = {
    "bytes=70000-": 70_000,
    "bytes=150000-": 150_000,
    "bytes=70000-9007199254740991": 70_000,
    "bytes=-7": 0,
    "bytes=0-9": 0,
}


@pytest.mark.parametrize(("asked", "start"), UNKNOWN.items(), ids=UNKNOWN)
async def test_a_range_of_an_unknown_length(client: Client, asked: str, start: int) -> None:
    """RFC 8673, section 2.2."""
    path = await ENDLESS.begin(client)
    await ENDLESS.send(client, path, 0, HALF)
    async with reading(client, path, status=206 if start else 200, Range=asked) as answer:
        if start:
            assert answer.headers["Content-Range"] == f"bytes {start}-9007199254740991/*"
        await ENDLESS.send(client, path, HALF)
        assert await rest(answer) == LONG[start:]


async def test_a_range_behind_the_end(client: Client) -> None:
    known, unknown = await TUS.begin(client), await ENDLESS.begin(client)
    async with reading(client, known, status=416, Range=f"bytes={SIZE}-") as answer:
        assert answer.headers["Content-Range"] == f"bytes */{SIZE}"
    async with reading(client, unknown, status=206, Range="bytes=999999-") as answer:
        await ENDLESS.send(client, unknown)
        await assert_broken_off(answer)


async def test_conditions(client: Client) -> None:
    path = await TUS.begin(client)
    async with reading(client, path, status=412, If_Match='"tag"'):
        pass
    async with reading(client, path, If_Match="*", If_Range='"tag"', Range="bytes=5-") as answer:
        await TUS.send(client, path)
        assert await rest(answer) == LONG


async def test_headers(client: Client) -> None:
    path = await TUS.begin(client, Upload_Metadata="filename YS53YXY=")
    async with client.head(f"{path}/content", params=ALL, headers={"Prefer": "wait=5"}) as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, SIZE)
        expected = {
            "Content-Type": "application/octet-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "X-Content-Type-Options": "nosniff",
            "Accept-Ranges": "bytes",
            "Preference-Applied": "wait=5",
        }
        assert {name: answer.headers[name] for name in expected} == expected
        assert "a.wav" in answer.headers["Content-Disposition"]
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert "ETag" not in answer.headers


async def test_what_is_never_a_recording_is_not_followed(client: Client) -> None:
    """A piece of a concatenation; an upload in one request; none at all."""
    part = await TUS.begin(client, Upload_Concat="partial")
    await TUS.send(client, part)
    async with reading(client, part, status=404):
        pass
    async with Wire.connect(client) as wire:
        wire.send(request(f"Content-Length: {SIZE}", body=LONG[:HALF]))
        under_way = client.app[INTAKE].hub.unrecorded
        await until(lambda: bool(under_way))
        (id,) = under_way
        async with reading(client, f"{COLLECTION}/{id}", status=404):
            pass
    async with reading(client, f"{COLLECTION}/{UUID(int=4)}", status=404):
        pass


async def test_nothing_is_read_before_the_scanner_has_seen_it(folder: Path) -> None:
    async with (
        fake_clamd(Fake()) as address,
        serving(configure(folder, scan={"clamd": as_setting(address)})) as client,
    ):
        path = await TUS.begin(client)
        await TUS.send(client, path, 0, HALF)
        async with reading(client, path, status=404):
            pass
        await TUS.send(client, path, HALF)
        async with reading(client, path) as stored:
            assert await rest(stored) == LONG


async def test_only_so_many_follow(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.app[FOLLOWERS], "_free", 1)
    path = await TUS.begin(client)
    async with reading(client, path), reading(client, path, status=503) as refused:
        assert refused.headers["Retry-After"]
        assert (await refused.json())["type"] == "urn:maie:problem:busy"
    await until(lambda: client.app[FOLLOWERS]._free == 1)
    async with reading(client, path):
        pass


async def test_a_stopping_server_breaks_off(client: Client) -> None:
    path = await TUS.begin(client)
    async with reading(client, path) as answer:
        await client.app[DRAIN].run(0.1, nothing)
        await assert_broken_off(answer)
    async with reading(client, path, status=503) as refused:
        assert (await refused.json())["type"] == "urn:maie:problem:draining"


async def test_a_catalog_that_fails_breaks_off(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    path = await TUS.begin(client)

    async def fail(_: object) -> NoReturn:
        raise StorageFailed("The catalog does not work at the moment.")

    async with reading(client, path) as answer:
        monkeypatch.setattr(client.app[CATALOG], "find", fail)
        await assert_broken_off(answer)


async def test_keys(folder: Path) -> None:
    async with serving(configure(folder)) as client:
        ada, eve = [f"Bearer {await key(client, name, EVERYTHING)}" for name in ("ada", "eve")]
        path = await TUS.begin(client, Authorization=ada)
        async with reading(client, path, status=404, Authorization=eve):
            pass
        async with reading(client, path, status=401):
            pass
        async with reading(client, path, Authorization=ada) as answer:
            await revoke(client, "ada")
            await assert_broken_off(answer)


async def test_it_goes_on_after_a_restart(folder: Path) -> None:
    async with serving(configure(folder, server={"linger": "100 ms"})) as client:
        path = await TUS.begin(client)
        await TUS.send(client, path, 0, HALF)
        async with reading(client, path) as answer:
            first = await some(answer, HALF)
    async with serving(configure(folder)) as client, reading(client, path, status=206, Range=f"bytes={HALF}-") as again:
        await TUS.send(client, path, HALF)
        assert first + await rest(again) == LONG


async def test_another_worker_is_followed(folder: Path) -> None:
    async with crew.serving(folder) as server:
        one, other = server.pids
        async with server.client_of(one) as sender, server.client_of(other) as reader:
            path = await TUS.begin(sender)
            async with reading(reader, path) as answer:
                await TUS.send(sender, path, 0, HALF)
                assert await some(answer, HALF) == LONG[:HALF]
                await TUS.send(sender, path, HALF)
                assert await rest(answer) == LONG[HALF:]


async def test_a_server_that_dies_breaks_off(folder: Path) -> None:
    async with process.serving(folder) as server, ClientSession(await server.url()) as session:
        path = await TUS.begin(session)
        async with reading(session, path) as answer:
            server.signal(signal.SIGKILL)
            await assert_broken_off(answer)


@dataclass(frozen=True, slots=True)
class Step:
    """What a sender does next."""

    size: int
    """Bytes that it announces."""
    sent: int | None
    """Bytes after which it is lost; None where it sends them all."""


steps = st.lists(st.builds(Step, size=st.integers(1, 60_000), sent=st.none() | st.integers(0, 60_000)), max_size=5)


async def take_steps(client: Client, by: Protocol, path: str, steps: list[Step]) -> None:
    """Bring some of the bytes, but never the last one."""
    for step in steps:
        start = await by.offset(client, path)
        piece = LONG[start : min(start + step.size, len(LONG) - 1)]
        if step.sent is None:
            assert await by.go_on(client, path, start, piece, last=False) in (201, 204)
            continue
        fields = {**by.append, "Upload-Offset": str(start), "Content-Length": str(len(piece))}
        head = [f"{name}: {value}" for name, value in fields.items()]
        async with Wire.connect(client) as wire:
            wire.send(request(*head, line=f"PATCH {path} HTTP/1.1", body=piece[: step.sent]))
            await wire.sent()


async def finish(client: Client, by: Protocol, path: str, steps: list[Step]) -> None:
    """Take the steps, and then bring what is missing."""
    await take_steps(client, by, path, steps)
    await by.send(client, path, await by.offset(client, path))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(by=st.sampled_from(list(PROTOCOLS.values())), before=steps, after=steps)
async def test_however_it_comes_all_of_it_is_read_in_order(
    client: Client, by: Protocol, before: list[Step], after: list[Step]
) -> None:
    path = await by.begin(client)
    await take_steps(client, by, path, before)
    async with reading(client, path) as answer:
        content, _ = await asyncio.gather(rest(answer), finish(client, by, path, after))
    assert content == LONG


async def made(recording: Recording) -> AsyncIterator[bytes]:
    for piece in recording.pieces():
        yield piece


async def test_a_reader_that_takes_nothing_costs_no_memory(folder: Path) -> None:
    recording = wav(64 * MIB)
    creation = {**TUS_FIELDS, "Upload-Length": str(recording.size)}
    async with process.serving(folder) as server, ClientSession(await server.url()) as session:
        await warm_up(session)
        async with session.post(COLLECTION, headers=creation) as created:
            path = created.headers["Location"]
        before = server.memory().now
        server.forget_peak()
        async with reading(session, path) as answer:
            fields = {**TUS.append, "Upload-Offset": "0"}
            async with session.patch(path, data=made(recording), headers=fields) as sent:
                assert sent.status == 204
            digest = hashlib.sha256()
            async for piece in answer.content.iter_any():
                digest.update(piece)
        assert digest.hexdigest() == recording.sha256()
        assert server.memory().peak - before < 4 * MIB
