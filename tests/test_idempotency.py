"""The same request again, by its `Idempotency-Key`: one upload, one answer, whenever and however often it comes."""

from __future__ import annotations

import asyncio
from asyncio import Barrier
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientError, ClientSession

from maie_aiohttp.intake.idempotency import Key, use_of
from maie_aiohttp.model import Status
from maie_aiohttp.web.appkeys import CATALOG
from tests import audio, crew
from tests.conftest import Client, configure, files, serving
from tests.crew import until
from tests.layers import query, stored, upload
from tests.scenarios import process
from tests.test_fsck import command_alone
from tests.test_sweep import swept
from tests.wire import COLLECTION, Wire, file, request, sized, text

WAV = audio.sample("wav-u8").content
FLAC = audio.sample("flac").content
KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'

CREATED, GONE, REUSED = (201, ""), (410, "gone"), (422, "idempotency-key-reused")
DAMAGED, MALFORMED, NOT_AUDIO = (500, "damaged"), (400, "malformed"), (415, "not-audio")


@dataclass(frozen=True)
class Answer:
    """What one request got."""

    status: int
    document: Mapping[str, Any]
    fields: Mapping[str, str | None]
    """Those that speak of the upload."""

    @property
    def outcome(self) -> tuple[int, str]:
        """The status, and the problem if there is one."""
        return self.status, str(self.document.get("type", "")).rpartition(":")[2]

    @property
    def ids(self) -> list[str]:
        """The uploads it speaks of."""
        assert self.status == 201, self.document
        return [record["id"] for record in self.document.get("uploads", [self.document])]


@dataclass(frozen=True)
class Form:
    """A request with files and text fields."""

    parts: tuple[bytes, ...]
    boundary: str = "edge"

    def body(self) -> bytes:
        return (b"".join(self.parts) + b"--edge--\r\n").replace(b"--edge", f"--{self.boundary}".encode())

    def fields(self) -> dict[str, str]:
        return {"Content-Type": f"multipart/form-data; boundary={self.boundary}"}


@dataclass(frozen=True)
class Raw:
    """A request whose body is the file."""

    content: bytes = WAV
    filename: str = "speech.wav"
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        return self.content

    def fields(self) -> dict[str, str]:
        disposition = f'attachment; filename="{self.filename}"'
        return {"Content-Type": "audio/wav", "Content-Disposition": disposition, **self.headers}


Request = Form | Raw

ONE = Form((file(),))
SEVERAL = Form((text("case", b"7"), file(), file(FLAC, name="b.flac"), text("tag", b"x"), text("tag", b"y")))
RAW = Raw()
NO_AUDIO = Raw(WAV[::-1])

REQUESTS: dict[str, Request] = {"form": ONE, "several files and fields": SEVERAL, "raw": RAW}
every_request = pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS)


async def post(
    client: Client | ClientSession, sent: Request, key: str | None = KEY, body: AsyncIterator[bytes] | None = None
) -> Answer:
    headers = sent.fields() if key is None else {**sent.fields(), "Idempotency-Key": key}
    async with client.post(COLLECTION, data=sent.body() if body is None else body, headers=headers) as answer:
        named = {name: answer.headers.get(name) for name in ("Location", "Repr-Digest", "Content-Type")}
        return Answer(answer.status, await answer.json(content_type=None), named)


def recorded(folder: Path, column: str = "id FROM uploads") -> list[str]:
    return sorted(str(UUID(hex=str(id))) for (id,) in query(folder / "catalog.sqlite", f"SELECT {column}"))


def kept(folder: Path) -> list[str]:
    """The uploads of which there is a file, whole or not."""
    return sorted(Path(name).stem for name in files(folder) if not name.startswith("orphans/"))


def assert_stored_once(folder: Path, answer: Answer) -> None:
    """The uploads of the answer are all there is, on disk and in the catalog, and each is announced once."""
    assert kept(folder) == recorded(folder) == recorded(folder, "upload_id FROM outbox") == sorted(answer.ids)


def keys(folder: Path) -> int:
    """How many are remembered."""
    return len(query(folder / "catalog.sqlite", "SELECT key FROM idempotency_keys"))


