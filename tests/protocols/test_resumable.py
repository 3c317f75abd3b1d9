"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload), rule by rule, as clients see them.

Names and docstrings say the draft's section; a rule without one is this server's own. "Interop" is the appendix on
versions of the draft.
"""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import http_sf
import pytest

from tests import audio
from tests.conftest import configure, files, serving
from tests.wire import COLLECTION, DEADLINE, END, FORM, WAV, Answer, Edge, Wire, chunked, file, request, sized

pytestmark = pytest.mark.asyncio(loop_scope="module")

KIB = 1024
MIB = 1024 * KIB
SIZE = len(WAV)
HALF = SIZE // 2
FIRST, REST = WAV[:HALF], WAV[HALF:]

CHUNKED = "Transfer-Encoding: chunked"
LAST, MORE = "Upload-Complete: ?1", "Upload-Complete: ?0"
NEWEST = "Upload-Draft-Interop-Version: 9"
EXPECT = "Expect: 100-continue"
PARTIAL = "application/partial-upload"
MISMATCHING = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset"
INCONSISTENT = "https://iana.org/assignments/http-problem-types#inconsistent-upload-length"
LIMITS = {"max-size", "min-size", "max-append-size", "min-append-size", "max-age"}
DAY = 24 * 60 * 60


def append(path: str, offset: object, *fields: str, body: bytes = b"") -> bytes:
    """A request to append: of the body's length, unless the fields say chunked."""
    head = [f"Upload-Offset: {offset}", f"Content-Type: {PARTIAL}", *fields]
    if CHUNKED not in fields:
        head.append(f"Content-Length: {len(body)}")
    return request(*head, line=f"PATCH {path} HTTP/1.1", body=body)


def unfinished(framing: str, body: bytes, size: int, *fields: str, line: str = f"POST {COLLECTION} HTTP/1.1") -> bytes:
    """A request whose body breaks off before its `size` bytes, or before the last of its chunks."""
    if framing == "sized":
        return request(f"Content-Length: {size}", *fields, line=line, body=body)
    return request(CHUNKED, *fields, line=line, body=opened(body))


def opened(body: bytes) -> bytes:
    """A chunk, and not the last one."""
    return chunked([body]).removesuffix(b"0\r\n\r\n")


def digest(name: str, content: bytes) -> str:
    """A digest field (RFC 9530)."""
    return f"{name}: sha-256=:{b64encode(hashlib.sha256(content).digest()).decode()}:"


def limits(headers: Mapping[str, str]) -> dict[str, int]:
    """The members of `Upload-Limit`, proven to be well-formed (4.1.4)."""
    members: Any = http_sf.parse(headers["upload-limit"].encode(), tltype="dictionary")
    assert members.keys() <= LIMITS
    assert {type(value) for value, _ in members.values()} == {int}
    return {name: value for name, (value, _) in members.items()}


async def answers(wire: Wire) -> list[Answer]:
    """What a request is answered, interim responses first."""
    received = [await wire.answer()]
    while received[-1].status < 200:
        received.append(await wire.answer())
    return received


async def talk(edge: Edge, *pieces: bytes) -> list[Answer]:
    """Everything one request is answered, sent on a connection of its own."""
    async with Wire.connect(edge.client) as wire:
        for piece in pieces:
            wire.send(piece)
        return await answers(wire)


async def ask(edge: Edge, *pieces: bytes) -> Answer:
    """The final answer to one request."""
    return (await talk(edge, *pieces))[-1]


def path_of(answer: Answer) -> str:
    """Where its `Location` points."""
    return urlsplit(answer.headers["location"]).path


def own(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of its bytes, and not of itself."""
    others = ("id", "created_at", "stored_at", "links", "duplicate_of")
    return {name: value for name, value in record.items() if name not in others}


async def received(edge: Edge, offset: int) -> None:
    """Wait until the upload under way, the only one, has got so far."""
    async with asyncio.timeout(DEADLINE):
        while await under_way(edge) < offset:
            pass


async def under_way(edge: Edge) -> int:
    """How many bytes the uploads have that are being received."""
    async with edge.client.get("/ready") as answer:
        return int((await answer.json())["received"])


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload resource, as its client follows it."""

    edge: Edge
    path: str

    @classmethod
    async def begin(cls, edge: Edge, body: bytes = b"", *fields: str) -> Self:
        """Create one that is not complete."""
        answer = await ask(edge, sized(body, MORE, *fields))
        assert answer.status == 201, answer.body
        return cls(edge, path_of(answer))

    @property
    def line(self) -> str:
        """The first line of a request that appends."""
        return f"PATCH {self.path} HTTP/1.1"

    async def send(self, offset: object, *fields: str, body: bytes = b"") -> Answer:
        """The final answer to an append."""
        return await ask(self.edge, append(self.path, offset, *fields, body=body))

    async def look(self) -> Answer:
        """The answer to an offset retrieval."""
        async with self.edge.client.head(self.path) as answer:
            return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, b"")

    async def delete(self) -> int:
        """Cancel it; returns the status."""
        async with self.edge.client.delete(self.path) as answer:
            return answer.status

    async def record(self) -> dict[str, Any]:
        """As everybody sees it."""
        async with self.edge.client.get(self.path) as answer:
            assert answer.status == 200
            record: dict[str, Any] = await answer.json()
            return record

    async def assert_at(self, offset: int) -> None:
        """It is incomplete, and goes on here."""
        answer = await self.look()
        assert answer.status in (200, 204)
        assert (answer.headers["upload-offset"], answer.headers["upload-complete"]) == (str(offset), "?0")

    async def assert_goes_on(self, offset: int) -> None:
        """What was received so far counts; with the rest it is the recording."""
        await self.assert_at(offset)
        answer = await self.send(offset, LAST, body=WAV[offset:])
        assert (answer.status, answer.headers.get("upload-complete")) == (201, "?1"), answer.body
        assert answer.json()["sha256"] == hashlib.sha256(WAV).hexdigest()

    async def assert_over(self) -> None:
        """It takes no more bytes, says why, and holds none."""
        assert (await self.look()).status == 410
        assert (await self.send(HALF, MORE, body=b"more")).status == 410
        record = await self.record()
        assert record["status"] == "rejected"
        assert record["reason"]
        assert files(self.edge.folder) == []

    @asynccontextmanager
    async def sending(self, offset: int, body: bytes, *fields: str) -> AsyncIterator[Wire]:
        """An append that has sent these bytes, and not its end."""
        async with Wire.connect(self.edge.client) as wire:
            head = (f"Upload-Offset: {offset}", f"Content-Type: {PARTIAL}", *fields)
            wire.send(unfinished("chunked", body, 0, *head, line=self.line))
            await received(self.edge, offset + len(body))
            yield wire


