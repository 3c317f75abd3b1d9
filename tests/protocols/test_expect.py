"""`Expect: 100-continue` (RFC 9110, section 10.1.1): what the header decides is answered before the body is sent."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs

from tests.wire import COLLECTION, END, FORM, WAV, Edge, Wire, file, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXPECT = "Expect: 100-continue"
LENGTH = f"Content-Length: {len(WAV)}"

REFUSED = {
    "too large": ((request(EXPECT, "Content-Length: 900000000")), (413, "too-large")),
    "too large a form": (request(EXPECT, FORM, "Content-Length: 900000000"), (413, "too-large")),
    "empty": (request(EXPECT, "Content-Length: 0"), (422, "empty")),
    "type": (request(EXPECT, LENGTH, "Content-Type: text/html"), (415, "not-audio")),
    "name": (request(EXPECT, LENGTH, 'Content-Disposition: attachment; filename="a.exe"'), (415, "not-audio")),
    "name in a charset": (
        request(EXPECT, LENGTH, "Content-Disposition: attachment; filename*=undefined''%41; x"),
        (400, "malformed"),
    ),
    "gzip": (request(EXPECT, LENGTH, "Content-Encoding: gzip"), (415, "not-audio")),
    "boundary": (request(EXPECT, LENGTH, "Content-Type: multipart/form-data"), (400, "malformed")),
    "transfer coding": (request(EXPECT, "Transfer-Encoding: gzip, chunked"), (400, "malformed")),
    "digest": (request(EXPECT, LENGTH, "Repr-Digest: nonsense="), (400, "malformed")),
    "path": (request(EXPECT, LENGTH, line="POST /nowhere HTTP/1.1"), (404, "not-found")),
    "method": (request(EXPECT, LENGTH, line=f"PUT {COLLECTION} HTTP/1.1"), (405, "method-not-allowed")),
    "another expectation": (request("Expect: coffee", LENGTH), (417, "expectation-failed")),
    "another expectation of a page": (
        request("Expect: coffee", line="GET /health HTTP/1.1"),
        (417, "expectation-failed"),
    ),
}


@pytest.mark.parametrize(("head", "expected"), REFUSED.values(), ids=REFUSED)
async def test_refused_without_a_hundred(edge: Edge, head: bytes, expected: tuple[int, str]) -> None:
    assert await edge.refuse(head) == expected


@pytest.mark.parametrize(
    "line", [f"POST {COLLECTION} HTTP/1.1", "POST /nowhere HTTP/1.1", f"PUT {COLLECTION} HTTP/1.1"]
)
async def test_a_refusal_keeps_the_id_of_its_request(edge: Edge, line: str) -> None:
    answer = await edge.exchange(request(EXPECT, "Content-Length: 0", "X-Request-ID: mine-1", line=line))
    assert answer.headers["x-request-id"] == "mine-1"


async def test_a_refusal_is_logged_with_the_id_of_its_request(edge: Edge) -> None:
    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        await edge.exchange(request(EXPECT, "Content-Length: 0", "X-Request-ID: mine-1"))
    assert [(line["event"], line.get("request")) for line in lines] == [
        ("request refused", "mine-1"),
        ("audit", "mine-1"),
    ]


@pytest.mark.parametrize("expectation", ["100-continue", "100-Continue"])
@pytest.mark.parametrize(("header", "body"), [("X: raw", WAV), (FORM, file() + END)], ids=["raw", "form"])
async def test_welcomed_then_stored(edge: Edge, header: str, body: bytes, expectation: str) -> None:
    async with Wire.connect(edge.client) as wire:
        wire.send(request(f"Expect: {expectation}", f"Content-Length: {len(body)}", header))
        assert (await wire.answer()).status == 100
        wire.send(body)
        assert (await wire.answer()).status == 201


async def test_clients_of_http_1_0_know_no_hundred(edge: Edge) -> None:
    await edge.take(request(EXPECT, LENGTH, body=WAV, line=f"POST {COLLECTION} HTTP/1.0"))


async def test_an_empty_expectation_is_none(edge: Edge) -> None:
    await edge.take(request("Expect:", LENGTH, body=WAV))


async def test_a_refusal_may_be_followed_by_the_body(edge: Edge) -> None:
    async with Wire.connect(edge.client) as wire:
        wire.send(request(EXPECT, LENGTH, "Content-Type: text/html"))
        answer = await wire.answer()
        assert (answer.status, answer.headers["connection"]) == (415, "close")
        wire.send(WAV)
        assert await wire.rest() == b""
    await edge.assert_untouched()