@every_request
async def test_the_same_again_is_stored_once(client: Client, folder: Path, sent: Request) -> None:
    first = await post(client, sent)
    assert first.fields["Location"] == f"/v1/uploads/{first.ids[0]}"
    for _ in range(3):
        assert await post(client, sent) == first
    assert_stored_once(folder, first)


async def test_without_a_key_everything_is_new(client: Client, folder: Path) -> None:
    ids = {(await post(client, RAW, None)).ids[0] for _ in range(3)}
    assert len(ids) == len(files(folder)) == 3
    assert keys(folder) == 0


async def test_another_key_is_another_request(client: Client) -> None:
    answers = [await post(client, RAW, key) for key in ("a", "A", "a.", '"a "', '"a\\""')]
    assert len({answer.ids[0] for answer in answers}) == 5


OTHERS: dict[str, tuple[Request, Request]] = {
    "other bytes": (RAW, Raw(WAV[:-1])),
    "other bytes in a form": (ONE, Form((file(WAV[:-1]),))),
    "another name": (RAW, Raw(filename="other.wav")),
    "another name in a form": (ONE, Form((file(name="other.wav"),))),
    "no name": (RAW, Raw(filename="")),
    "raw, then a form": (RAW, ONE),
    "a form, then raw": (ONE, RAW),
    "a field more": (ONE, Form((text("case", b"7"), file()))),
    "a field less": (Form((text("case", b"7"), file())), ONE),
    "another value": (Form((text("case", b"7"), file())), Form((text("case", b"8"), file()))),
    "another order of values": (
        Form((text("a", b"1"), text("a", b"2"), file())),
        Form((text("a", b"2"), text("a", b"1"), file())),
    ),
    "a value twice": (Form((text("a", b"1"), file())), Form((text("a", b"1"), text("a", b"1"), file()))),
    "a file more": (ONE, Form((file(), file()))),
    "a file less": (Form((file(), file())), ONE),
    "another order of files": (SEVERAL, replace(SEVERAL, parts=SEVERAL.parts[::-1])),
}


@pytest.mark.parametrize(("sent", "other"), OTHERS.values(), ids=OTHERS)
async def test_anything_else_with_that_key(client: Client, folder: Path, sent: Request, other: Request) -> None:
    first = await post(client, sent)
    assert (await post(client, other)).outcome == REUSED
    assert_stored_once(folder, first)
    assert await post(client, sent) == first
    assert (await post(client, other, "another")).outcome == CREATED


ALIKE: dict[str, tuple[Request, Request]] = {
    "another type": (RAW, Raw(headers={"Content-Type": "audio/x-wav"})),
    "another boundary": (ONE, replace(ONE, boundary="other")),
    "another order of names": (
        Form((text("a", b"1"), text("b", b"2"), file())),
        Form((file(), text("b", b"2"), text("a", b"1"))),
    ),
    "an empty file input": (ONE, Form((file(), text("another", b"").replace(b'other"', b'other"; filename=""')))),
    "another name of the input": (ONE, Form((file().replace(b'name="file"', b'name="recording"'),))),
}


@pytest.mark.parametrize(("sent", "other"), ALIKE.values(), ids=ALIKE)
async def test_what_leaves_no_trace_does_not_count(client: Client, folder: Path, sent: Request, other: Request) -> None:
    first = await post(client, sent)
    assert await post(client, other) == first
    assert_stored_once(folder, first)


async def test_a_key_is_the_same_with_and_without_quotes(client: Client) -> None:
    first = await post(client, RAW, '"a-key"')
    for key in ("a-key", '"a-key";sent=2', ' "a-key" '):
        assert await post(client, RAW, key) == first


def test_the_fingerprint_is_the_same_in_every_version() -> None:
    """It stands in the catalogs of those who upgrade."""
    recording = stored(UUID(int=0), sha256="ab" * 32)
    use = use_of(Key("k", "form"), [upload(filename=name, stored=recording) for name in ("ä.wav", None)])
    assert use.fingerprint == "d3601085e02eac715c5603c14d7ad1a711bac83193c43f98fdd0f33341a3dc96"