# Limits


@pytest.mark.parametrize("target", ["collection", "upload"])
async def test_limits_can_be_asked_for(edge: Edge, target: str) -> None:
    """4.1.4. A resource that can create uploads tells its limits."""
    path = COLLECTION if target == "collection" else (await Upload.begin(edge)).path
    async with edge.client.options(path) as answer:
        assert answer.status // 100 == 2
        assert limits({"upload-limit": answer.headers["Upload-Limit"]})["max-size"] == 500 * MIB


async def test_limits_are_the_same_wherever_they_are_told(edge: Edge) -> None:
    """4.1.4. They do not change while an upload lasts; only its remaining lifetime may."""
    interim, final = await talk(edge, sized(FIRST, MORE, NEWEST))
    told = [limits(answer.headers) for answer in (interim, final, await Upload(edge, path_of(final)).look())]
    assert all(0 < members.pop("max-age", DAY) <= DAY for members in told)
    assert told[0] == told[1] == told[2]


# Creation


@dataclass(frozen=True, slots=True)
class Beginning:
    """A creation that announces more, and what an offset retrieval knows then."""

    section: str
    request: bytes
    offset: int = HALF
    length: str | None = None


BEGINNINGS = {
    "some content": Beginning("4.2.2", sized(FIRST, MORE)),
    "some content in chunks": Beginning("9", request(MORE, CHUNKED, body=chunked([FIRST[:9], FIRST[9:]]))),
    "no content": Beginning("4.2.1", sized(b"", MORE), 0),
    "no content, and no word of its length": Beginning("4.2.1", request(MORE), 0),
    "no content in chunks": Beginning("4.2.1", request(MORE, CHUNKED, body=chunked([])), 0),
    "a length": Beginning("4.1.3", sized(FIRST, MORE, f"Upload-Length: {SIZE}"), length=str(SIZE)),
    "a length, no content": Beginning("4.2.1", sized(b"", MORE, f"Upload-Length: {SIZE}"), 0, str(SIZE)),
    "all of its length": Beginning("4.1.3", sized(WAV, MORE, f"Upload-Length: {SIZE}"), SIZE, str(SIZE)),
    "a parameter": Beginning("4.1.2", sized(FIRST, "Upload-Complete: ?0;why=pause")),
    "a length that is a word": Beginning("4.1.3", sized(FIRST, MORE, "Upload-Length: abc")),
    "a length that is a string": Beginning("4.1.3", sized(FIRST, MORE, f'Upload-Length: "{SIZE}"')),
    "a length that is a decimal": Beginning("4.1.3", sized(FIRST, MORE, f"Upload-Length: {SIZE}.0")),
    "a length below nothing": Beginning("4.1.3", sized(FIRST, MORE, "Upload-Length: -1")),
    "a length of 16 digits": Beginning("4.1.3", sized(FIRST, MORE, "Upload-Length: 1000000000000000")),
    "two lengths": Beginning("4.1.3", sized(FIRST, MORE, *[f"Upload-Length: {SIZE}"] * 2)),
}


@pytest.mark.parametrize("rule", [pytest.param(rule, id=f"{rule.section} {name}") for name, rule in BEGINNINGS.items()])
async def test_an_upload_begins(edge: Edge, rule: Beginning) -> None:
    answer = await ask(edge, rule.request)
    assert (answer.status, answer.headers["upload-complete"]) == (201, "?0")
    assert {"max-size", "min-size"} <= limits(answer.headers).keys()
    upload = Upload(edge, path_of(answer))
    await upload.assert_at(rule.offset)
    assert (await upload.look()).headers.get("upload-length") == rule.length
    await upload.assert_goes_on(rule.offset)


COMPLETE = {
    "sized": sized(WAV, LAST),
    "with its length": sized(WAV, LAST, f"Upload-Length: {SIZE}"),
    "chunked": request(LAST, CHUNKED, body=chunked([WAV])),
    "chunked, with its length": request(LAST, CHUNKED, f"Upload-Length: {SIZE}", body=chunked([WAV])),
}


@pytest.mark.parametrize("name", COMPLETE)
async def test_a_complete_creation_is_answered_like_a_plain_upload(edge: Edge, name: str) -> None:
    """4.2.2 and 11.1.1. What the targeted resource answers, `Upload-Complete` aside."""
    named = "Content-Disposition: inline; filename=\"a b.wav\"; filename*=UTF-8''a%20b.wav"
    plain = await ask(edge, sized(WAV, named))
    head, _, body = COMPLETE[name].partition(b"\r\n")
    answer = await ask(edge, head + b"\r\n" + named.encode() + b"\r\n" + body)
    assert (answer.status, answer.headers["upload-complete"]) == (201, "?1")
    assert answer.headers["repr-digest"] == plain.headers["repr-digest"]
    assert answer.headers["content-type"] == plain.headers["content-type"]
    assert own(answer.json()) == own(plain.json())
    assert path_of(answer) == urlsplit(answer.json()["links"]["self"]).path


