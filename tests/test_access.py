"""Who may come in, when that is asked, and what is theirs; see `test_access_matrix` for each route."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from aiohttp import ClientSession, web
from structlog.testing import capture_logs

from maie_aiohttp.access import admission as access
from maie_aiohttp.addresses import is_loopback
from maie_aiohttp.model import Upload
from maie_aiohttp.settings import ConfigurationError
from maie_aiohttp.web.appkeys import ACCESS, CATALOG, INTAKE
from tests import audio
from tests.conftest import Client, HardenedServer, configure, files, serving
from tests.crew import until
from tests.keys import EVERYTHING, bearer, key, revoke
from tests.layers import query
from tests.wire import COLLECTION, WAV, Edge, Wire, request

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}
LONG = b"".join(audio.long_wav(400_000))
HALF = len(LONG) // 2


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[Client]:
    """A client of a server that lets refused clients go at once."""
    async with serving(configure(folder, server={"linger": "100 ms"})) as client:
        yield client


@pytest.fixture
async def ada(client: Client) -> Mapping[str, str]:
    """May send, read and delete."""
    return bearer(await key(client, "ada", EVERYTHING))


@pytest.fixture
async def bob(client: Client) -> Mapping[str, str]:
    """So may he."""
    return bearer(await key(client, "bob", EVERYTHING))


@pytest.fixture
async def admin(client: Client) -> Mapping[str, str]:
    """May do everything."""
    return bearer(await key(client, "root", "admin"))


async def post(client: Client, who: Mapping[str, str], body: bytes = WAV, **fields: str) -> str:
    """Store or begin an upload. Returns its path."""
    async with client.post(COLLECTION, data=body, headers={**who, **fields}) as answer:
        assert answer.status == 201, await answer.text()
        return answer.headers["Location"]


async def begun(client: Client, who: Mapping[str, str], length: int = len(LONG), concat: str | None = None) -> str:
    """The path of a tus upload without bytes."""
    fields = {"Upload-Concat": concat} if concat else {}
    return await post(client, who, b"", **TUS, **{"Upload-Length": str(length)}, **fields)


async def listed(client: Client, who: Mapping[str, str], query: str = "") -> list[str]:
    """The paths of the uploads that there are for somebody."""
    async with client.get(COLLECTION + query, headers=who) as answer:
        assert answer.status == 200
        return [upload["links"]["self"] for upload in (await answer.json())["uploads"]]


async def status(client: Client, path: str, who: Mapping[str, str] | None = None, method: str = "GET") -> int:
    """Of the answer."""
    async with client.request(method, path, headers=who) as answer:
        answer.close()
        return answer.status


# With keys


async def test_everybody_lists_their_own(
    client: Client, ada: Mapping[str, str], bob: Mapping[str, str], admin: Mapping[str, str]
) -> None:
    hers = [await post(client, ada) for _ in range(3)]
    his = await post(client, bob)
    assert await listed(client, ada) == hers[::-1]
    assert await listed(client, bob, "?status=stored") == [his]
    assert await listed(client, admin) == [his, *hers[::-1]]
    async with client.get(f"{COLLECTION}?limit=2", headers=ada) as answer:
        page = await answer.json()
    assert await listed(client, ada, f"?cursor={page['next_cursor']}") == hers[:1]
    assert await listed(client, bob, f"?cursor={page['next_cursor']}") == []


async def test_keys_of_one_owner_take_turns(client: Client) -> None:
    old = bearer(await key(client, "phone-1", EVERYTHING, owner="phone"))
    path = await begun(client, old, len(WAV))
    new = bearer(await key(client, "phone-2", EVERYTHING, owner="phone"))
    await revoke(client, "phone-1")
    assert await status(client, path, old) == 401
    async with client.patch(path, data=WAV, headers={**new, **BYTES, "Upload-Offset": "0"}) as answer:
        assert answer.status == 204
    async with client.get(path, headers=new) as answer:
        assert (await answer.json())["owner"] == "phone"
    assert await listed(client, new) == [path]


async def test_idempotency_keys_are_an_owners(client: Client, ada: Mapping[str, str], bob: Mapping[str, str]) -> None:
    same = {"Idempotency-Key": "one"}
    hers, his = await post(client, ada, WAV, **same), await post(client, bob, WAV, **same)
    assert hers != his
    assert await post(client, bearer(await key(client, "ada-2", "upload", owner="ada")), WAV, **same) == hers
    assert await listed(client, ada) == [hers]


async def test_parts_of_others_cannot_be_concatenated(
    client: Client, ada: Mapping[str, str], bob: Mapping[str, str]
) -> None:
    part = await begun(client, ada, len(WAV), "partial")
    async with client.patch(part, data=WAV, headers={**ada, **BYTES, "Upload-Offset": "0"}) as answer:
        assert answer.status == 204
    final = {**TUS, "Upload-Concat": f"final;{part}"}
    refusals = []
    for wanted in (part, f"{COLLECTION}/abcdef00-0000-4000-8000-000000000001"):
        headers = {**bob, **final, "Upload-Concat": f"final;{wanted}"}
        async with client.post(COLLECTION, headers=headers) as answer:
            refusals.append((answer.status, await answer.read()))
    assert refusals[0] == refusals[1]
    assert refusals[0][0] == 400
    assert await listed(client, bob) == []
    whole = await post(client, ada, b"", **final)
    async with client.get(f"{whole}/content", headers=ada) as answer:
        assert await answer.read() == WAV


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
async def test_others_do_not_interrupt_an_upload(
    client: Client, ada: Mapping[str, str], bob: Mapping[str, str], method: str
) -> None:
    path = await begun(client, ada)
    head = [*(f"{name}: {value}" for name, value in {**ada, **BYTES}.items()), f"Content-Length: {len(LONG)}"]
    async with Wire.connect(client) as wire:
        wire.send(request(*head, "Upload-Offset: 0", body=LONG[:HALF], line=f"PATCH {path} HTTP/1.1"))
        assert client.app is not None
        receiving = client.app[INTAKE].receiving
        await until(lambda: bool(receiving))
        assert await status(client, path, {**bob, **BYTES, "Upload-Offset": "0"}, method) == 404
        wire.send(LONG[HALF:])
        assert (await wire.answer()).status == 204


async def test_owner_is_remembered_for_the_newest_uploads_only(
    client: Client, ada: Mapping[str, str], bob: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maie_aiohttp.access.owners.REMEMBERED", 1)
    paths = [await begun(client, ada), await begun(client, bob)]
    for path in (*paths, *paths):
        assert await status(client, path, {**ada, **TUS}, "HEAD") == (200 if path == paths[0] else 404)


async def test_a_piece_asks_the_catalog_no_more_than_it_would_without_keys(
    client: Client, ada: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await begun(client, ada)
    assert client.app is not None
    catalog = client.app[CATALOG]
    asked: list[UUID] = []
    get = catalog.get

    async def counted(id: UUID) -> Upload:
        asked.append(id)
        return await get(id)

    monkeypatch.setattr(catalog, "get", counted)
    async with client.patch(path, data=LONG[:HALF], headers={**ada, **BYTES, "Upload-Offset": "0"}) as answer:
        assert answer.status == 204
    assert len(asked) == 1


async def test_what_came_without_a_key_is_for_admins(client: Client) -> None:
    path = await post(client, {})
    assert await listed(client, {}) == [path]
    ada, admin = bearer(await key(client, "ada", EVERYTHING)), bearer(await key(client, "root", "admin"))
    assert await listed(client, {**ada}) == []
    assert await status(client, path, ada) == 404
    assert await listed(client, admin) == [path]
    assert await status(client, path, admin, "DELETE") == 204


# How keys are sent


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("Authorization", "Bearer {}")], 200),
        ([("authorization", "bearer   {} ")], 200),
        ([("X-API-Key", "{}")], 200),
        ([("X-API-Key", "{}"), ("Authorization", "Bearer {}")], 200),
        ([("X-API-Key", "{}"), ("Authorization", "Basic dXNlcjpwYXNz")], 200),
        ([("X-API-Key", "{}"), ("Authorization", "Bearer other")], 401),
        ([("X-API-Key", "{}"), ("X-API-Key", "other")], 401),
        ([("X-API-Key", "{}x")], 401),
        ([("X-API-Key", "")], 401),
        ([("Authorization", "{}")], 401),
        ([("Authorization", "Bearer {} {}")], 401),
        ([("Authorization", "Basic {}")], 401),
        ([("Cookie", "key={}")], 401),
    ],
)
async def test_where_a_key_is_looked_for(
    client: Client, folder: Path, headers: list[tuple[str, str]], expected: int
) -> None:
    secret = await key(client, "ada", EVERYTHING)
    lines = (f"{name}: {value.replace('{}', secret)}" for name, value in headers)
    answer = await Edge(client, folder).exchange(request(*lines, line=f"GET {COLLECTION} HTTP/1.1"))
    assert answer.status == expected


async def test_no_key_is_taken_from_an_address(client: Client) -> None:
    secret = await key(client, "ada", EVERYTHING)
    for name in ("key", "api_key", "access_token"):
        assert await status(client, f"{COLLECTION}?{name}={secret}") == 401


async def test_bytes_that_are_no_text_are_no_key(client: Client, ada: Mapping[str, str]) -> None:
    async with Wire.connect(client) as wire:
        wire.send(request("X-API-Key: \xff\xfe", line=f"GET {COLLECTION} HTTP/1.1"))
        assert (await wire.answer()).status == 401


# When it is asked


@pytest.mark.parametrize("line", [f"POST {COLLECTION}", f"PATCH {COLLECTION}/x", f"GET {COLLECTION}", "GET /v1/events"])
async def test_a_body_is_not_asked_for(client: Client, ada: Mapping[str, str], line: str) -> None:
    async with Wire.connect(client) as wire:
        wire.send(request("Expect: 100-continue", "Content-Length: 500000000", line=f"{line} HTTP/1.1"))
        answer = await wire.answer()
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.headers["connection"] == "close"
        assert await wire.rest() == b""


async def test_a_page_asks_for_no_body(client: Client, ada: Mapping[str, str]) -> None:
    fields = [f"{name}: {value}" for name, value in ada.items()]
    async with Wire.connect(client) as wire:
        wire.send(request("Expect: 100-continue", "Content-Length: 9", *fields, line=f"GET {COLLECTION} HTTP/1.1"))
        assert (await wire.answer()).status == 200


async def test_a_body_that_comes_all_the_same_goes_nowhere(
    client: Client, ada: Mapping[str, str], folder: Path
) -> None:
    async with Wire.connect(client) as wire:
        wire.send(request("Content-Length: 500000000", body=LONG))
        assert (await wire.answer()).problem == "unauthenticated"
        assert await wire.rest() == b""
    assert files(folder) == []


async def test_a_body_that_comes_all_the_same_is_not_taken_to_its_end(folder: Path) -> None:
    """500 MB, as fast as they go: after `linger` the rest of them meets a closed connection."""
    settings = configure(folder, access={"without_keys": "nobody"}, server={"linger": "10 ms"})
    async with serving(settings) as client:
        _, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(request("Content-Length: 500000000"))
        sent = 0
        with suppress(ConnectionError):
            while sent < 500_000_000:
                writer.write(bytes(100_000))
                await writer.drain()
                sent += 100_000
        writer.close()
    assert sent < 500_000_000
    assert files(folder) == []


# Keys that come and go


async def stream(client: Client, who: Mapping[str, str]) -> Any:
    """An open stream of events."""
    answer = await client.get("/v1/events", headers=who)
    assert answer.status == 200
    return answer


async def test_streams_end_with_their_key(client: Client, ada: Mapping[str, str], bob: Mapping[str, str]) -> None:
    hers, his = await stream(client, ada), await stream(client, bob)
    await revoke(client, "ada")
    async with asyncio.timeout(20):
        await hers.read()
    await post(client, bob)
    async with asyncio.timeout(20):
        while b"stored" not in await his.content.readline():
            pass
    his.close()


async def test_streams_without_a_key_end_with_the_first_one(client: Client) -> None:
    answer = await stream(client, {})
    await key(client, "ada", EVERYTHING)
    async with asyncio.timeout(20):
        await answer.read()


async def test_revoking_the_last_key_opens_nothing(client: Client) -> None:
    await key(client, "ada", EVERYTHING)
    await revoke(client, "ada")
    assert await status(client, COLLECTION) == 401
    assert await status(client, "/health") == 200


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        ("ALTER TABLE api_keys RENAME TO hidden", "ALTER TABLE hidden RENAME TO api_keys"),
        (
            "INSERT INTO api_keys VALUES ('eve', 'x', 'eve', '[\"unheard-of\"]', 1, NULL, NULL, NULL)",
            "DELETE FROM api_keys WHERE name = 'eve'",
        ),
    ],
)
async def test_keys_that_cannot_be_read_go_on_to_count(
    client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch, spoil: str, mend: str
) -> None:
    ada = bearer(secret := await key(client, "ada", EVERYTHING))
    monkeypatch.setattr(access, "REFRESH", 0.01)
    with capture_logs() as lines:
        query(folder / "catalog.sqlite", spoil)
        await until(lambda: "keys not read" in [line["event"] for line in lines])
        assert await status(client, COLLECTION, ada) == 200
        assert await status(client, COLLECTION) == 401
        query(folder / "catalog.sqlite", mend)
        query(folder / "catalog.sqlite", "UPDATE api_keys SET revoked_at = 1")
        await until(lambda: client.app is not None and client.app[ACCESS].with_key(secret) is None)
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["keys not read"]


# What others hear


async def test_events_are_of_what_is_within_reach(
    client: Client, ada: Mapping[str, str], bob: Mapping[str, str], admin: Mapping[str, str]
) -> None:
    before = await post(client, bob)
    hers, all_of_them = await stream(client, ada), await stream(client, admin)
    his = await post(client, bob, LONG)
    last = await post(client, ada, LONG)
    heard = await told(hers, last)
    assert his.encode() not in heard
    assert before.encode() not in heard
    everything = await told(all_of_them, last)
    assert his.encode() in everything
    assert before.encode() in everything


async def told(answer: Any, path: str) -> bytes:
    """What a stream tells until it says that an upload is stored."""
    heard = b""
    async with asyncio.timeout(20):
        while not re.search(rb"event: stored\ndata: [^\n]*" + path.encode(), heard):
            heard += await answer.content.readany()
    answer.close()
    return heard


async def test_what_comes_back_to_a_stream_is_told_nothing_of_others(
    client: Client, ada: Mapping[str, str], bob: Mapping[str, str]
) -> None:
    answer = await stream(client, ada)
    mine = await post(client, ada)
    seen = re.search(rb"id: (\S+)\nevent: stored", await told(answer, mine))
    assert seen is not None
    his = await post(client, bob)
    again = await client.get("/v1/events", headers={**ada, "Last-Event-ID": seen[1].decode()})
    mine = await post(client, ada)
    assert his.encode() not in await told(again, mine)


async def test_counts_are_of_what_is_within_reach(
    client: Client, ada: Mapping[str, str], bob: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maie_aiohttp.progress.hub.SAMPLE", 0.01)
    his = await begun(client, bob)
    lines = [f"{name}: {value}" for name, value in {**bob, **BYTES, "Upload-Offset": "0"}.items()]
    head = request(*lines, f"Content-Length: {len(LONG)}", body=LONG[:HALF], line=f"PATCH {his} HTTP/1.1")
    async with Wire.connect(client) as wire:
        hers = await stream(client, ada)
        wire.send(head)
        async with client.get(f"{his}/events", headers=bob) as answer:
            async with asyncio.timeout(20):
                while b"event: received" not in await answer.content.readline():
                    pass
        heard = await told(hers, await post(client, ada, LONG))
    assert his.rpartition("/")[2].encode() not in heard


# What is written down


async def test_log_names_the_key_and_never_shows_it(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = await key(client, "ada", "upload,read,delete")
    other = await key(client, "bob", "read")
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        path = await post(client, bearer(secret))
        assert await status(client, f"{path}/content", bearer(secret)) == 200
        assert await status(client, path, {"X-API-Key": secret}, "DELETE") == 204
        assert await status(client, f"{path}?key={secret}", {"X-API-Key": "maie_wrong"}) == 401
        assert await status(client, COLLECTION, bearer(other), "POST") == 403
        assert await status(client, path, bearer(secret)) == 404
    told = [line for line in lines if "request" in line and line["event"] != "audit"]
    said = [(line["event"], line.get("key"), line.get("status")) for line in told]
    assert said == [
        ("upload stored", "ada", None),
        ("upload read", "ada", None),
        ("upload deleted", "ada", None),
        ("request refused", None, 401),
        ("request refused", "bob", 403),
        ("request refused", "ada", 404),
    ]
    for word in (secret, other, "maie_"):
        assert word not in str(lines) + caplog.text


async def test_catalog_holds_no_key(client: Client, folder: Path) -> None:
    secret = await key(client, "ada", EVERYTHING)
    kept = b"".join((folder / f"catalog.sqlite{suffix}").read_bytes() for suffix in ("", "-wal"))
    assert b"api_keys" in kept
    assert secret.removeprefix("maie_").encode() not in kept


async def test_answers_say_nothing_of_the_key(client: Client, ada: Mapping[str, str]) -> None:
    for path in ("/health", "/ready", "/openapi.json", COLLECTION, f"{COLLECTION}/x"):
        async with client.get(path, headers={"Authorization": "Bearer maie_secret"}) as answer:
            assert "maie_secret" not in await answer.text() + str(answer.headers)


# Without any key


@pytest.mark.parametrize(
    "headers",
    [
        {"Forwarded": "for=127.0.0.1"},
        {"forwarded": ""},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Proto": "http"},
        {"X-Real-IP": "127.0.0.1"},
        {"Via": "1.1 proxy"},
    ],
)
@pytest.mark.parametrize("trusted", [[], ["127.0.0.1"]])
async def test_what_a_proxy_passes_on_is_not_from_this_machine(
    folder: Path, headers: dict[str, str], trusted: list[str]
) -> None:
    settings = configure(folder, access={"without_keys": "anybody"}, server={"trusted_proxies": trusted})
    async with serving(settings) as client:
        assert await status(client, COLLECTION, headers) == 200
        assert client.app is not None
        client.app[ACCESS]._without_keys = "loopback"
        assert await status(client, COLLECTION, headers) == 401
        assert await status(client, COLLECTION) == 200


async def test_nobody_may_be_let_in(folder: Path) -> None:
    async with serving(configure(folder, access={"without_keys": "nobody"})) as client:
        assert await status(client, COLLECTION) == 401
        assert await status(client, COLLECTION, bearer(await key(client, "ada", EVERYTHING))) == 200


async def test_a_key_that_nobody_knows_is_refused_where_none_is_needed(client: Client) -> None:
    assert await status(client, COLLECTION) == 200
    assert await status(client, COLLECTION, bearer("maie_other")) == 401


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - a text
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("", False),
        (None, False),
    ],
)
def test_addresses_of_this_machine_only(host: str | None, expected: bool) -> None:
    assert is_loopback(host) is expected


def own_address() -> str | None:
    """An address by which others reach this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing
            return str(sock.getsockname()[0])
        except OSError:
            return None