NO_KEYS = {
    "empty": [""],
    "an empty string": ['""'],
    "too long": ["x" * 256],
    "too long a string": [f'"{"x" * 256}"'],
    "two": ['"a"', '"b"'],
    "the same twice": ['"a"', '"a"'],
    "joined by a proxy": ['"a", "b"'],
    "joined without quotes": ["a, b"],
    "unended": ['"a'],
    "unbegun": ['a"'],
    "behind the string": ['"a"b'],
    "a space": ["a b"],
    "a parameter without quotes": ["a;b"],
    "a list": ["(a)  b"],
    "no ASCII": ["schl\u00fcssel"],
    "no ASCII in a string": ['"schl\u00fcssel"'],
    "a control character": ['"a\tb"'],
    "a wrong escape": ['"a\\b"'],
}


@pytest.mark.parametrize("values", NO_KEYS.values(), ids=NO_KEYS)
@pytest.mark.parametrize("sent", [RAW, ONE], ids=["raw", "form"])
async def test_a_key_that_is_none(client: Client, folder: Path, values: list[str], sent: Request) -> None:
    """Refused before the body is asked for."""
    fields = [f"{name}: {value}" for name, value in sent.fields().items()]
    named = [f"Idempotency-Key: {value}" for value in values]
    async with Wire.connect(client) as wire:
        wire.send(request(*fields, *named, f"Content-Length: {len(sent.body())}", "Expect: 100-continue"))
        answer = await wire.answer()
    assert (answer.status, answer.problem) == MALFORMED
    assert recorded(folder) == files(folder) == []


@pytest.mark.parametrize("key", ["x" * 255, f'"{"x" * 255}"', f'"{chr(92) * 510}"', "!", '" "', "8e03978e-40d5-43dd"])
async def test_the_longest_and_the_shortest_keys(client: Client, key: str) -> None:
    assert await post(client, RAW, key) == await post(client, RAW, key)


class Gate:
    """Holds back the last bytes of so many bodies until all of them have come so far."""

    def __init__(self, parties: int) -> None:
        self._barrier = Barrier(parties)

    async def whole(self, sent: Request) -> AsyncIterator[bytes]:
        yield sent.body()[:-1]
        await self._barrier.wait()
        yield sent.body()[-1:]

    async def broken_off(self, sent: Request) -> AsyncIterator[bytes]:
        yield sent.body()[:-1]
        await self._barrier.wait()
        raise ConnectionResetError


@pytest.mark.parametrize("count", [2, 10])
@every_request
async def test_fault_40_the_same_key_at_once(client: Client, folder: Path, sent: Request, count: int) -> None:
    gate = Gate(count)
    first, *others = await asyncio.gather(*(post(client, sent, KEY, gate.whole(sent)) for _ in range(count)))
    assert others == [first] * (count - 1)
    assert_stored_once(folder, first)
    assert await post(client, sent) == first


@every_request
async def test_fault_40_the_same_key_at_once_in_two_processes(folder: Path, sent: Request) -> None:
    async with crew.serving(folder) as server:
        here, there = server.pids
        async with server.client_of(here) as one, server.client_of(there) as other:
            for key in ("a", "b", "c"):
                gate = Gate(2)
                answers = await asyncio.gather(*(post(to, sent, key, gate.whole(sent)) for to in (one, other)))
                assert [await post(to, sent, key) for to in (one, other)] == answers
                assert answers[0] == answers[1]
    assert len(kept(folder)) == len(recorded(folder)) == 3 * len(answers[0].ids)


async def test_fault_40_other_requests_with_the_same_key_at_once(client: Client, folder: Path) -> None:
    sent = (RAW, ONE, Raw(WAV[:-2]), RAW)
    for key in ("a", "b", "c", "d"):
        gate = Gate(len(sent))
        answers = await asyncio.gather(*(post(client, one, key, gate.whole(one)) for one in sent))
        assert {answer.outcome for answer in answers} == {CREATED, REUSED}
        assert len({answer.ids[0] for answer in answers if answer.status == 201}) == 1
        again = [await post(client, one, key) for one in sent]
        assert [answer.outcome for answer in again] == [answer.outcome for answer in answers]
    assert len(kept(folder)) == len(recorded(folder)) == len(recorded(folder, "upload_id FROM outbox")) == 4