async def test_a_complete_upload_can_be_looked_at(edge: Edge) -> None:
    """4.3.2."""
    upload = Upload(edge, path_of(await ask(edge, sized(WAV, LAST))))
    headers = (await upload.look()).headers
    assert (headers["upload-complete"], headers["upload-offset"]) == ("?1", str(SIZE))
    assert headers["upload-length"] == str(SIZE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A creation that is refused without a trace."""

    section: str
    request: bytes
    status: int
    problem: str


REFUSED = {
    "complete and empty": Refusal("4.2.1", sized(b"", LAST), 422, "urn:maie:problem:empty"),
    "complete and empty, in chunks": Refusal(
        "4.2.1", request(LAST, CHUNKED, body=chunked([])), 422, "urn:maie:problem:empty"
    ),
    "of length 0": Refusal("", sized(b"", MORE, "Upload-Length: 0"), 422, "urn:maie:problem:empty"),
    "longer than its length": Refusal("4.1.3", sized(WAV, LAST, f"Upload-Length: {SIZE - 1}"), 400, INCONSISTENT),
    "shorter than its length": Refusal("4.1.3", sized(WAV, LAST, f"Upload-Length: {SIZE + 1}"), 400, INCONSISTENT),
    "compressed": Refusal("", sized(FIRST, MORE, "Content-Encoding: gzip"), 415, "urn:maie:problem:not-audio"),
    "a type of no audio": Refusal("", sized(FIRST, MORE, "Content-Type: text/html"), 415, "urn:maie:problem:not-audio"),
    "a name of no audio": Refusal(
        "", sized(FIRST, MORE, 'Content-Disposition: inline; filename="a.exe"'), 415, "urn:maie:problem:not-audio"
    ),
    "a digest that is none": Refusal("", sized(FIRST, MORE, "Repr-Digest: x="), 400, "urn:maie:problem:malformed"),
    "too long by its length": Refusal(
        "4.1.4", sized(b"", MORE, f"Upload-Length: {501 * MIB}"), 413, "urn:maie:problem:too-large"
    ),
    "too long by its content": Refusal(
        "4.1.4", request(LAST, f"Content-Length: {501 * MIB}"), 413, "urn:maie:problem:too-large"
    ),
}


@pytest.mark.parametrize("rule", [pytest.param(rule, id=f"{rule.section} {name}") for name, rule in REFUSED.items()])
async def test_a_creation_is_refused(edge: Edge, rule: Refusal) -> None:
    answer = await ask(edge, rule.request)
    assert (answer.status, answer.json()["type"]) == (rule.status, rule.problem)
    assert files(edge.folder) == []
    assert [record for record in await edge.stored() if record["status"] != "rejected"] == []


async def test_too_large_comes_with_the_limits(edge: Edge) -> None:
    """4.1.4."""
    for rule in (REFUSED["too long by its length"], REFUSED["too long by its content"]):
        assert limits((await ask(edge, rule.request)).headers)["max-size"] == 500 * MIB


@pytest.mark.parametrize("value", ["1", '"?1"', "?2", "true", "?1, ?1", "(?1)", "", "?1;", ":?1:"])
async def test_what_is_no_boolean_is_ignored(edge: Edge, value: str) -> None:
    """4.1.2. The request is what it would be without the field."""
    (answer,) = await talk(edge, sized(WAV, f"Upload-Complete: {value}", NEWEST))
    assert (answer.status, answer.headers.get("upload-complete")) == (201, None)


async def test_completeness_said_twice_is_ignored(edge: Edge) -> None:
    """4.1.2."""
    (answer,) = await talk(edge, sized(WAV, LAST, LAST, NEWEST))
    assert (answer.status, answer.headers.get("upload-complete")) == (201, None)


@pytest.mark.parametrize("complete", [LAST, MORE])
async def test_a_form_is_a_form(edge: Edge, complete: str) -> None:
    (answer,) = await talk(edge, sized(file() + END, FORM, complete, NEWEST))
    assert (answer.status, answer.headers.get("upload-complete")) == (201, None)
    assert list(answer.json()) == ["uploads"]


# Interim responses


@pytest.mark.parametrize("version", range(4, 10))
@pytest.mark.parametrize("complete", [LAST, MORE])
async def test_a_known_version_is_told_where_the_upload_is(edge: Edge, complete: str, version: int) -> None:
    """4.2.2 and Interop."""
    interim, final = await talk(edge, sized(WAV, complete, f"Upload-Draft-Interop-Version: {version}"))
    assert interim.status == 104
    assert interim.headers["upload-draft-interop-version"] == str(version)
    assert "max-size" in limits(interim.headers)
    assert (final.status, path_of(final)) == (201, path_of(interim))
    assert complete != MORE or final.headers["location"] == interim.headers["location"]


UNKNOWN_VERSIONS = ["0", "2", "10", "-6", "6.0", '"6"', "?1", "abc", "", "6, 6"]


@pytest.mark.parametrize("fields", [[], *([f"Upload-Draft-Interop-Version: {value}"] for value in UNKNOWN_VERSIONS)])
async def test_nobody_else_is(edge: Edge, fields: list[str]) -> None:
    """Interop: no 104 where the version is missing or mismatching."""
    (created,) = await talk(edge, sized(FIRST, MORE, *fields))
    (appended,) = await talk(edge, append(path_of(created), HALF, LAST, *fields, body=REST))
    assert (created.status, appended.status) == (201, 201)


async def test_clients_of_http_1_0_know_no_interim_responses(edge: Edge) -> None:
    """RFC 9110, section 15.2."""
    (answer,) = await talk(edge, sized(WAV, LAST, NEWEST).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert (answer.status, answer.headers["upload-complete"]) == (201, "?1")


async def test_an_upload_is_announced_before_its_content(edge: Edge) -> None:
    """4.2.2."""
    async with Wire.connect(edge.client) as wire:
        wire.send(request(LAST, NEWEST, f"Content-Length: {SIZE}"))
        interim = await wire.answer()
        assert (interim.status, "location" in interim.headers) == (104, True)
        wire.send(WAV)
        assert (await wire.answer()).status == 201


async def test_a_104_stands_for_no_100(edge: Edge) -> None:
    """5. Who expects a 100 gets one."""
    async with Wire.connect(edge.client) as wire:
        wire.send(request(LAST, NEWEST, EXPECT, f"Content-Length: {SIZE}"))
        assert sorted([(await wire.answer()).status, (await wire.answer()).status]) == [100, 104]
        wire.send(WAV)
        assert (await wire.answer()).status == 201


async def test_progress_is_told_while_appending(edge: Edge) -> None:
    """4.4.2."""
    begin = b"".join(audio.long_wav(100 * KIB))
    upload = await Upload.begin(edge, begin)
    async with Wire.connect(edge.client, send_buffer=64 * KIB) as wire:
        sent = len(begin)
        wire.send(append(upload.path, sent, MORE, CHUNKED, NEWEST))
        while not wire.has_answer:
            wire.send(opened(bytes(MIB)))
            await wire.sent()
            await asyncio.sleep(0)
            sent += MIB
        wire.send(b"0\r\n\r\n")
        *interim, final = await answers(wire)
    assert {answer.status for answer in interim} == {104}
    assert not any("location" in answer.headers for answer in interim)
    assert {answer.headers["upload-draft-interop-version"] for answer in interim} == {"9"}
    offsets = [len(begin), *(int(answer.headers["upload-offset"]) for answer in interim), sent]
    assert offsets == sorted(offsets)
    assert (final.status // 100, final.headers["upload-complete"]) == (2, "?0")
    await upload.assert_at(sent)


# Offset retrieval


async def test_a_look_at_an_upload(edge: Edge) -> None:
    """4.3.2."""
    upload = await Upload.begin(edge, FIRST, f"Upload-Length: {SIZE}")
    answer = await upload.look()
    assert answer.status in (200, 204)
    assert answer.headers["upload-offset"] == str(HALF)
    assert answer.headers["upload-complete"] == "?0"
    assert answer.headers["upload-length"] == str(SIZE)
    assert answer.headers["cache-control"] == "no-store"
    assert "max-size" in limits(answer.headers)


async def test_a_record_tells_the_same(edge: Edge) -> None:
    """4.3.2. Offsets may be retrieved with GET too."""
    upload = await Upload.begin(edge, FIRST, f"Upload-Length: {SIZE}")
    looked = (await upload.look()).headers
    async with edge.client.get(upload.path) as answer:
        for name in ("Upload-Offset", "Upload-Complete", "Upload-Length", "Cache-Control"):
            assert answer.headers[name] == looked[name.lower()]
        assert "max-size" in limits({"upload-limit": answer.headers["Upload-Limit"]})


async def test_a_record_tells_no_offset_that_is_passed(edge: Edge) -> None:
    """4.6. What is told is accepted next; a record that is read while somebody writes need not tell."""
    upload = await Upload.begin(edge, FIRST)
    async with upload.sending(HALF, REST[:100], MORE):
        async with edge.client.get(upload.path) as answer:
            told = answer.headers.get("Upload-Offset")
        if told is not None:
            assert (await upload.send(told, MORE)).status // 100 == 2
    await upload.assert_goes_on(HALF + 100)


async def test_the_record_of_an_upload_that_is_over_tells_none(edge: Edge) -> None:
    """4.4.2. There is no further interaction that it could be for."""
    upload = await Upload.begin(edge, FIRST, f"Upload-Length: {SIZE}")
    assert (await upload.send(HALF, MORE, body=REST + b"more")).status == 413
    async with edge.client.get(upload.path) as answer:
        assert ((await answer.json())["status"], answer.headers.get("Upload-Offset")) == ("rejected", None)


@pytest.mark.parametrize("id", ["00000000-0000-4000-8000-000000000000", "abc"])
async def test_there_is_no_such_upload(edge: Edge, id: str) -> None:
    upload = Upload(edge, f"{COLLECTION}/{id}")
    looked = await upload.look()
    assert (looked.status, looked.headers.get("upload-offset")) == (404, None)
    assert (await upload.send(0, MORE, body=WAV)).status == 404
    assert await upload.delete() == 404


# Append


@dataclass(frozen=True, slots=True)
class Append:
    """An append to an upload that has its first half. The offset afterwards is None where the upload is stored."""

    section: str
    request: Sequence[str]
    """Its header fields."""
    body: bytes = REST
    length: int | None = None
    """As the creation said it."""
    status: int = 204
    fields: Mapping[str, str] = field(default_factory=dict)
    """Of the answer."""
    problem: str = ""
    members: Mapping[str, int] = field(default_factory=dict)
    """Of the problem."""
    offset: int | None = HALF


AT_HALF, TYPE = f"Upload-Offset: {HALF}", f"Content-Type: {PARTIAL}"
PIECE = [AT_HALF, TYPE, f"Content-Length: {len(REST)}"]
NO_PIECE = [AT_HALF, TYPE, "Content-Length: 0"]
ACCEPTED = {"upload-complete": "?0"}
STORED = {"upload-complete": "?1", "content-type": "application/json; charset=utf-8"}


def mismatch(provided: int) -> Append:
    """An append at the wrong place."""
    return Append(
        "4.4.2, 7.1",
        [f"Upload-Offset: {provided}", TYPE, LAST, f"Content-Length: {len(REST)}"],
        status=409,
        fields={"upload-complete": "?0", "upload-offset": str(HALF)},
        problem=MISMATCHING,
        members={"expected-offset": HALF, "provided-offset": provided},
    )


def inconsistent(*request: str, body: bytes = REST, length: int | None = SIZE) -> Append:
    """An append that says another length than the creation, or two."""
    return Append(
        "4.1.3, 7.2",
        [*request, f"Content-Length: {len(body)}"],
        body=body,
        length=length,
        status=400,
        fields={"upload-complete": "?0"},
        problem=INCONSISTENT,
    )


def malformed(*request: str) -> Append:
    """An append that does not say where."""
    return Append("4.4.1", [TYPE, LAST, f"Content-Length: {len(REST)}", *request], status=400)


def other_type(*request: str) -> Append:
    """An append of another media type."""
    return Append("4.4.2", [AT_HALF, LAST, f"Content-Length: {len(REST)}", *request], status=415)


APPENDS = {
    "more": Append("4.4.2", [*PIECE, MORE], fields=ACCEPTED, offset=SIZE),
    "more, in chunks": Append(
        "9", [AT_HALF, TYPE, MORE, CHUNKED], chunked([REST[:7], REST[7:]]), fields=ACCEPTED, offset=SIZE
    ),
    "nothing": Append("6", [*NO_PIECE, MORE], b"", fields=ACCEPTED),
    "nothing, in chunks": Append("6", [AT_HALF, TYPE, MORE, CHUNKED], chunked([]), fields=ACCEPTED),
    "more, up to its length": Append("4.1.3", [*PIECE, MORE], length=SIZE, fields=ACCEPTED, offset=SIZE),
    "more, and its length": Append("4.1.3", [*PIECE, MORE, f"Upload-Length: {SIZE}"], fields=ACCEPTED, offset=SIZE),
    "the rest": Append("4.4.2", [*PIECE, LAST], status=201, fields=STORED, offset=None),
    "the rest, in chunks": Append(
        "9", [AT_HALF, TYPE, LAST, CHUNKED], chunked([REST]), status=201, fields=STORED, offset=None
    ),
    "the rest, of a known length": Append("4.4.2", [*PIECE, LAST], length=SIZE, status=201, fields=STORED, offset=None),
    "the rest, and its length": Append(
        "4.1.3", [*PIECE, LAST, f"Upload-Length: {SIZE}"], status=201, fields=STORED, offset=None
    ),
    "the rest, and a length to ignore": Append(
        "4.1.3", [*PIECE, LAST, "Upload-Length: abc"], status=201, fields=STORED, offset=None
    ),
    "too far on": mismatch(HALF + 1),
    "too far back": mismatch(HALF - 1),
    "at the beginning": mismatch(0),
    "at the end": mismatch(SIZE),
    "no offset": malformed(),
    "an offset that is a string": malformed(f'Upload-Offset: "{HALF}"'),
    "an offset that is a decimal": malformed(f"Upload-Offset: {HALF}.0"),
    "an offset below nothing": malformed("Upload-Offset: -1"),
    "an offset that is a word": malformed("Upload-Offset: abc"),
    "two offsets": malformed(AT_HALF, AT_HALF),
    "no type": other_type(),
    "another type": other_type("Content-Type: application/octet-stream"),
    "the type of the recording": other_type("Content-Type: audio/wav"),
    "another length": inconsistent(AT_HALF, TYPE, MORE, f"Upload-Length: {SIZE + 1}"),
    "another length by its end": inconsistent(AT_HALF, TYPE, LAST, body=REST[:-1]),
    "an end beyond its length": inconsistent(AT_HALF, TYPE, LAST, body=REST + b"\0"),
    "two lengths at once": inconsistent(AT_HALF, TYPE, LAST, f"Upload-Length: {SIZE + 1}", length=None),
    "a length that was passed": inconsistent(AT_HALF, TYPE, MORE, f"Upload-Length: {HALF - 1}", body=b"", length=None),
}


@pytest.mark.parametrize("rule", [pytest.param(rule, id=f"{rule.section} {name}") for name, rule in APPENDS.items()])
async def test_an_append(edge: Edge, rule: Append) -> None:
    upload = await Upload.begin(edge, FIRST, *([f"Upload-Length: {rule.length}"] if rule.length else []))
    answer = await ask(edge, request(*rule.request, line=upload.line, body=rule.body))
    assert answer.status // 100 == 2 if rule.status == 204 else answer.status == rule.status, answer.body
    assert answer.headers.items() >= rule.fields.items()
    if rule.problem:
        problem = answer.json()
        assert problem["type"] == rule.problem
        assert problem.items() >= rule.members.items()
    if rule.offset is not None:
        await upload.assert_goes_on(rule.offset)
    else:
        assert answer.json().items() <= (await upload.record()).items()
        assert answer.json()["sha256"] == hashlib.sha256(WAV).hexdigest()


@pytest.mark.parametrize("status", [400, 409, 415])
async def test_a_refusal_of_the_protocol_is_not_the_end(edge: Edge, status: int) -> None:
    """4.1.2. `Upload-Complete: ?1` would say that there is nothing to resume."""
    upload = await Upload.begin(edge, FIRST)
    for rule in APPENDS.values():
        if rule.status == status and rule.length is None:
            answer = await ask(edge, request(*rule.request, line=upload.line, body=rule.body))
            assert answer.headers.get("upload-complete", "?0") == "?0"


@pytest.mark.parametrize("fields", [[], ["Upload-Complete: 1"], ['Upload-Complete: "?1"'], [LAST, LAST]])
async def test_who_does_not_say_that_it_ends_never_ends_it(edge: Edge, fields: list[str]) -> None:
    """4.1.2 and 4.1.3. Length and offset do not determine whether an upload is complete."""
    upload = await Upload.begin(edge, FIRST, f"Upload-Length: {SIZE}")
    answer = await upload.send(HALF, *fields, body=REST)
    assert (answer.status == 400) or answer.headers["upload-complete"] == "?0"
    looked = await upload.look()
    assert looked.headers["upload-complete"] == "?0"
    await upload.assert_goes_on(int(looked.headers["upload-offset"]))


async def test_a_length_told_later_counts(edge: Edge) -> None:
    """4.4.2 and 4.1.3."""
    upload = await Upload.begin(edge, FIRST)
    assert "upload-length" not in (await upload.look()).headers
    await upload.send(HALF, MORE, f"Upload-Length: {SIZE}", body=REST[:100])
    assert (await upload.look()).headers["upload-length"] == str(SIZE)
    answer = await upload.send(HALF + 100, MORE, f"Upload-Length: {SIZE + 1}", body=REST[100:])
    assert (answer.status, answer.json()["type"]) == (400, INCONSISTENT)
    await upload.assert_goes_on(HALF + 100)


async def test_an_empty_append_can_be_the_end(edge: Edge) -> None:
    """4.4.1."""
    upload = await Upload.begin(edge, WAV)
    answer = await upload.send(SIZE, LAST)
    assert (answer.status, answer.headers["upload-complete"]) == (201, "?1")
    assert answer.json()["sha256"] == hashlib.sha256(WAV).hexdigest()


async def test_an_end_without_a_byte_is_an_empty_upload(edge: Edge) -> None:
    """4.4.2. The targeted resource refuses it, so `Upload-Complete` is true."""
    upload = await Upload.begin(edge)
    answer = await upload.send(0, LAST)
    assert (answer.status, answer.headers["upload-complete"]) == (422, "?1")
    await upload.assert_over()


async def test_the_last_append_is_answered_like_a_plain_upload(edge: Edge) -> None:
    """4.4.2."""
    named = 'Content-Disposition: inline; filename="speech.wav"'
    plain = await ask(edge, sized(WAV, named))
    upload = await Upload.begin(edge, FIRST, named)
    answer = await upload.send(HALF, LAST, body=REST)
    assert (answer.status, answer.headers["upload-complete"]) == (201, "?1")
    assert own(answer.json()) == own(plain.json())
    assert answer.headers["repr-digest"] == plain.headers["repr-digest"]
    assert path_of(answer) == upload.path


async def test_a_lost_final_answer_is_given_again(edge: Edge) -> None:
    """4.4.2."""
    upload = await Upload.begin(edge, FIRST)
    answer = await upload.send(HALF, LAST, body=REST)
    again = await upload.send(SIZE, LAST)
    assert (again.status, again.headers["upload-complete"]) == (201, "?1")
    assert again.json() == answer.json()
    assert again.headers["repr-digest"] == answer.headers["repr-digest"]


async def test_a_last_append_sent_twice_is_at_the_wrong_offset(edge: Edge) -> None:
    """4.4.2. The answer leads the client to the end, where it may ask for the final answer again."""
    upload = await Upload.begin(edge, FIRST)
    await upload.send(HALF, LAST, body=REST)
    answer = await upload.send(HALF, LAST, body=REST)
    assert (answer.status, answer.json()["type"]) == (409, MISMATCHING)
    assert (answer.headers["upload-complete"], answer.headers["upload-offset"]) == ("?0", str(SIZE))


@pytest.mark.parametrize("complete", [LAST, MORE])
async def test_a_complete_upload_takes_no_more(edge: Edge, complete: str) -> None:
    """4.1.2."""
    upload = Upload(edge, path_of(await ask(edge, sized(WAV, LAST))))
    before = await upload.record()
    answer = await upload.send(SIZE, complete, body=b"more")
    assert (answer.status // 100, answer.headers.get("upload-complete", "?0")) == (4, "?0")
    assert await upload.record() | {"handoffs": ...} == before | {"handoffs": ...}  # which go on meanwhile
    assert (await upload.look()).headers["upload-offset"] == str(SIZE)


BEYOND = {
    "announced": [MORE],
    "in chunks": [MORE, CHUNKED],
    "in chunks, and the end": [LAST, CHUNKED],
}


@pytest.mark.parametrize("name", BEYOND)
async def test_bytes_beyond_the_length_end_the_upload(edge: Edge, name: str) -> None:
    """4.4.2. The upload is invalid, and every further interaction with it is refused."""
    upload = await Upload.begin(edge, FIRST, f"Upload-Length: {SIZE}")
    more = REST + b"\0"
    answer = await upload.send(HALF, *BEYOND[name], body=chunked([more]) if CHUNKED in BEYOND[name] else more)
    assert answer.status == 413
    await upload.assert_over()


@pytest.mark.parametrize("fields", [[LAST], [MORE]])
async def test_a_creation_beyond_its_length_is_refused(edge: Edge, fields: list[str]) -> None:
    """4.4.2. No Content-Length says so before."""
    answer = await ask(edge, request(*fields, CHUNKED, f"Upload-Length: {SIZE - 1}", body=chunked([WAV])))
    assert answer.status in (400, 413)
    assert files(edge.folder) == []
    assert {record["status"] for record in await edge.stored()} <= {"rejected"}


async def test_an_end_before_the_length_is_none(edge: Edge) -> None:
    """4.1.3. The length is what the client intends to upload; no Content-Length contradicts it before."""
    upload = await Upload.begin(edge, FIRST, f"Upload-Length: {SIZE}")
    answer = await upload.send(HALF, LAST, CHUNKED, body=chunked([REST[:-1]]))
    assert (answer.status, answer.json()["type"]) == (400, INCONSISTENT)
    assert (await upload.record())["status"] != "stored"


# Cancellation


async def test_a_cancelled_upload_is_gone(edge: Edge) -> None:
    """4.5.2."""
    upload = await Upload.begin(edge, FIRST)
    assert await upload.delete() // 100 == 2
    assert (await upload.look()).status in (404, 410)
    assert (await upload.send(HALF, LAST, body=REST)).status in (404, 410)
    assert await upload.delete() in (404, 410)
    assert files(edge.folder) == []


async def test_a_cancellation_ends_requests_in_flight(edge: Edge) -> None:
    """4.5.2."""
    upload = await Upload.begin(edge, FIRST)
    async with upload.sending(HALF, REST[:100], LAST) as wire:
        assert await upload.delete() // 100 == 2
        assert b"HTTP/1.1 2" not in await wire.rest()
    assert (await upload.look()).status in (404, 410)
    assert files(edge.folder) == []


# Interruption


@pytest.mark.parametrize("half", [True, False], ids=["half-closed", "closed"])
@pytest.mark.parametrize("framing", ["sized", "chunked"])
@pytest.mark.parametrize("complete", [LAST, MORE])
async def test_a_broken_creation_keeps_what_came(edge: Edge, complete: str, framing: str, half: bool) -> None:
    """4.2.2. It is never complete then. With a Content-Length and the end, its length is known (4.1.3)."""
    async with Wire.connect(edge.client) as wire:
        wire.send(unfinished(framing, FIRST, SIZE, complete, NEWEST))
        upload = Upload(edge, path_of(await wire.answer()))
        await received(edge, HALF)
        if half:
            wire.half_close()
            assert b"HTTP/1.1 2" not in await wire.rest()
    length = str(SIZE) if (complete, framing) == (LAST, "sized") else None
    assert (await upload.look()).headers.get("upload-length") == length
    await upload.assert_goes_on(HALF)


@pytest.mark.parametrize("half", [True, False], ids=["half-closed", "closed"])
@pytest.mark.parametrize("framing", ["sized", "chunked"])
@pytest.mark.parametrize("complete", [LAST, MORE])
async def test_a_broken_append_keeps_what_came(edge: Edge, complete: str, framing: str, half: bool) -> None:
    """4.4.2."""
    upload = await Upload.begin(edge, FIRST)
    async with Wire.connect(edge.client) as wire:
        wire.send(unfinished(framing, REST[:-9], len(REST), AT_HALF, TYPE, complete, line=upload.line))
        await received(edge, SIZE - 9)
        if half:
            wire.half_close()
            assert b"HTTP/1.1 2" not in await wire.rest()
    length = str(SIZE) if (complete, framing) == (LAST, "sized") else None
    assert (await upload.look()).headers.get("upload-length") == length
    await upload.assert_goes_on(SIZE - 9)


@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_what_came_together_with_the_end_of_the_connection_is_kept(edge: Edge, framing: str) -> None:
    """4.4.2. As much as possible, although nobody had begun to read it."""
    upload = await Upload.begin(edge, FIRST)
    async with Wire.connect(edge.client) as wire:
        wire.send(unfinished(framing, REST[:-9], len(REST), AT_HALF, TYPE, LAST, line=upload.line))
        wire.half_close()
        assert b"HTTP/1.1 2" not in await wire.rest()
    await upload.assert_goes_on(SIZE - 9)


async def test_all_bytes_without_the_last_chunk_are_no_end(edge: Edge) -> None:
    """4.4.2. The request was not fully processed, even if its length is reached."""
    upload = await Upload.begin(edge, FIRST, f"Upload-Length: {SIZE}")
    async with upload.sending(HALF, REST, LAST) as wire:
        wire.half_close()
        assert b"HTTP/1.1 2" not in await wire.rest()
    looked = await upload.look()
    assert looked.headers["upload-complete"] == "?0"
    await upload.assert_goes_on(int(looked.headers["upload-offset"]))


# Concurrency


async def test_a_look_ends_the_older_append(edge: Edge) -> None:
    """4.6. The offset told is accepted next, and late bytes of the older request change nothing."""
    upload = await Upload.begin(edge, FIRST)
    async with upload.sending(HALF, REST[:100], LAST) as wire:
        await upload.assert_at(HALF + 100)
        wire.send(opened(REST[100:]) + b"0\r\n\r\n")
        assert b"HTTP/1.1 2" not in await wire.rest()
        await upload.assert_goes_on(HALF + 100)


async def test_a_look_ends_the_creation(edge: Edge) -> None:
    """4.6."""
    async with Wire.connect(edge.client) as wire:
        wire.send(unfinished("sized", FIRST, SIZE, LAST, NEWEST))
        upload = Upload(edge, path_of(await wire.answer()))
        await received(edge, HALF)
        await upload.assert_at(HALF)
        wire.send(REST)
        assert b"HTTP/1.1 2" not in await wire.rest()
    await upload.assert_goes_on(HALF)


async def test_an_append_ends_the_older_one(edge: Edge) -> None:
    """4.6."""
    upload = await Upload.begin(edge, FIRST)
    async with upload.sending(HALF, REST[:100], LAST) as wire:
        answer = await upload.send(HALF + 100, LAST, body=REST[100:])
        assert (answer.status, answer.json()["sha256"]) == (201, hashlib.sha256(WAV).hexdigest())
        assert b"HTTP/1.1 2" not in await wire.rest()


async def test_a_mismatching_append_tells_an_offset_that_is_accepted(edge: Edge) -> None:
    """4.6. Also where the older request had to be ended for it."""
    upload = await Upload.begin(edge, FIRST)
    async with upload.sending(HALF, REST[:100], LAST):
        answer = await upload.send(HALF, LAST, body=REST)
        assert answer.status == 409
        await upload.assert_goes_on(int(answer.headers["upload-offset"]))


async def test_of_equal_appends_at_once_no_byte_counts_twice(edge: Edge) -> None:
    """4.6."""
    upload = await Upload.begin(edge, FIRST)
    together = await asyncio.gather(
        *(upload.send(HALF, MORE, body=REST[:1000]) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(answer, Answer) and answer.status // 100 == 2 for answer in together) <= 1
    await upload.assert_goes_on(int((await upload.look()).headers["upload-offset"]))


# Integrity


@pytest.mark.parametrize("complete", [LAST, MORE])
async def test_broken_content_does_not_count(edge: Edge, complete: str) -> None:
    """10.2. It can be sent again."""
    upload = await Upload.begin(edge, FIRST)
    answer = await upload.send(HALF, complete, digest("Content-Digest", REST), body=REST[::-1])
    assert (answer.status, answer.problem) == (400, "digest-mismatch")
    assert answer.headers.get("upload-complete", "?0") == "?0"
    await upload.assert_goes_on(HALF)


async def test_unbroken_content_counts(edge: Edge) -> None:
    """10.2. The digest is of each message alone."""
    upload = await Upload.begin(edge, FIRST, digest("Content-Digest", FIRST))
    answer = await upload.send(HALF, LAST, digest("Content-Digest", REST), body=REST)
    assert answer.status == 201


async def test_broken_content_of_a_creation_does_not_count(edge: Edge) -> None:
    """10.2. Where the upload was announced, it is still there."""
    interim, answer = await talk(edge, sized(FIRST[::-1], MORE, NEWEST, digest("Content-Digest", FIRST)))
    assert (answer.status, answer.problem) == (400, "digest-mismatch")
    await Upload(edge, path_of(interim)).assert_goes_on(0)


async def test_broken_content_decides_nothing(edge: Edge) -> None:
    """10.2. What looks like no recording may be one whose transfer failed."""
    head = b"".join(audio.long_wav(70 * KIB))
    upload = await Upload.begin(edge)
    answer = await upload.send(0, MORE, digest("Content-Digest", head), body=head[::-1])
    assert (answer.status, answer.problem) == (400, "digest-mismatch")
    await upload.assert_goes_on(0)


async def test_content_with_a_digest_counts_whole_or_not_at_all(edge: Edge) -> None:
    """10.2. What a broken message held cannot be verified."""
    upload = await Upload.begin(edge, FIRST)
    async with upload.sending(HALF, REST[:100], MORE, digest("Content-Digest", REST)) as wire:
        wire.half_close()
        await wire.rest()
    await upload.assert_goes_on(HALF)


async def test_digests_of_unknown_algorithms_are_ignored(edge: Edge) -> None:
    """RFC 9530, section 2."""
    upload = await Upload.begin(edge, FIRST, "Repr-Digest: crc32c=:AAAAAA==:")
    answer = await upload.send(HALF, LAST, "Content-Digest: crc32c=:AAAAAA==:", body=REST)
    assert answer.status == 201


async def test_a_broken_recording_is_refused_at_its_end(edge: Edge) -> None:
    """10.1. The representation was processed, so `Upload-Complete` is true (4.4.2)."""
    upload = await Upload.begin(edge, FIRST, digest("Repr-Digest", WAV[::-1]))
    await upload.assert_at(HALF)
    answer = await upload.send(HALF, LAST, body=REST)
    assert (answer.status, answer.problem, answer.headers["upload-complete"]) == (400, "digest-mismatch", "?1")
    await upload.assert_over()


async def test_an_unbroken_recording_is_stored(edge: Edge) -> None:
    """10.1."""
    upload = await Upload.begin(edge, FIRST, digest("Repr-Digest", WAV))
    answer = await upload.send(HALF, LAST, body=REST)
    assert (answer.status, answer.headers["repr-digest"]) == (201, digest("Repr-Digest", WAV).partition(" ")[2])


# The targeted resource


async def test_what_is_no_audio_is_refused_as_soon_as_that_is_known(edge: Edge) -> None:
    """4.1.2: an early response of the targeted resource. 13: content split over messages is scanned all the same."""
    text, step = b"Not a recording. " * 8 * KIB, 4 * KIB
    upload = await Upload.begin(edge)
    for offset in range(0, 60 * KIB, step):
        assert (await upload.send(offset, MORE, body=text[offset : offset + step])).status // 100 == 2
    answer = await upload.send(60 * KIB, MORE, body=text[60 * KIB : 64 * KIB])
    assert (answer.status, answer.problem, answer.headers["upload-complete"]) == (415, "not-audio", "?1")
    await upload.assert_over()


@pytest.mark.parametrize("edges", [[0, 30_000], [0, 3000, 30_000], [0, 1, 2, 3, 4, 30_000]])
async def test_what_is_no_audio_is_refused_at_its_end(edge: Edge, edges: list[int]) -> None:
    """4.4.2."""
    text = b"Not a recording. " * 2000
    upload = await Upload.begin(edge)
    for start, stop in pairwise(edges):
        answer = await upload.send(start, LAST if stop == edges[-1] else MORE, body=text[start:stop])
    assert (answer.status, answer.problem, answer.headers["upload-complete"]) == (415, "not-audio", "?1")
    await upload.assert_over()


async def test_what_a_complete_creation_holds_is_checked(edge: Edge) -> None:
    """4.2.2."""
    answer = await ask(edge, sized(b"Not a recording. " * 2000, LAST))
    assert (answer.status, answer.problem, answer.headers["upload-complete"]) == (415, "not-audio", "?1")
    assert files(edge.folder) == []


# Expectations


async def test_an_append_is_welcomed(edge: Edge) -> None:
    upload = await Upload.begin(edge, FIRST)
    async with Wire.connect(edge.client) as wire:
        wire.send(request(*PIECE, LAST, EXPECT, line=upload.line))
        assert (await wire.answer()).status == 100
        wire.send(REST)
        assert (await wire.answer()).status == 201


UNWELCOME = ["too far on", "no offset", "another type", "another length by its end", "two lengths at once"]


@pytest.mark.parametrize("name", UNWELCOME)
async def test_what_the_header_decides_is_answered_without_a_100(edge: Edge, name: str) -> None:
    """RFC 9110, section 10.1.1."""
    rule = APPENDS[name]
    upload = await Upload.begin(edge, FIRST, *([f"Upload-Length: {rule.length}"] if rule.length else []))
    (answer,) = await talk(edge, request(*rule.request, EXPECT, line=upload.line))
    assert answer.status == rule.status
    await upload.assert_goes_on(HALF)


# Older drafts


@pytest.mark.parametrize("said", ["?0", "?1"])
async def test_the_first_version_said_it_the_other_way_round(edge: Edge, said: str) -> None:
    """Draft 01, section 4: `Upload-Incomplete`, in requests and in responses."""
    fields = (f"Upload-Incomplete: {said}", "Upload-Draft-Interop-Version: 3")
    interim, final = await talk(edge, sized(WAV, *fields))
    assert (interim.status, interim.headers["upload-draft-interop-version"]) == (104, "3")
    assert (final.status, final.headers["upload-incomplete"]) == (201, said)
    assert "upload-complete" not in final.headers
    assert (await Upload(edge, path_of(interim)).record())["status"] == ("stored" if said == "?0" else "receiving")


@pytest.mark.parametrize("version", [6, 7, 8, 9])
async def test_clients_of_older_drafts_resume(edge: Edge, version: int) -> None:
    """Interop. The way of Apple's URLSession, which sends 6 and 8: everything at once, and the rest after a break.
    Drafts 04 and 05 want the offset in every answer of an active upload (their section 6)."""
    said = f"Upload-Draft-Interop-Version: {version}"
    async with Wire.connect(edge.client) as wire:
        wire.send(unfinished("sized", FIRST, SIZE, LAST, said))
        interim = await wire.answer()
        await received(edge, HALF)
    assert (interim.status, interim.headers["upload-draft-interop-version"]) == (104, str(version))
    upload = Upload(edge, path_of(interim))
    await upload.assert_at(HALF)
    appended = await upload.send(HALF, MORE, said, body=REST[:100])
    assert (appended.status // 100, appended.headers["upload-complete"]) == (2, "?0")
    assert appended.headers["upload-offset"] == str(HALF + 100)
    answer = await upload.send(HALF + 100, LAST, said, body=REST[100:])
    assert (answer.status, answer.headers["upload-complete"]) == (201, "?1")


# Other servers

LARGE = b"".join(audio.long_wav(32 * KIB))
SMALL: dict[str, object] = {"max_size": "16 KiB"}


@asynccontextmanager
async def another(folder: Path, **groups: dict[str, object]) -> AsyncIterator[Edge]:
    """A server with settings of its own."""
    async with serving(configure(folder, server={"linger": "100 ms"}, **groups)) as client:
        yield Edge(client, folder)


@pytest.mark.parametrize("where", ["content", "length", "stream"])
@pytest.mark.parametrize("begun", [False, True], ids=["creation", "append"])
async def test_too_much_is_too_much_wherever_it_shows(tmp_path: Path, begun: bool, where: str) -> None:
    """4.1.4. In the Content-Length, in the Upload-Length, or only in the stream."""
    async with another(tmp_path / "data", limits=SMALL) as edge:
        upload = await Upload.begin(edge, LARGE[:1000]) if begun else None
        line = upload.line if upload else f"POST {COLLECTION} HTTP/1.1"
        head = ["Upload-Offset: 1000", TYPE] if upload else []
        rest = LARGE[1000:] if upload else LARGE
        fields, body = {
            "content": ((LAST, f"Content-Length: {len(rest)}", EXPECT), b""),
            "length": ((MORE, f"Upload-Length: {len(LARGE)}", "Content-Length: 10", EXPECT), b""),
            "stream": ((LAST, CHUNKED), chunked([rest])),
        }[where]
        (answer,) = await talk(edge, request(*head, *fields, line=line, body=body))
        assert (answer.status, answer.problem) == (413, "too-large")
        assert limits(answer.headers)["max-size"] == 16 * KIB
        if upload and where == "stream":
            await upload.assert_over()


async def test_exactly_the_limit_fits(tmp_path: Path) -> None:
    """4.1.4."""
    whole = b"".join(audio.long_wav(16 * KIB))
    async with another(tmp_path / "data", limits=SMALL) as edge:
        upload = await Upload.begin(edge, whole[:1000])
        assert (await upload.send(1000, LAST, CHUNKED, body=chunked([whole[1000:]]))).status == 201


async def test_a_stalled_append_keeps_what_came(tmp_path: Path) -> None:
    """4.4.2. The connection is there, but nothing comes any more."""
    async with another(tmp_path / "data", limits={"idle_timeout": "200 ms"}) as edge:
        upload = await Upload.begin(edge, FIRST)
        async with upload.sending(HALF, REST[:100], LAST) as wire:
            answer = await wire.answer()
        assert (answer.status, answer.headers["upload-complete"]) == (408, "?0")
        await upload.assert_goes_on(HALF + 100)


async def test_an_abandoned_upload_expires(tmp_path: Path) -> None:
    """4.1.4. After `max-age` it need not be there any more."""
    soon: dict[str, object] = {"lifetime": "200 ms", "sweep_interval": "50 ms"}
    async with another(tmp_path / "data", resumable=soon) as edge:
        upload = await Upload.begin(edge, FIRST)
        async with asyncio.timeout(DEADLINE):
            while (await upload.record())["status"] == "receiving":
                pass
        assert (await upload.record())["status"] == "expired"
        assert (await upload.look()).status == 410
        assert (await upload.send(HALF, LAST, body=REST)).status == 410
