"""How often one address may ask: before anybody looks who it is, and less often with wrong keys."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict
from structlog.testing import capture_logs

from maie_aiohttp.addresses import Address, ip_of
from maie_aiohttp.limits.rate import Rate
from maie_aiohttp.web.appkeys import RATE
from maie_aiohttp.web.forwarded import client as reported
from tests.clock import Clock
from tests.conftest import Client, configure, serving
from tests.keys import EVERYTHING, bearer, key
from tests.wire import COLLECTION, FORM, WAV, Edge, request

Headers = Mapping[str, str]
TOO_MANY = (429, "too-many-requests")


@asynccontextmanager
async def limited(folder: Path, per_second: int, burst: int, *proxies: str) -> AsyncIterator[Client]:
    """A client of a server that trusts these proxies, or the one on this machine, and for which no time passes."""
    server: dict[str, object] = {"trusted_proxies": list(proxies or ("127.0.0.1",)), "linger": "100 ms"}
    requests: dict[str, object] = {"per_second": per_second, "burst": burst}
    access: dict[str, object] = {"without_keys": "anybody"}
    async with serving(configure(folder, server=server, requests=requests, access=access)) as client:
        stop(client, Clock())
        yield client


def stop(client: Client, clock: Clock) -> None:
    """Let this be the time by which the server counts."""
    assert client.app is not None
    rate = client.app[RATE]
    if isinstance(rate, Rate):
        rate._now = clock


def at(*addresses: str) -> Headers:
    """What proxies add for a client there."""
    return {"X-Forwarded-For": ", ".join(addresses)}


async def status(client: Client, headers: Headers, path: str = COLLECTION) -> int:
    async with client.get(path, headers=headers) as answer:
        return answer.status


async def statuses(client: Client, count: int, *headers: Headers) -> Counter[int]:
    """Of so many answers, asked for in turns with these headers."""
    asked = (status(client, headers[turn % len(headers)]) for turn in range(count))
    return Counter(await asyncio.gather(*asked))


ADA, BOB = at("192.0.2.1"), at("192.0.2.2")

DOORS = {
    "raw": request("X-Forwarded-For: 192.0.2.1", f"Content-Length: {len(WAV)}", "Expect: 100-continue"),
    "form": request("X-Forwarded-For: 192.0.2.1", FORM, f"Content-Length: {len(WAV)}", "Expect: 100-continue"),
    "tus": request("X-Forwarded-For: 192.0.2.1", "Tus-Resumable: 1.0.0", "Upload-Length: 5", "Content-Length: 0"),
    "resumable": request("X-Forwarded-For: 192.0.2.1", "Upload-Complete: ?0", "Content-Length: 0"),
    "health": request("X-Forwarded-For: 192.0.2.1", line="GET /health HTTP/1.1"),
    "nowhere": request("X-Forwarded-For: 192.0.2.1", line="GET /nowhere HTTP/1.1"),
    "no such method": request("X-Forwarded-For: 192.0.2.1", line="PUT /health HTTP/1.1"),
}


@pytest.mark.parametrize("head", DOORS.values(), ids=DOORS)
async def test_one_too_many_is_refused_before_its_body(folder: Path, head: bytes) -> None:
    async with limited(folder, 1, 5) as client:
        assert await statuses(client, 5, ADA) == {200: 5}
        answer = await Edge(client, folder).exchange(head)
        assert (answer.status, answer.problem) == TOO_MANY
        assert answer.headers["retry-after"] == "1"
        assert await status(client, BOB) == 200


async def test_of_a_crowd_at_once_no_more_than_the_burst(folder: Path) -> None:
    async with limited(folder, 1, 30) as client:
        told = await statuses(client, 100, ADA, BOB)
    assert told == {200: 60, 429: 40}


async def test_who_waits_is_heard_again(folder: Path) -> None:
    async with limited(folder, 2, 1) as client:
        stop(client, clock := Clock())
        assert await statuses(client, 2, ADA) == {200: 1, 429: 1}
        clock.time += 0.5
        assert await statuses(client, 2, ADA) == {200: 1, 429: 1}


async def test_guesses_are_slowed_and_others_are_not(folder: Path) -> None:
    async with limited(folder, 10, 30) as client:
        stop(client, clock := Clock())
        right = bearer(await key(client, "ada", EVERYTHING))
        with capture_logs() as lines:
            told = [await status(client, {**ADA, **bearer(f"maie_{guess}")}) for guess in range(6)]
        assert told == [401, 401, 401, 429, 429, 429]
        assert "maie_" not in str(lines)
        assert await status(client, {**ADA, **right}) == 429
        assert await status(client, {**BOB, **right}) == 200
        clock.time += 1
        assert await status(client, {**ADA, **right}) == 200


async def test_nothing_a_client_writes_makes_it_another(folder: Path) -> None:
    forged = [at(f"10.0.0.{number}", "192.0.2.1") for number in range(9)]
    async with limited(folder, 1, 5) as client:
        assert await statuses(client, 9, *forged) == {200: 5, 429: 4}
        contradicting = [{**ADA, "Forwarded": f"for=10.0.0.{number}"} for number in range(9)]
        assert await statuses(client, 9, *contradicting) == {200: 5, 429: 4}


async def test_an_ipv6_network_is_one(folder: Path) -> None:
    async with limited(folder, 1, 5) as client:
        assert await statuses(client, 9, *(at(f"2001:db8:0:1::{number}") for number in range(9))) == {200: 5, 429: 4}
        assert await status(client, at("2001:db8:0:2::1")) == 200


async def test_behind_several_proxies(folder: Path) -> None:
    async with limited(folder, 1, 5, "127.0.0.1", "10.0.0.0/8") as client:
        assert await statuses(client, 9, at("192.0.2.1", "10.1.1.1")) == {200: 5, 429: 4}
        assert await status(client, at("192.0.2.2", "10.1.1.1")) == 200


async def test_programs_on_this_machine_may_ask_as_often_as_they_like(folder: Path) -> None:
    async with limited(folder, 1, 5, "192.0.2.9") as client:
        assert await statuses(client, 30, {}, ADA, bearer("maie_guess")) == {200: 20, 401: 10}


async def test_nor_are_they_limited_beside_a_trusted_proxy(folder: Path) -> None:
    """Clients about whom a proxy's words contradict each other have a limit together, and that is not theirs."""
    async with limited(folder, 1, 5) as client:
        assert await statuses(client, 9, {**ADA, "Forwarded": "for=192.0.2.9"}) == {200: 5, 429: 4}
        assert await statuses(client, 9, {}) == {200: 9}