@every_request
async def test_fault_40_one_of_two_is_broken_off(client: Client, folder: Path, sent: Request) -> None:
    gate = Gate(2)
    whole, broken = await asyncio.gather(
        post(client, sent, KEY, gate.whole(sent)),
        post(client, sent, KEY, gate.broken_off(sent)),
        return_exceptions=True,
    )
    assert isinstance(whole, Answer)
    assert isinstance(broken, ClientError)
    assert await post(client, sent) == whole
    await until(lambda: len(kept(folder)) == len(whole.ids))
    assert_stored_once(folder, whole)


async def test_fault_40_one_of_two_is_refused(client: Client, folder: Path) -> None:
    gate = Gate(2)
    good, bad = await asyncio.gather(*(post(client, one, KEY, gate.whole(one)) for one in (RAW, NO_AUDIO)))
    assert (good.outcome, bad.outcome) == (CREATED, NOT_AUDIO)
    assert_stored_once(folder, good)


async def test_what_was_not_stored_is_not_remembered(client: Client, folder: Path) -> None:
    assert (await post(client, NO_AUDIO)).outcome == NOT_AUDIO
    with suppress(ClientError):
        await post(client, RAW, KEY, Gate(1).broken_off(RAW))
    assert keys(folder) == 0
    first = await post(client, SEVERAL)
    await until(lambda: len(kept(folder)) == len(first.ids))
    assert_stored_once(folder, first)


async def test_the_answer_never_came(client: Client, folder: Path) -> None:
    """The client went away with the last byte; the upload is stored all the same."""
    async with Wire.connect(client) as wire:
        wire.send(sized(WAV, *as_lines(RAW)))
        await until(lambda: len(recorded(folder)) == 1)
    first = await post(client, RAW)
    assert first.outcome == CREATED
    assert_stored_once(folder, first)


@pytest.mark.parametrize("sent", [RAW, ONE], ids=["raw", "form"])
async def test_fault_33_half_closed_after_the_body(client: Client, folder: Path, sent: Request) -> None:
    """The client sends again at once, whatever has become of its first request by then."""
    async with Wire.connect(client) as wire:
        wire.send(sized(sent.body(), *as_lines(sent)))
        wire.half_close()
        first = await post(client, sent)
        await wire.rest()
    assert first.outcome == CREATED
    await until(lambda: len(kept(folder)) == 1)
    assert_stored_once(folder, first)
    assert await post(client, sent) == first


def as_lines(sent: Request) -> list[str]:
    """The header fields of a request, the key too."""
    return [f"{name}: {value}" for name, value in {**sent.fields(), "Idempotency-Key": KEY}.items()]


@every_request
async def test_it_is_the_same_after_a_restart(folder: Path, sent: Request) -> None:
    async with serving(configure(folder)) as client:
        first = await post(client, sent)
    async with serving(configure(folder)) as client:
        assert await post(client, sent) == first
        assert (await post(client, NO_AUDIO)).outcome == NOT_AUDIO
        assert (await post(client, Raw(FLAC, "a.flac"))).outcome == REUSED
    assert_stored_once(folder, first)


DIES = """
import os, runpy, signal
from maie_aiohttp.catalogs.sql import SqlCatalog

settle = SqlCatalog.settle

async def settle_and_die(catalog, *given):
    {step}
    os.kill(os.getpid(), signal.SIGKILL)

SqlCatalog.settle = settle_and_die
runpy.run_module("maie_aiohttp", run_name="__main__")
"""
"""A server that kills itself where an upload is to be recorded."""

AFTER_COMMIT, BEFORE_COMMIT = DIES.format(step="await settle(catalog, *given)"), DIES.format(step="pass")


async def post_alone(folder: Path, sent: Request, program: tuple[str, ...] = process.PRODUCT) -> Answer:
    """A request to a server that runs for nothing else. Raises ClientError if it dies."""
    async with process.serving(folder, program=program) as server, ClientSession(await server.url()) as client:
        return await post(client, sent)


@every_request
async def test_fault_07_killed_between_commit_and_answer(folder: Path, sent: Request) -> None:
    with pytest.raises(ClientError):
        await post_alone(folder, sent, ("-c", AFTER_COMMIT))
    stored = recorded(folder)
    assert (len(stored), keys(folder)) == (1 + (sent is SEVERAL), 1)
    first = await post_alone(folder, sent)
    assert sorted(first.ids) == stored
    assert_stored_once(folder, first)
    assert files(folder / "orphans") == []


