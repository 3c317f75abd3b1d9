"""Pages of other origins: the allowed ones get every answer, preflights included, and all others none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from aiohttp import ClientResponse

from maie_aiohttp.web.headers import PROTECTIVE
from tests import audio
from tests.conftest import Client, configure, send, serving
from tests.wire import COLLECTION

PAGE = "https://app.example.org"
OTHER = "https://app.example.com"
CORS = "Access-Control-"


@pytest.fixture
async def strict(folder: Path) -> AsyncIterator[Client]:
    """A client of a server that allows two origins."""
    async with serving(configure(folder, cors={"origins": [PAGE, "http://localhost:3000"]})) as client:
        yield client


@pytest.fixture
async def open_to_all(folder: Path) -> AsyncIterator[Client]:
    """A client of a server that allows every origin."""
    async with serving(configure(folder, cors={"origins": "*", "max_age": "1 min"})) as client:
        yield client


def said(answer: ClientResponse) -> dict[str, str]:
    """The CORS headers of an answer, by their names without prefix."""
    return {name.removeprefix(CORS): value for name, value in answer.headers.items() if name.startswith(CORS)}


def names(value: str) -> set[str]:
    """The members of a list, in lower case."""
    return {name.strip().lower() for name in value.split(",")}


def preflight(method: str, *headers: str, origin: str = PAGE) -> Mapping[str, str]:
    """What a browser sends ahead of a request."""
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ",".join(headers),
    }


async def test_page_reads_what_it_sent(strict: Client) -> None:
    upload = await send(strict, audio.sample("wav"))
    answer = await strict.get(upload["links"]["content"], headers={"Origin": PAGE, "Range": "bytes=0-3"})
    assert (answer.status, await answer.read()) == (206, b"RIFF")
    assert said(answer)["Allow-Origin"] == PAGE
    unasked = {"date", "connection", "vary", "content-type", "content-length"}
    inert = {name.lower() for name in PROTECTIVE}
    sent = {name.lower() for name in answer.headers if not name.startswith(CORS)}
    assert sent - unasked - inert <= names(said(answer)["Expose-Headers"])


async def test_page_sees_what_the_upload_protocols_say(strict: Client) -> None:
    answer = await strict.get(COLLECTION, headers={"Origin": "http://localhost:3000"})
    assert said(answer).keys() == {"Allow-Origin", "Expose-Headers"}
    assert said(answer)["Allow-Origin"] == "http://localhost:3000"
    assert names(said(answer)["Expose-Headers"]) >= {
        "location", "retry-after", "x-request-id", "tus-resumable", "tus-max-size", "upload-offset", "upload-length",
        "upload-complete", "upload-limit", "upload-expires", "repr-digest",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("PUT", COLLECTION, 405), ("POST", COLLECTION, 415), ("GET", f"{COLLECTION}/x", 404)],
)
async def test_page_sees_errors(method: str, path: str, status: int, strict: Client) -> None:
    answer = await strict.request(method, path, data=b"no recording", headers={"Origin": PAGE})
    assert (answer.status, said(answer)["Allow-Origin"]) == (status, PAGE)


async def test_page_sees_that_its_upload_is_too_large(folder: Path) -> None:
    async with serving(configure(folder, cors={"origins": [PAGE]}, limits={"max_size": "1 kB"})) as client:
        answer = await client.post(COLLECTION, data=audio.sample("wav").content, headers={"Origin": PAGE})
        assert (answer.status, said(answer)["Allow-Origin"]) == (413, PAGE)


async def test_page_sees_what_is_answered_before_any_handler(strict: Client) -> None:
    answer = await strict.get("/health", headers={"Origin": PAGE, "Expect": "a miracle"})
    assert (answer.status, said(answer)["Allow-Origin"]) == (417, PAGE)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", COLLECTION, ("tus-resumable", "upload-length", "upload-metadata", "x-requested-with")),
        ("POST", COLLECTION, ("content-type", "content-disposition", "repr-digest", "upload-complete", "x-api-key")),
        ("PATCH", f"{COLLECTION}/x", ("content-type", "tus-resumable", "upload-offset", "upload-checksum")),
        ("PATCH", f"{COLLECTION}/x", ("upload-draft-interop-version", "upload-complete", "content-digest")),
        ("POST", f"{COLLECTION}/x", ("x-http-method-override", "authorization")),
        ("HEAD", f"{COLLECTION}/x", ("tus-resumable", "x-request-id")),
        ("DELETE", f"{COLLECTION}/x", ("tus-resumable",)),
        ("GET", f"{COLLECTION}/x/content", ("range", "if-none-match")),
        ("GET", "/nowhere", ("last-event-id",)),
    ],
)
async def test_preflight_lets_pass_what_clients_send(
    method: str, path: str, headers: tuple[str, ...], strict: Client
) -> None:
    answer = await strict.options(path, headers=preflight(method, *headers))
    assert (answer.status, await answer.read()) == (204, b"")
    policy = said(answer)
    assert policy.pop("Allow-Origin") == PAGE
    assert method.lower() in names(policy.pop("Allow-Methods"))
    assert set(headers) <= names(policy.pop("Allow-Headers"))
    assert policy == {"Max-Age": "7200"}


async def test_options_without_a_preflight_is_an_ordinary_request(strict: Client) -> None:
    answer = await strict.options("/health", headers={"Origin": PAGE})
    assert answer.status == 405
    assert said(answer).keys() == {"Allow-Origin", "Expose-Headers"}


@pytest.mark.parametrize("origin", [OTHER, "null", "", PAGE.upper(), f"{PAGE}.evil.example", f"{PAGE}:8443", "*"])
async def test_other_pages_learn_nothing(origin: str, strict: Client) -> None:
    for answer in (
        await strict.get(COLLECTION, headers={"Origin": origin}),
        await strict.options("/health", headers=preflight("GET", origin=origin)),
    ):
        assert said(answer) == {}
        assert answer.headers["Vary"] == "Origin"
    assert answer.status == 405


async def test_caches_are_told_that_the_answer_depends_on_the_page(strict: Client) -> None:
    for headers in ({}, {"Origin": PAGE}, {"Origin": OTHER}):
        assert (await strict.get("/health", headers=headers)).headers.getall("Vary") == ["Origin"]


async def test_wildcard_says_the_same_to_every_page(open_to_all: Client) -> None:
    for origin in (PAGE, OTHER, "null"):
        answer = await open_to_all.get("/health", headers={"Origin": origin})
        assert said(answer)["Allow-Origin"] == "*"
        assert "Vary" not in answer.headers
        asked = await open_to_all.options("/health", headers=preflight("GET", origin=origin))
        assert (asked.status, said(asked)["Allow-Origin"], said(asked)["Max-Age"]) == (204, "*", "60")
    assert said(await open_to_all.get("/health")) == {}


@pytest.mark.parametrize("origin", [PAGE, "*"])
async def test_credentials_kept_by_browsers_are_never_let_in(origin: str, folder: Path) -> None:
    async with serving(configure(folder, cors={"origins": [origin]})) as client:
        for answer in (
            await client.get("/health", headers={"Origin": PAGE}),
            await client.options("/health", headers=preflight("GET")),
        ):
            assert said(answer)["Allow-Origin"] == origin
            assert "Allow-Credentials" not in said(answer)


async def test_nothing_is_said_unless_configured(client: Client) -> None:
    for answer in (
        await client.get("/health", headers={"Origin": PAGE}),
        await client.options("/health", headers=preflight("GET")),
    ):
        assert said(answer) == {}
        assert "Vary" not in answer.headers
    assert answer.status == 405


@pytest.mark.parametrize("version", ["1.0.0", "0.2.2", ""])
async def test_every_answer_to_tus_names_its_version(version: str, client: Client) -> None:
    for path in ("/health", "/nowhere"):
        answer = await client.get(path, headers={"Tus-Resumable": version})
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        assert "Tus-Resumable" not in (await client.get(path)).headers
