"""Every error is a problem document (RFC 9457), says nothing of the request, and leaves one line in the log."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, make_mocked_request
from structlog.testing import capture_logs
from yarl import URL

from maie_aiohttp import errors
from maie_aiohttp.web import problems
from tests import audio, logbook
from tests.conftest import Client, HardenedServer, configure
from tests.logbook import Entry
from tests.proxies.fronts import client_of
from tests.wire import COLLECTION, DEADLINE, END, FORM, WAV, Answer, Edge, Wire, file, form, part, request, sized, text

WORD = "hunter2"
"""What no answer may repeat."""


def tree(root: type[errors.IntakeError]) -> Iterator[type[errors.IntakeError]]:
    """The class and everything below it."""
    yield root
    for below in root.__subclasses__():
        yield from tree(below)


def test_every_error_has_its_problem() -> None:
    assert set(problems.KINDS) == set(tree(errors.IntakeError)) - {
        errors.Rejected,
        errors.Interrupted,
        errors.Limited,
    }  # never raised


def test_the_table_is_fit_for_clients() -> None:
    slugs = [kind.slug for kind in problems.KINDS.values()]
    assert len(set(slugs)) == len(slugs)
    for kind in problems.KINDS.values():
        assert kind.status in {*HTTPStatus, 460}
        assert kind.status >= 400
        assert re.fullmatch(r"(urn:maie:problem:|https://iana.org/assignments/http-problem-types#)[a-z-]+", kind.type)
        assert (kind.status in (423, 503)) == ("Retry-After" in (kind.headers or {}))


@pytest.mark.parametrize(
    ("status", "slug", "title"),
    [
        (400, "bad-request", "Bad Request"),
        (404, "not-found", "Not Found"),
        (405, "method-not-allowed", "Method Not Allowed"),
        (412, "precondition-failed", "Precondition Failed"),
        (416, "range-not-satisfiable", "Range Not Satisfiable"),
        (417, "expectation-failed", "Expectation Failed"),
        (500, "internal", "Internal Server Error"),
        (418, "internal", "Internal Server Error"),
    ],
)
def test_what_only_http_knows_has_a_name_that_stays(status: int, slug: str, title: str) -> None:
    answer = problems.http_answer(make_mocked_request("GET", "/"), status)
    document = json.loads(str(answer.text))
    assert (document["type"], document["title"]) == (f"urn:maie:problem:{slug}", title)
    assert document["status"] == answer.status


def test_titles_are_those_of_rfc_9110() -> None:
    assert problems.KINDS[errors.TooLarge].title == "Content Too Large"
    assert problems.KINDS[errors.Empty].title == "Unprocessable Content"


REFUSED = {
    "no such path": (request(f"X: {WORD}", line=f"GET /{WORD} HTTP/1.1"), 404),
    "no such upload": (request(line=f"GET {COLLECTION}/{WORD} HTTP/1.1"), 404),
    "no such content": (request(line=f"GET {COLLECTION}/{WORD}/content HTTP/1.1"), 404),
    "no such method": (request(line=f"PUT {COLLECTION}?{WORD} HTTP/1.1"), 405),
    "no method at all": (request(line=f"{WORD.upper()} / HTTP/1.1"), 400),
    "no HTTP": (f"{WORD}\r\n\r\n".encode(), 400),
    "no header": (request(WORD), 400),
    "no length": (request(f"Content-Length: {WORD}"), 400),
    "no cursor": (request(line=f"GET {COLLECTION}?cursor={WORD} HTTP/1.1"), 400),
    "no limit": (request(line=f"GET {COLLECTION}?limit={WORD} HTTP/1.1"), 400),
    "no status": (request(line=f"GET {COLLECTION}?status={WORD} HTTP/1.1"), 400),
    "no expectation": (request(f"Expect: {WORD}", line="GET /health HTTP/1.1"), 417),
    "no boundary": (sized(b"", f"Content-Type: multipart/form-data; {WORD}"), 400),
    "no form": (form(WORD.encode()), 400),
    "no header in a form": (form(b"--edge\r\n" + WORD.encode() + b"\r\n\r\n"), 400),
    "no text": (form(text(WORD, b"\xff" + WORD.encode()), file()), 400),
    "no name": (form(file(name=f"{WORD}.exe")), 415),
    "no type": (sized(WAV, f"Content-Type: text/{WORD}"), 415),
    "no coding": (sized(WAV, f"Content-Encoding: {WORD}"), 415),
    "no digest": (sized(WAV, f"Repr-Digest: {WORD}"), 400),
    "no disposition": (sized(WAV, f"Content-Disposition: {WORD}; {WORD}"), 400),
    "no audio": (sized(WORD.encode() * 1000), 415),
    "nothing": (sized(b"", f"X: {WORD}"), 422),
}


@pytest.mark.parametrize(("bad", "status"), REFUSED.values(), ids=REFUSED)
async def test_refusals_say_what_is_wrong_and_nothing_else(
    client: Client, folder: Path, bad: bytes, status: int
) -> None:
    async with Wire.connect(client) as wire:
        wire.send(bad)
        answer = await wire.answer()
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert "server" not in answer.headers
    assert WORD not in f"{answer.headers}{answer.body!r}".lower()
    assert_is_problem(answer)
    await Edge(client, folder).assert_untouched()


def assert_is_problem(answer: Answer) -> None:
    """It has what RFC 9457, section 3.1, asks for."""
    document = answer.json()
    assert document.keys() == {"type", "title", "status", "detail"}
    assert document["status"] == answer.status
    assert document["detail"].endswith(".")


async def test_a_method_is_refused_with_those_that_work(client: Client) -> None:
    async with client.put(COLLECTION) as answer:
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


async def test_a_client_that_leaves_its_download_is_no_error(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with capture_logs() as lines:
        async with Wire.connect(client) as wire:
            wire.send(sized(b"".join(audio.long_wav(16_000_000))))
            record = (await wire.answer()).json()
        async with Wire.connect(client) as wire:
            wire.send(request(line=f"GET {record['links']['content']} HTTP/1.1"))
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.1)
    assert [line["event"] for line in lines if line["log_level"] in {"error", "warning"}] == []
    assert caplog.messages == []


@pytest.mark.parametrize("error", [LookupError("a slip"), errors.Damaged("The recording is damaged.")])
@pytest.mark.parametrize("begin", [b"half of it", b""])
async def test_an_error_within_an_answer_breaks_it_off(
    folder: Path, caplog: pytest.LogCaptureFixture, begin: bytes, error: Exception
) -> None:
    async def fail(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 100
        await response.prepare(request)
        if begin:
            await response.write(begin)
        raise error

    server = HardenedServer(configure(folder))
    server.app.router.add_get("/fail", fail)
    with capture_logs() as lines:
        async with TestClient(server) as client, Wire.connect(client) as wire:
            wire.send(request(line="GET /fail HTTP/1.1"))
            received = await wire.rest()
    assert received.count(b"HTTP/1.1") <= 1
    assert received.partition(b"\r\n\r\n")[2] in {begin, b""}
    assert len([line for line in lines if line["log_level"] == "error"]) == 1
    assert caplog.messages == []


NASTY = "a%0D%0Aforged%1B%5B31m%C2%9B31m%E2%80%A8.wav"


@pytest.mark.parametrize("style", ["json", "console"])
async def test_nothing_that_clients_send_breaks_a_line_of_the_log(tmp_path: Path, style: str) -> None:
    log = tmp_path / "log"
    disposition = {"Content-Disposition": f"attachment; filename*=UTF-8''{NASTY}", "X-Request-ID": "b\x9b31m"}
    async with _server(tmp_path, log, style) as url, ClientSession(url) as session:
        for content in (WAV, b"no audio" * 1000):
            async with session.post(COLLECTION, data=content, headers=disposition):
                pass
        async with session.get(URL(f"{COLLECTION}/{NASTY}", encoded=True), headers={"X-Request-ID": "plain-1"}):
            pass
        async with session.get(URL(f"{COLLECTION}?cursor={NASTY}", encoded=True)):
            pass
    lines = log.read_text().splitlines()
    events = [event for line in lines for event in ("upload stored", "request refused") if event in line]
    assert events == ["upload stored", *["request refused"] * 3]
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert sum("plain-1" in line for line in lines) == 2  # the refusal, and the audit


TUS = ("Tus-Resumable: 1.0.0", "Upload-Length: 9")

FILENAMES = {
    "line ends": "a\r\n2026-11-26 17:52:40 [info     ] forged\n{}.wav",
    "escapes": "a\x1b[2J\x1b]0;title\x07\x9b31m.wav",
    "quotes": "\"'`${}%s\\.wav",
    "separators": "a\x0b\x0c\x1c\x85\u2028\u2029.wav",
    "2 kB": "x" * 2_000 + ".wav",
    "10 kB": "x" * 10_000 + ".wav",
}


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize("name", FILENAMES.values(), ids=FILENAMES)
async def test_every_event_is_one_line_whatever_a_file_is_called(tmp_path: Path, name: str, style: str) -> None:
    """At every door. Where the header that it stands in is refused, nothing has happened."""
    log, percent, base64 = tmp_path / "log", quote(name, safe=""), b64encode(name.encode()).decode()
    place = f"filename*=UTF-8''{percent}"
    sent = [
        sized(WAV, "X-Request-ID: sent-raw", f"Content-Disposition: attachment; {place}"),
        sized(part(WAV, f'Content-Disposition: form-data; name="a"; {place}') + END, FORM, "X-Request-ID: sent-form"),
        request("X-Request-ID: sent-tus", *TUS, f"Upload-Metadata: filename {base64}"),
    ]
    async with _server(tmp_path, log, style) as url, client_of(url) as client:
        answers = [await Edge(client, tmp_path / "data").exchange(one) for one in sent]
    lines = (await asyncio.to_thread(log.read_text)).splitlines()
    assert [complaint for line in lines for complaint in Entry(style, line).complaints()] == []
    told = dict.fromkeys(identity for line in lines for identity in re.findall("sent-[a-z]+", line))
    assert [*told] == [answer.headers["x-request-id"] for answer in answers if "x-request-id" in answer.headers]


@asynccontextmanager
async def _server(folder: Path, log: Path, style: str) -> AsyncIterator[str]:
    """A server process that logs to a file; its address."""
    chosen = {"SERVER__PORT": "0", "STORAGE__FOLDER": f"{folder}/data", "STORAGE__RESERVE": "0 B", "LOG__FORMAT": style}
    environment = os.environ | {f"MAIE_{key}": value for key, value in chosen.items()}
    command = sys.executable, "-m", "maie_aiohttp"
    with log.open("wb") as stream:
        server = await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment, stderr=stream)
    try:
        yield await asyncio.to_thread(_address, log)
    finally:
        server.terminate()
        await server.wait()
        for line in (await asyncio.to_thread(log.read_text)).splitlines():
            logbook.keep(line)


def _address(log: Path) -> str:
    """From the line that says that the server is ready."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        if address := re.search(r"http://[\d.:]+", log.read_text()):
            return address[0]
        time.sleep(0.05)
    raise TimeoutError(log.read_text())