async def test_fault_07_killed_before_the_commit(folder: Path) -> None:
    with pytest.raises(ClientError):
        await post_alone(folder, RAW, ("-c", BEFORE_COMMIT))
    assert (len(recorded(folder)), keys(folder)) == (0, 0)
    first = await post_alone(folder, RAW)
    assert first.outcome == CREATED
    assert_stored_once(folder, first)


async def test_fault_07_killed_in_a_repetition(folder: Path) -> None:
    first = await post_alone(folder, RAW)
    for program in (AFTER_COMMIT, BEFORE_COMMIT):
        with pytest.raises(ClientError):
            await post_alone(folder, RAW, ("-c", program))
    assert await post_alone(folder, RAW) == first
    assert_stored_once(folder, first)


async def test_a_key_is_forgotten_in_time(folder: Path) -> None:
    async with serving(configure(folder)) as client:
        first = await post(client, RAW, "old")
        young = await post(client, RAW, "young")
        query(folder / "catalog.sqlite", "UPDATE idempotency_keys SET used_at = 1 WHERE key = '/old'")
        assert await swept(folder) == 0  # no upload is
        assert keys(folder) == 1
        assert (await post(client, RAW, "old")).ids != first.ids
        assert await post(client, RAW, "young") == young


async def test_the_server_forgets_keys_itself(folder: Path) -> None:
    settings = configure(folder, idempotency={"lifetime": "1 ms"}, resumable={"sweep_interval": "10 ms"})
    async with serving(settings) as client:
        first = await post(client, RAW)
        await until(lambda: keys(folder) == 0)
        assert (await post(client, RAW)).ids != first.ids


@every_request
async def test_what_was_deleted_does_not_come_back(client: Client, folder: Path, sent: Request) -> None:
    first = await post(client, sent)
    async with client.delete(f"{COLLECTION}/{first.ids[-1]}") as deleted:
        assert deleted.status == 204
    assert (await post(client, sent)).outcome == GONE
    assert kept(folder) == recorded(folder) == sorted(first.ids[:-1])


async def test_who_sends_what_is_damaged_keeps_it(client: Client, folder: Path) -> None:
    assert client.app is not None
    first = await post(client, SEVERAL)
    await client.app[CATALOG].move(UUID(first.ids[1]), Status.DAMAGED)
    assert (await post(client, SEVERAL)).outcome == DAMAGED
    await client.app[CATALOG].move(UUID(first.ids[1]), Status.STORED)
    assert await post(client, SEVERAL) == first
    assert_stored_once(folder, first)


async def test_a_repaired_catalog_still_knows_the_keys(folder: Path) -> None:
    async with serving(configure(folder)) as client:
        first = await post(client, RAW)
    catalog = folder / "catalog.sqlite"
    query(catalog, "DROP TABLE outbox")
    await command_alone(folder, "fsck", "--repair")
    async with serving(configure(folder)) as client:
        assert await post(client, RAW) == first


RESUMABLE: dict[str, Mapping[str, str]] = {
    "tus": {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": str(len(WAV)),
        "Content-Type": "application/offset+octet-stream",
    },
    "IETF": {"Upload-Complete": "?1"},
}


@pytest.mark.parametrize("key", [KEY, "", "a, b"])
@pytest.mark.parametrize("fields", RESUMABLE.values(), ids=RESUMABLE)
async def test_resumable_uploads_do_not_look_at_it(
    client: Client, folder: Path, fields: Mapping[str, str], key: str
) -> None:
    for _ in range(2):
        async with client.post(COLLECTION, data=WAV, headers={**fields, "Idempotency-Key": key}) as answer:
            assert answer.status == 201
    assert (len(kept(folder)), keys(folder)) == (2, 0)


async def test_listeners_hear_that_nothing_came_of_it(client: Client) -> None:
    first = await post(client, RAW)
    async with client.get("/v1/events") as events:
        assert await post(client, RAW) == first
        told = b""
        while b"event: deleted" not in told:
            told += await events.content.readany()
    assert b"event: receiving" in told
    assert told.count(b"event: stored") == 1  # the first, with which they begin
