"""Requests that are wrong as HTTP (RFC 9112), and what becomes of their connections."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from base64 import b64encode

import pytest

from tests.wire import COLLECTION, END, FORM, WAV, Edge, Wire, chunked, file, form, request, sized

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHUNKED = "Transfer-Encoding: chunked"
LENGTH = f"Content-Length: {len(WAV)}"
BAD_REQUEST, MALFORMED, TRUNCATED = (400, "bad-request"), (400, "malformed"), (400, "truncated")
NOT_AUDIO, EMPTY = (415, "not-audio"), (422, "empty")

FORBIDDEN = {
    "length and chunks": (request(LENGTH, CHUNKED, body=chunked([WAV])), BAD_REQUEST),
    "two lengths": (request(LENGTH, "Content-Length: 5", body=WAV), BAD_REQUEST),
    "negative length": (request("Content-Length: -5", body=WAV), BAD_REQUEST),
    "signed length": (request("Content-Length: +5", body=WAV), BAD_REQUEST),
    "no number": (request("Content-Length: ten", body=WAV), BAD_REQUEST),
    "gzip, chunked": (request("Transfer-Encoding: gzip, chunked", body=chunked([gzip.compress(WAV)])), MALFORMED),
    "gzip and chunked": (
        request("Transfer-Encoding: gzip", CHUNKED, body=chunked([gzip.compress(WAV)])),
        BAD_REQUEST,
    ),
    "chunked, gzip": (request("Transfer-Encoding: chunked, gzip", body=chunked([WAV])), BAD_REQUEST),
    "chunked twice": (request(CHUNKED, CHUNKED, body=chunked([WAV])), BAD_REQUEST),
    "chunked, chunked": (request("Transfer-Encoding: chunked, chunked", body=chunked([WAV])), BAD_REQUEST),
    "gzip without chunks": (request("Transfer-Encoding: gzip", body=gzip.compress(WAV)), BAD_REQUEST),
    "identity": (request("Transfer-Encoding: identity", LENGTH, body=WAV), BAD_REQUEST),
    "chunked in HTTP/1.0": (
        request(CHUNKED, body=chunked([WAV]), line=f"POST {COLLECTION} HTTP/1.0"),
        MALFORMED,
    ),
    "chunk size 0x": (request(CHUNKED, body=b"0x5\r\nabcde\r\n0\r\n\r\n"), BAD_REQUEST),
    "obs-fold": (request(LENGTH, "X: a\r\n b", body=WAV), BAD_REQUEST),
    "NUL": (request(LENGTH, "X: a\0b", body=WAV), BAD_REQUEST),
    "space before the colon": (request("Content-Length : 5", body=WAV), BAD_REQUEST),
    "no HTTP": (b"EHLO edge\r\n\r\n", BAD_REQUEST),
    "no Host": (f"POST {COLLECTION} HTTP/1.1\r\n{LENGTH}\r\n\r\n".encode() + WAV, BAD_REQUEST),
    "a field above 8 KiB": (request(LENGTH, "X: " + "x" * 9000, body=WAV), BAD_REQUEST),
    "200 fields": (request(LENGTH, *["X: x"] * 200, body=WAV), BAD_REQUEST),
    "gzip": (sized(gzip.compress(WAV), "Content-Encoding: gzip"), NOT_AUDIO),
    "gzip behind identity": (sized(WAV, "Content-Encoding: identity", "Content-Encoding: gzip"), NOT_AUDIO),
    "a form, gzip": (sized(gzip.compress(file() + END), FORM, "Content-Encoding: gzip"), NOT_AUDIO),
    "no body": (request(), EMPTY),
    "an empty body": (request("Content-Length: 0"), EMPTY),
    "an empty chunked body": (request(CHUNKED, body=chunked([])), EMPTY),
    "an empty form": (sized(b"", FORM), MALFORMED),
    "two dispositions": (sized(WAV, *['Content-Disposition: attachment; filename="a.wav"'] * 2), MALFORMED),
    "an unreadable disposition": (sized(WAV, "Content-Disposition: attachment; filename"), MALFORMED),
    "a name of no audio": (sized(WAV, 'Content-Disposition: attachment; filename="a.exe"'), NOT_AUDIO),
    "a type of no audio": (sized(WAV, "Content-Type: text/html"), NOT_AUDIO),
    "no audio": (sized(bytes(WAV[::-1])), NOT_AUDIO),
}


@pytest.mark.parametrize(("bad", "expected"), FORBIDDEN.values(), ids=FORBIDDEN)
async def test_requests_that_the_rules_forbid(edge: Edge, bad: bytes, expected: tuple[int, str]) -> None:
    assert await edge.refuse(bad) == expected


@pytest.mark.parametrize("door", ["raw", "form"])
@pytest.mark.parametrize("size", [b"xyz", b"-5", b"", b"5 5", b"FFFFFFFFFFFFFFFFF", b"0x5"])
async def test_a_bad_chunk_size_within_a_body(edge: Edge, size: bytes, door: str) -> None:
    head = request(CHUNKED) if door == "raw" else request(CHUNKED, FORM)
    first = WAV if door == "raw" else file()
    begun = head + chunked([first[:500]])[:-5]
    assert await edge.refuse(begun, size + b"\r\nabcde\r\n0\r\n\r\n", pause=0.02) == TRUNCATED


@pytest.mark.parametrize("door", ["raw", "form"])
@pytest.mark.parametrize("coding", ["sized", "chunked"])
@pytest.mark.parametrize("half", [True, False], ids=["half-closed", "closed"])
async def test_a_body_cut_off_by_its_connection(edge: Edge, half: bool, coding: str, door: str) -> None:
    header = ("X: raw" if door == "raw" else FORM,)
    body = WAV if door == "raw" else file() + END
    async with Wire.connect(edge.client) as wire:
        if coding == "sized":
            wire.send(request(f"Content-Length: {len(body) + 1}", *header, body=body))
        else:
            wire.send(request(CHUNKED, *header, body=chunked([body])[:-5]))
        await wire.sent()
        await asyncio.sleep(0.02)
        if half:
            wire.half_close()
            assert b" 201 " not in await wire.rest()
    await edge.assert_nothing_stays()


async def test_chunks_of_one_byte_and_long_extensions_are_read(edge: Edge) -> None:
    body = b"".join(b"1;note=" + b"x" * 50 + b"\r\n%b\r\n" % WAV[at : at + 1] for at in range(len(WAV)))
    (upload,) = await edge.take(request(CHUNKED, body=body + b"0\r\n\r\n"))
    assert upload["sha256"] == hashlib.sha256(WAV).hexdigest()


async def test_a_connection_goes_on_after_success(edge: Edge) -> None:
    async with Wire.connect(edge.client) as wire:
        for good in (sized(WAV), form(file()), request(CHUNKED, body=chunked([WAV]))):
            wire.send(good)
            answer = await wire.answer()
            assert (answer.status, answer.headers.get("connection")) == (201, None)


async def test_a_connection_goes_on_after_an_error_whose_body_was_read(edge: Edge) -> None:
    async with Wire.connect(edge.client) as wire:
        for bad in (form(file(b"")), sized(b"MZ" + bytes(3000)), request("Content-Length: 0")):
            wire.send(bad)
            answer = await wire.answer()
            assert (answer.status // 100, answer.headers.get("connection")) == (4, None)
        wire.send(sized(WAV))
        assert (await wire.answer()).status == 201


@pytest.mark.parametrize(
    "bad",
    [
        sized(WAV * 20, "Content-Type: text/html"),
        sized(WAV * 20, "Content-Encoding: gzip"),
        sized(WAV, "Content-Type: multipart/form-data"),
        sized(WAV, "Expect: 100-continue", "Content-Type: text/html"),
        request(LENGTH, body=WAV, line="POST /nowhere HTTP/1.1"),
        request(LENGTH, body=WAV, line=f"PUT {COLLECTION} HTTP/1.1"),
    ],
    ids=["type", "coding", "boundary", "expectation", "path", "method"],
)
async def test_a_connection_ends_where_a_body_was_not_read(edge: Edge, bad: bytes) -> None:
    async with Wire.connect(edge.client) as wire:
        wire.send(bad + request(line=f"DELETE {COLLECTION} HTTP/1.1"))
        answer = await wire.answer()
        assert (answer.status // 100, answer.headers["connection"]) == (4, "close")
        assert await wire.rest() == b""
    await edge.assert_untouched()


@pytest.mark.parametrize(
    "first",
    [
        request(LENGTH, body=WAV, line="CONNECT edge:80 HTTP/1.1"),
        request("Connection: Upgrade", "Upgrade: h2c", LENGTH, body=WAV),
        request("Connection: Upgrade", "Upgrade: websocket", line="GET /health HTTP/1.1"),
    ],
    ids=["tunnel", "HTTP/2", "WebSocket"],
)
async def test_a_connection_ends_with_a_request_that_would_leave_http(edge: Edge, first: bytes) -> None:
    """Whatever stands behind it: a proxy may take that for its body."""
    async with Wire.connect(edge.client) as wire:
        wire.send(first + sized(WAV) * 2)
        assert (await wire.answer()).headers["connection"] == "close"
        assert await wire.rest() == b""
    assert len(await edge.stored()) == (b"h2c" in first)


def digest(algorithm: str, content: bytes = WAV, name: str = "Repr-Digest") -> str:
    """A digest field (RFC 9530)."""
    value = hashlib.new(algorithm.replace("-", ""), content).digest()
    return f"{name}: {algorithm}=:{b64encode(value).decode()}:"


GOOD_DIGESTS = {
    "sha-256": [digest("sha-256")],
    "sha-512": [digest("sha-512", name="Content-Digest")],
    "both fields": [digest("sha-256"), digest("sha-256", name="Content-Digest")],
    "both algorithms": [digest("sha-256") + ", " + digest("sha-512").partition(" ")[2]],
    "an unknown algorithm": ["Repr-Digest: crc32c=:AAAAAA==:"],
    "a deprecated one that is wrong": ["Repr-Digest: md5=:AAAAAAAAAAAAAAAAAAAAAA==:"],
    "a parameter": [digest("sha-256") + ";q=1"],
    "an empty field": ["Repr-Digest: "],
}
MISMATCH = (400, "digest-mismatch")
BAD_DIGESTS = {
    "wrong": ([digest("sha-256", b"else")], MISMATCH),
    "one of two wrong": ([digest("sha-256"), digest("sha-512", b"else", "Content-Digest")], MISMATCH),
    "too short": (["Repr-Digest: sha-256=:AAAA:"], MISMATCH),
    "contradiction": ([digest("sha-256"), digest("sha-256", b"else", "Content-Digest")], MALFORMED),
    "contradiction in one field": ([digest("sha-256"), digest("sha-256", b"else")], MALFORMED),
    "no byte sequence": (['Repr-Digest: sha-256="abc"'], MALFORMED),
    "an inner list": (["Repr-Digest: sha-256=(:AAAA: :AAAA:)"], MALFORMED),
    "no base64": (["Repr-Digest: sha-256=:!!!!:"], MALFORMED),
    "hexadecimal": ([f"Repr-Digest: sha-256={hashlib.sha256(WAV).hexdigest()}"], MALFORMED),
    "no dictionary": (["Repr-Digest: ====="], MALFORMED),
    "no ASCII": (["Repr-Digest: sha-256=:\xff\xfe:"], MALFORMED),
}


@pytest.mark.parametrize("fields", GOOD_DIGESTS.values(), ids=GOOD_DIGESTS)
async def test_digests_that_do_not_disagree(edge: Edge, fields: list[str]) -> None:
    await edge.take(sized(WAV, *fields))
    await edge.take(form(file(WAV, *fields)))


@pytest.mark.parametrize(("fields", "expected"), BAD_DIGESTS.values(), ids=BAD_DIGESTS)
async def test_digests_that_disagree(edge: Edge, fields: list[str], expected: tuple[int, str]) -> None:
    assert await edge.refuse(sized(WAV, *fields)) == expected
    assert await edge.refuse(form(file(WAV, *fields))) == expected
