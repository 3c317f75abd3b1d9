"""What every answer tells browsers, and what none tells anybody: whichever route, and whatever went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from multidict import CIMultiDict

from maie_aiohttp.web.headers import PROTECTIVE
from tests import audio, certificates
from tests.certificates import issue
from tests.conftest import Client, configure, send, serving
from tests.keys import key
from tests.test_access_matrix import TABLE
from tests.test_tls import client_of
from tests.test_tls import serving as serving_tls
from tests.wire import COLLECTION, WAV, Answer, Edge, Wire, file, form, request, sized

HSTS = "Strict-Transport-Security"


def assert_protected(headers: Mapping[str, str]) -> None:
    said = CIMultiDict(headers)
    assert {name: said.get(name) for name in PROTECTIVE} == PROTECTIVE
    assert "Server" not in said
    assert HSTS not in said


def test_what_is_told() -> None:
    assert PROTECTIVE["Cache-Control"] == "no-store"
    assert PROTECTIVE["X-Content-Type-Options"] == "nosniff"
    assert PROTECTIVE["Referrer-Policy"] == "no-referrer"
    assert PROTECTIVE["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = {directive.strip() for directive in PROTECTIVE["Content-Security-Policy"].split(";")}
    assert policy == {"default-src 'none'", "frame-ancestors 'none'", "sandbox"}


@pytest.mark.parametrize("is_known", [True, False])
async def test_on_every_route(folder: Path, is_known: bool) -> None:
    async with serving(configure(folder)) as client:
        ids = [(await send(client, audio.sample("wav")))["id"] for _ in TABLE]
        secret = await key(client, "root", "admin")
        who = {"X-API-Key": secret} if is_known else {}
        for id, row in zip(ids, TABLE.values(), strict=True):
            path = row.route.replace("{id}", id)
            async with client.request(row.method, path, headers={**row.headers, **who}, data=row.body) as answer:
                assert_protected(answer.headers)
                answer.close()


ODD: dict[str, tuple[bytes, int]] = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "long line": (request(line=f"GET /{'a' * 9000} HTTP/1.1"), 400),
    "long field": (request(f"X: {'a' * 9000}"), 400),
    "two lengths": (request("Content-Length: 1", "Content-Length: 2"), 400),
    "nowhere": (request(line="GET /nowhere HTTP/1.1"), 404),
    "another method": (request(line=f"PUT {COLLECTION} HTTP/1.1"), 405),
    "another expectation": (request("Expect: coffee", line="GET /health HTTP/1.1"), 417),
    "no recording": (sized(b"<html>", "Content-Type: text/html"), 415),
    "too large": (request("Content-Length: 900000000"), 413),
    "stored": (form(file()), 201),
    "stored, HTTP/1.0": (request(f"Content-Length: {len(WAV)}", body=WAV, line=f"POST {COLLECTION} HTTP/1.0"), 201),
    "options": (request(line=f"OPTIONS {COLLECTION} HTTP/1.1"), 204),
}


@pytest.mark.parametrize(("sent", "status"), ODD.values(), ids=ODD)
async def test_whatever_went_wrong(client: Client, folder: Path, sent: bytes, status: int) -> None:
    answer = await Edge(client, folder).exchange(sent)
    assert answer.status == status
    assert_protected(answer.headers)
    assert_says_nothing_of_the_inside(answer)


def assert_says_nothing_of_the_inside(answer: Answer) -> None:
    said = (str(answer.headers) + answer.body.decode()).lower()
    for word in ("aiohttp", "python", "traceback", "maie_aiohttp/"):
        assert word not in said


async def test_a_header_that_takes_too_long(folder: Path) -> None:
    async with serving(configure(folder, server={"header_timeout": "50 ms"})) as client, Wire.connect(client) as wire:
        wire.send(b"GET / HT")
        answer = await wire.answer()
    assert answer.status == 408
    assert_protected(answer.headers)


async def test_what_fails_inside(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maie_aiohttp.pages.uploads.as_json", None)
    await client.post(COLLECTION, data=WAV)
    async with client.get(COLLECTION) as answer:
        assert answer.status == 500
        assert_protected(answer.headers)


@pytest.mark.skipif(certificates.MISSING, reason="openssl makes the certificates")
@pytest.mark.parametrize(("setting", "said"), [({}, "max-age=31536000"), ({"server.hsts": "0 s"}, "max-age=0")])
async def test_over_tls_browsers_hear_to_stay_there(
    folder: Path, tmp_path: Path, setting: Mapping[str, str], said: str
) -> None:
    pair = issue(tmp_path / "pair")
    async with serving_tls(folder, pair, settings=setting) as server, client_of(server, pair) as client:
        for path in ("/health", COLLECTION, "/nowhere"):
            async with client.get(path) as answer:
                assert answer.headers[HSTS] == said


async def test_a_proxy_that_says_https_does_not_make_it_so(folder: Path) -> None:
    settings = configure(folder, access={"without_keys": "anybody"}, server={"trusted_proxies": ["127.0.0.1"]})
    async with serving(settings) as client, client.get("/health", headers={"X-Forwarded-Proto": "https"}) as answer:
        assert_protected(answer.headers)
