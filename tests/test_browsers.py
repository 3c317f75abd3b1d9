"""Web pages of other sites, where no key is needed: they change nothing and read nothing. All others notice nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from maie_aiohttp.web.browsers import SAFE
from tests.conftest import Client, configure, files, serving
from tests.keys import EVERYTHING, bearer, key
from tests.test_access_matrix import PUBLIC, TABLE, TUS
from tests.wire import COLLECTION, WAV, Edge, Wire, request

EVIL = "https://evil.example"
LISTED = "https://app.example.org"

Headers = Mapping[str, str]


@pytest.fixture
async def listing(folder: Path) -> AsyncIterator[Client]:
    """A client of a server that one page may use."""
    async with serving(configure(folder, cors={"origins": [LISTED]})) as client:
        yield client


async def asked(client: Client, headers: Headers, method: str = "POST", path: str = COLLECTION) -> tuple[int, str]:
    """Status and problem."""
    async with client.request(method, path, data=WAV if method == "POST" else None, headers=headers) as answer:
        problem = await answer.json() if answer.content_type == "application/problem+json" else {"type": ""}
        return answer.status, problem["type"].rpartition(":")[2]


REFUSED = 403, "cross-site"

CROSS_SITE: dict[str, Headers] = {
    "form or fetch": {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
    "an older browser": {"Origin": EVIL},
    "a page of a file, or in a sandbox": {"Origin": "null"},
    "an empty origin": {"Origin": ""},
    "another host of the same site": {"Origin": "http://a.localhost", "Sec-Fetch-Site": "same-site"},
    "another port of this machine": {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
    "another port of this machine, an older browser": {"Origin": "http://127.0.0.1:3"},
    "without an origin": {"Sec-Fetch-Site": "cross-site"},
    "a word nobody knows": {"Sec-Fetch-Site": "elsewhere"},
    "a host that begins like this one": {"Origin": "http://localhost.evil.example"},
    "the origin of a list": {"Origin": f"{LISTED}, {EVIL}"},
    "a wildcard": {"Origin": "*"},
    "a form of another type": {"Origin": EVIL, "Content-Type": "text/plain"},
    "by another method": {"Origin": EVIL, "X-HTTP-Method-Override": "GET"},
    "with a cookie": {"Origin": EVIL, "Cookie": "key=maie_x"},
}


@pytest.mark.parametrize("headers", CROSS_SITE.values(), ids=CROSS_SITE)
async def test_a_page_of_another_site_changes_nothing(listing: Client, folder: Path, headers: Headers) -> None:
    assert await asked(listing, headers) == REFUSED
    assert files(folder) == []


WELCOME: dict[str, Headers] = {
    "no browser": {},
    "a page that is listed": {"Origin": LISTED, "Sec-Fetch-Site": "cross-site"},
    "a page that is listed, an older browser": {"Origin": LISTED},
    "a page of this server": {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-origin"},
    "typed by its user": {"Sec-Fetch-Site": "none"},
    "a page of this server, an older browser": {"Origin": "http://localhost:8", "Host": "localhost:8"},
    "a page of this server, TLS ends before it": {"Origin": "https://localhost", "Host": "localhost"},
}


@pytest.mark.parametrize("headers", WELCOME.values(), ids=WELCOME)
async def test_others_are_let_in(listing: Client, headers: Headers) -> None:
    assert await asked(listing, headers) == (201, "")


async def test_a_wildcard_lets_every_page_in(folder: Path) -> None:
    async with serving(configure(folder, cors={"origins": "*"})) as client:
        for origin in (EVIL, "null"):
            assert await asked(client, {"Origin": origin, "Sec-Fetch-Site": "cross-site"}) == (201, "")


@pytest.mark.parametrize("headers", CROSS_SITE.values(), ids=CROSS_SITE)
async def test_a_key_says_whose_request_it_is(listing: Client, headers: Headers) -> None:
    ada = bearer(await key(listing, "ada", EVERYTHING))
    status, _ = await asked(listing, {**headers, **ada, "Content-Type": "audio/wav", "X-HTTP-Method-Override": ""})
    assert status == 201
    assert await asked(listing, headers) == (401, "unauthenticated")


async def test_every_route_that_changes_something_is_closed_to_them(client: Client) -> None:
    for row in TABLE.values():
        if row.scopes != PUBLIC and row.method not in SAFE:
            path = row.route.replace("{id}", "8cd90ed6-c15b-4670-baa7-baa72552ef95")
            assert await asked(client, {**row.headers, "Origin": EVIL}, row.method, path) == REFUSED


async def test_reading_is_the_business_of_cors(client: Client) -> None:
    async with client.get(COLLECTION, headers={"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}) as answer:
        assert answer.status == 200
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_body_is_not_asked_for(client: Client, folder: Path) -> None:
    async with Wire.connect(client) as wire:
        wire.send(request("Expect: 100-continue", "Content-Length: 500000000", f"Origin: {EVIL}"))
        answer = await wire.answer()
        assert (answer.status, answer.problem, answer.headers["connection"]) == (*REFUSED, "close")
        assert await wire.rest() == b""
    assert files(folder) == []


# DNS rebinding


@dataclass(frozen=True, slots=True)
class Place:
    """A server, as its settings have it, and names by which it is found."""

    known: tuple[str, ...]
    unknown: tuple[str, ...]
    access: dict[str, object] = field(default_factory=dict)
    server: dict[str, object] = field(default_factory=dict)


OWN = ("localhost", "localhost:8080", "LocalHost", "127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "10.0.0.1", "")
FOREIGN = ("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "local_host")
NONSENSE = ("localhost:x", "a@localhost", "localhost/..", "[::1", "localhost, evil.example", "localhost.")

PLACES = {
    "alone": Place(OWN, (*FOREIGN, *NONSENSE)),
    "named": Place((*OWN, "audio.internal", "AUDIO.internal:81"), FOREIGN, {"hosts": ["audio.internal"]}),
    "for anybody": Place((*OWN, *FOREIGN), (), {"without_keys": "anybody"}),
    "for anybody, named": Place(OWN, FOREIGN, {"without_keys": "anybody", "hosts": "a.internal, b.internal"}),
    "with an address": Place(
        (*OWN, "audio.example.org"),
        FOREIGN,
        {"without_keys": "anybody", "hosts": ["a"]},
        {"public_url": "https://audio.example.org/v"},
    ),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
async def test_names_by_which_it_is_found(folder: Path, place: Place) -> None:
    async with serving(configure(folder, access=place.access, server=place.server)) as client:
        for host in place.known:
            assert (host, await answered(client, host)) == (host, (200, ""))
        for host in place.unknown:
            assert (host, await answered(client, host)) == (host, REFUSED)


async def answered(client: Client, host: str) -> tuple[int, str]:
    async with Wire.connect(client) as wire:
        wire.send(f"GET {COLLECTION} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = await wire.answer()
        return answer.status, answer.problem


async def test_who_says_no_host_is_no_browser(client: Client, folder: Path) -> None:
    async with Wire.connect(client) as wire:
        wire.send(f"GET {COLLECTION} HTTP/1.0\r\n\r\n".encode())
        assert (await wire.answer()).status == 200


async def test_with_a_key_any_name_will_do(client: Client, folder: Path) -> None:
    field = "X-API-Key: " + await key(client, "ada", EVERYTHING)
    head = request(field, line=f"GET {COLLECTION} HTTP/1.1").replace(b"localhost", b"evil.example")
    assert (await Edge(client, folder).exchange(head)).status == 200


async def test_what_needs_no_key_needs_no_name(client: Client) -> None:
    for path in ("/health", "/ready", "/openapi.json"):
        async with client.get(path, headers={"Host": "evil.example"}) as answer:
            assert answer.status == web.HTTPOk.status_code
    async with client.options(COLLECTION, headers={**TUS, "Host": "evil.example", "Origin": EVIL}) as answer:
        assert answer.status == 204


async def test_behind_a_proxy_its_pages_are_this_servers(folder: Path) -> None:
    settings = configure(folder, access={"without_keys": "anybody"}, server={"trusted_proxies": ["127.0.0.1"]})
    seen = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "example.org"}
    async with serving(settings) as client:
        assert await asked(client, {**seen, "Origin": "https://example.org"}) == (201, "")
        assert await asked(client, {**seen, "Origin": "https://example.org.evil.example"}) == REFUSED
        assert await asked(client, {**seen, "Origin": "https://example.or"}) == REFUSED
