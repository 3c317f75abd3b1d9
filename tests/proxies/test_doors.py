"""Everything the server does, behind proxies: what they buffer, hold back or rewrite would show here."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping

import pytest
from aiohttp import StreamReader

from tests import audio
from tests.protocols.test_resumable import Upload, path_of, received, talk
from tests.proxies.fronts import RECOMMENDED
from tests.wire import COLLECTION, DEADLINE, FORM, WAV, Edge, Wire, chunked, file, form, request, sized

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECORDING = b"".join(audio.long_wav(400_000))
HALF = len(RECORDING) // 2
MIB = 1024 * 1024

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
DRAFT = "Upload-Draft-Interop-Version: 8"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test with each proxy."""
    if "reached" in metafunc.fixturenames:
        metafunc.parametrize("reached", RECOMMENDED, ids=str, indirect=True)


def lines(fields: Mapping[str, str]) -> list[str]:
    """As they are sent."""
    return [f"{name}: {value}" for name, value in fields.items()]


async def assert_stored(edge: Edge, content: bytes) -> None:
    """This, and nothing else."""
    (record,) = await edge.stored()
    assert (record["status"], record["sha256"]) == ("stored", hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("body", [sized(RECORDING), form(file(RECORDING))], ids=["raw", "form"])
async def test_an_upload_in_one_request(edge: Edge, body: bytes) -> None:
    answer = await edge.exchange(body)
    assert answer.status == 201
    await assert_stored(edge, RECORDING)


async def test_an_upload_of_unknown_length(edge: Edge) -> None:
    pieces = [RECORDING[at : at + 7_777] for at in range(0, len(RECORDING), 7_777)]
    assert (await edge.exchange(request("Transfer-Encoding: chunked", body=chunked(pieces)))).status == 201
    await assert_stored(edge, RECORDING)


async def test_tus_goes_on_where_its_client_was_lost(edge: Edge) -> None:
    """The server has got what the proxy got: it is not held back until the body is complete."""
    async with edge.client.post(COLLECTION, headers={**TUS, "Upload-Length": str(len(RECORDING))}) as answer:
        path = edge.client.make_url(answer.headers["Location"]).path
    head = lines({**BYTES, "Upload-Offset": "0", "Content-Length": str(len(RECORDING))})
    async with Wire.connect(edge.client) as wire:
        wire.send(request(*head, line=f"PATCH {path} HTTP/1.1", body=RECORDING[:HALF]))
        await received(edge, HALF)
    async with edge.client.head(path, headers=TUS) as answer:
        assert answer.headers["Upload-Offset"] == str(HALF)
    async with edge.client.patch(path, headers={**BYTES, "Upload-Offset": str(HALF)}, data=RECORDING[HALF:]) as answer:
        assert answer.status == 204
    await assert_stored(edge, RECORDING)


async def test_interim_responses_tell_where_to_go_on(edge: Edge) -> None:
    """104, before the body is there; and the final answer behind it."""
    body = RECORDING[:HALF]
    head = request(f"Content-Length: {len(RECORDING)}", "Upload-Complete: ?1", DRAFT)
    async with Wire.connect(edge.client) as wire:
        wire.send(head)
        early = await wire.answer()
        assert early.status == 104
        wire.send(body)
        await received(edge, HALF)
    await Upload(edge, path_of(early)).assert_at(HALF)
    interim, final = await talk(edge, sized(RECORDING, "Upload-Complete: ?1", DRAFT))
    assert (interim.status, final.status) == (104, 201)
    assert path_of(interim) == path_of(final)


async def test_the_ietfs_uploads_go_on(edge: Edge) -> None:
    upload = await Upload.begin(edge, WAV[:5_000])
    await upload.assert_goes_on(5_000)


REFUSED_EARLY = {
    "a type of no audio": (("Content-Type: text/html", f"Content-Length: {4 * MIB}"), 415),
    "too large": ((f"Content-Length: {10 * MIB}",), 413),
    "no form": (("Content-Type: multipart/form-data", f"Content-Length: {4 * MIB}"), 400),
    "no audio": ((f"Content-Length: {4 * MIB}",), 415),
    "no form of audio": ((FORM, f"Content-Length: {4 * MIB}"), 400),
    "a key that opens nothing": (("Authorization: Bearer maie_nobodys", f"Content-Length: {4 * MIB}"), 401),
}


@pytest.mark.parametrize("silent", [True, False], ids=["waits", "sends"])
@pytest.mark.parametrize(("fields", "status"), REFUSED_EARLY.values(), ids=REFUSED_EARLY)
async def test_a_refusal_comes_while_the_client_still_sends(
    edge: Edge, fields: tuple[str, ...], status: int, silent: bool
) -> None:
    """Or has begun to send, and now waits."""
    async with Wire.connect(edge.client) as wire:
        wire.send(request(*fields, body=bytes(128 * 1024)))
        async with asyncio.timeout(DEADLINE):
            while not wire.has_answer:
                if not silent:
                    wire.send(bytes(1024))
                await asyncio.sleep(0.005)
        assert (await wire.answer()).status == status
    await edge.assert_untouched()


async def test_ranges(edge: Edge) -> None:
    content = (await edge.exchange(sized(RECORDING))).json()["links"]["content"]
    async with edge.client.get(content, headers={"Range": "bytes=1000-1999"}) as answer:
        assert (answer.status, answer.headers["Content-Range"]) == (206, f"bytes 1000-1999/{len(RECORDING)}")
        assert await answer.read() == RECORDING[1000:2000]
    async with edge.client.get(content, headers={"Accept-Encoding": "gzip"}) as answer:
        assert "Content-Encoding" not in answer.headers
        assert await answer.read() == RECORDING
        etag = answer.headers["ETag"]
    async with edge.client.get(content, headers={"If-None-Match": etag}) as answer:
        assert answer.status == 304
    async with edge.client.get(content, headers={"Range": "bytes=9000000-"}) as answer:
        assert answer.status == 416
    async with edge.client.head(content) as answer:
        assert answer.headers["Content-Length"] == str(len(RECORDING))


async def test_events_are_not_held_back(edge: Edge) -> None:
    async with edge.client.get("/v1/events") as events:
        async with Wire.connect(edge.client) as wire:
            wire.send(sized(RECORDING)[:-HALF])
            await _told(events.content, b"event: received")
            wire.send(RECORDING[-HALF:])
            assert (await wire.answer()).status == 201
        await _told(events.content, b"event: stored")


async def _told(stream: StreamReader, line: bytes) -> None:
    """Wait for this line of an event stream."""
    async with asyncio.timeout(DEADLINE):
        while line not in await stream.readline():
            pass


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/evil"},
        {"Forwarded": "for=127.0.0.1;proto=https;host=evil.example"},
        {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Via": "1.1 evil.example"},
        {"Connection": "close, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto", "Forwarded": 'host="'},
        {"x_forwarded_host": "evil.example", "X-Forwarded_Proto": "https"},
    ],
)
async def test_where_clients_are_is_the_proxys_word(edge: Edge, fields: dict[str, str]) -> None:
    answer = await edge.exchange(sized(WAV, *lines(fields)))
    assert answer.status == 201
    assert answer.headers["location"].startswith(f"http://localhost{COLLECTION}/")


async def test_a_client_that_is_lost_is_lost_for_the_server(edge: Edge) -> None:
    async with Wire.connect(edge.client) as wire:
        wire.send(sized(RECORDING)[:-1])
        await received(edge, len(RECORDING) - 1)
    await edge.assert_nothing_stays()