async def test_it_can_be_switched_off(folder: Path) -> None:
    async with limited(folder, 0, 1) as client:
        assert await statuses(client, 9, ADA) == {200: 9}


PROXIES = {ip_of("10.0.0.1"), ip_of("10.0.0.2")}


def is_proxy(address: Address) -> bool:
    return address in PROXIES


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ([], None),
        ([("X-Forwarded-For", "192.0.2.1")], "192.0.2.1"),
        ([("X-Forwarded-For", "192.0.2.1:4711")], "192.0.2.1"),
        ([("X-Forwarded-For", "[2001:db8::1]:4711")], "2001:db8::1"),
        ([("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-For", "192.0.2.1 , 10.0.0.2")], "192.0.2.1"),
        ([("X-Forwarded-For", "10.0.0.1, 10.0.0.2")], None),
        ([("X-Forwarded-For", "192.0.2.1, unknown")], None),
        ([("X-Forwarded-For", "192.0.2.1, 999.0.0.1")], None),
        ([("Forwarded", 'for=192.0.2.1;proto=https, for="[2001:db8::1]:99"')], "2001:db8::1"),
        ([("Forwarded", "for=192.0.2.1, for=10.0.0.1;by=10.0.0.2")], "192.0.2.1"),
        ([("Forwarded", "for=192.0.2.1, for=_hidden")], None),
        ([("Forwarded", 'for="192.0.2.1, for=192.0.2.2')], None),
        ([("Forwarded", "for=192.0.2.1"), ("X-Forwarded-For", "192.0.2.1")], "192.0.2.1"),
        ([("Forwarded", "for=192.0.2.1"), ("X-Forwarded-For", "192.0.2.2")], None),
        ([("Forwarded", 'for=", for=192.0.2.1'), ("X-Forwarded-For", "192.0.2.2")], None),
        ([("Forwarded", "for=_hidden"), ("X-Forwarded-For", "192.0.2.2")], None),
        ([("Forwarded", "for=192.0.2.1"), ("X-Forwarded-For", "192.0.2.2, unknown")], None),
        ([("Forwarded", "for=192.0.2.1"), ("X-Forwarded-For", "")], "192.0.2.1"),
        ([("Forwarded", "proto=https;host=example.org"), ("X-Forwarded-For", "192.0.2.1")], "192.0.2.1"),
        ([("Forwarded", "for=192.0.2.2, proto=https"), ("X-Forwarded-For", "192.0.2.1")], None),
    ],
)
def test_whom_proxies_report(fields: list[tuple[str, str]], told: str | None) -> None:
    assert reported(CIMultiDict(fields), is_proxy) == (None if told is None else ip_of(told))


@settings(deadline=None)
@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0")))
def test_whatever_a_client_writes_the_proxy_has_the_last_word(written: str) -> None:
    fields = CIMultiDict({"X-Forwarded-For": f"{written}, 192.0.2.1, 10.0.0.1"})
    assert reported(fields, is_proxy) == ip_of("192.0.2.1")
    fields = CIMultiDict({"Forwarded": f"{written}, for=192.0.2.1, for=10.0.0.1"})
    assert reported(fields, is_proxy) in (ip_of("192.0.2.1"), None)
    fields["X-Forwarded-For"] = "192.0.2.2"
    assert reported(fields, is_proxy) is None


@settings(deadline=None)
@given(st.ip_addresses(), st.integers(0, 65535))
def test_addresses_are_read_with_and_without_a_port(address: Address, port: int) -> None:
    assert ip_of(str(address)) == address
    assert ip_of(f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}") == address


@settings(deadline=None)
@given(st.text())
def test_whatever_else_is_no_address(text: str) -> None:
    address = ip_of(text)
    assert address is None or str(address)