@pytest.mark.skipif(own_address() is None, reason="this machine has no network")
async def test_who_comes_from_elsewhere_needs_a_key(folder: Path) -> None:
    address = str(own_address())
    async with serving(configure(folder, access={"without_keys": "anybody"})) as client:
        assert client.app is not None
        assert client.server.runner is not None
        site = web.TCPSite(client.server.runner, address, 0)
        await site.start()
        async with ClientSession(f"http://{address}:{client.server.runner.addresses[-1][1]}") as session:
            assert (await session.get(COLLECTION)).status == 200
            client.app[ACCESS]._without_keys = "loopback"
            assert (await session.get(COLLECTION)).status == 401


# The start


EXPOSED: list[dict[str, object]] = [
    {"host": "0.0.0.0"},  # noqa: S104 - that is what it is about
    {"host": "audio.example.org"},
    {"public_url": "https://audio.example.org"},
    {"trusted_proxies": ["127.0.0.1"]},
    {"unix_socket": "/run/maie/upload.sock"},
]


@pytest.mark.parametrize("server", EXPOSED)
async def test_a_server_for_others_does_not_start_open(folder: Path, server: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"^access\.without_keys: .* keys create"):
        await HardenedServer(configure(folder, server=server)).start_server()


@pytest.mark.parametrize("without_keys", ["anybody", "nobody"])
async def test_it_starts_once_it_is_said_in_words(folder: Path, without_keys: str) -> None:
    async with serving(configure(folder, access={"without_keys": without_keys}, server=EXPOSED[0])):
        pass


async def test_it_starts_with_a_key(folder: Path) -> None:
    async with serving(configure(folder)) as client:
        await key(client, "ada", EVERYTHING)
        await revoke(client, "ada")
    async with serving(configure(folder, server=EXPOSED[2])):
        pass


@pytest.mark.parametrize("server", [{"host": "localhost"}, {"host": "::1"}, {"public_url": "http://127.0.0.1:81/x"}])
async def test_a_server_for_this_machine_starts(folder: Path, server: dict[str, object]) -> None:
    async with serving(configure(folder, server=server)) as client:
        assert await status(client, COLLECTION) == 200
