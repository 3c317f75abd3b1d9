"""What must hold for any bytes a client writes into a form or a header field.

Each target takes bytes and raises only where a property is violated. Hypothesis runs them with the tests; a fuzzer that
watches branches runs them by hand, for as long as somebody likes: see `docs/fuzzing.md`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import urlsplit

from aiohttp.multipart import content_disposition_filename, parse_content_disposition
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict, CIMultiDictProxy

from maie_aiohttp.addresses import prefix
from maie_aiohttp.errors import IntakeError, Malformed
from maie_aiohttp.model import Stored
from maie_aiohttp.pages.content import _range
from maie_aiohttp.protocols import disposition, resumable_fields, tus_fields
from maie_aiohttp.protocols.parts import label, walk
from maie_aiohttp.web import forwarded
from maie_aiohttp.web.headers import LONGEST_KEY, attachment, declared_digests, display_name, idempotency_key
from tests.protocols.test_body import feed, opened

Target = Callable[[bytes], None]
Result = TypeVar("Result")
Parts = list[tuple[object, bytes]] | type[IntakeError]
"""What each part says of itself, and its content; or what the form is refused for."""

ANY_SIZE = 4096
"""Bytes of a part asked for at a time, where that should not matter."""


def _text(data: bytes) -> str:
    """As aiohttp decodes what stands in a header."""
    return data.decode("utf-8", "surrogateescape")


def _or_malformed(parse: Callable[..., Result], *arguments: object) -> Result | None:
    """What is parsed; None where it is refused as malformed, and any other error is one."""
    with suppress(Malformed):
        return parse(*arguments)
    return None


def _fields(**values: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict({name.replace("_", "-"): value for name, value in values.items()}))


# The form


def form(data: bytes) -> None:
    """Its parts, or what it is refused for, are the same in whatever pieces it comes; what is read was sent. The first
    two bytes say in which."""
    first, size, body = data[:1], data[1:2], data[2:]
    step, read = 1 + sum(first), 1 + sum(size)
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    whole, pieced = asyncio.run(_twice(pieces, read))
    assert pieced == whole
    if not isinstance(whole, type):
        assert all(content in body for _, content in whole)


async def _twice(pieces: Sequence[bytes], size: int) -> tuple[Parts, Parts]:
    """In one piece, and in these, read in others."""
    body = b"".join(pieces)
    return await _parts([body] if body else [], ANY_SIZE), await _parts(pieces, size)


async def _parts(pieces: Sequence[bytes], size: int) -> Parts:
    stream, body, _ = opened()
    feeding = asyncio.create_task(feed(stream, list(pieces)))
    found: list[tuple[object, bytes]] = []
    try:
        async for part in walk("b-b", body):
            said = label(part, at_most=None)
            chunks = [chunk async for chunk in part.chunks(size)]
            assert all(0 < len(chunk) <= size for chunk in chunks)
            found.append((said, b"".join(chunks)))
    except IntakeError as error:
        return type(error)
    finally:
        await feeding
        body.close()
    return found


# Header fields


def content_disposition(data: bytes) -> None:
    """A name that is read is fit for showing, and says the same again in the header of a download."""
    found = _or_malformed(disposition.parse, [_text(data)])
    if found is not None and found.filename is not None:
        assert display_name(found.filename) == found.filename
        _, parameters = parse_content_disposition(attachment(found.filename))
        assert content_disposition_filename(parameters) == found.filename


def tus_metadata(data: bytes) -> None:
    """What is read can be written, and is read as the same again."""
    pairs = _or_malformed(tus_fields.metadata, _text(data))
    if pairs is not None:
        written = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())
        assert tus_fields.metadata(written) == pairs
        assert "\0" not in "".join(pairs.values())


def tus_headers(data: bytes) -> None:
    """Numbers are not negative, digests have the length of their algorithm's, and uploads are those that are named."""
    text = _text(data)
    number = _or_malformed(tus_fields.number, text)
    assert number is None or number >= 0
    for name, value in (_or_malformed(tus_fields.checksum, text) or {}).items():
        assert len(value) == hashlib.new(name, usedforsecurity=False).digest_size
    parts = _or_malformed(tus_fields.parts, text)
    assert all(str(id) in text for id in parts or ())
    _or_malformed(tus_fields.length, text, None)
    _or_malformed(tus_fields.length, None, text)


def structured_fields(data: bytes) -> None:
    """Of the IETF's resumable uploads: never an error; a number is not negative, a truth is one."""
    text = _text(data)
    for version in ("", "3", "6", "9"):
        said = resumable_fields.parse(
            _fields(
                Upload_Draft_Interop_Version=version or text,
                Upload_Offset=text,
                Upload_Length=text,
                Upload_Complete=text,
                Upload_Incomplete=text,
            )
        )
        assert said.offset == said.length
        assert said.offset is None or said.offset >= 0
        assert said.complete in (None, True, False)
        assert said.version is None or said.version in resumable_fields.KNOWN


def digests(data: bytes) -> None:
    """What is read can be written, and is read as the same again."""
    found = _or_malformed(declared_digests, [_text(data)])
    if found:
        names = {"sha256": "sha-256", "sha512": "sha-512"}
        written = [f"{names[name]}=:{base64.b64encode(value).decode()}:" for name, value in found.items()]
        assert declared_digests(written) == found


def key(data: bytes) -> None:
    """An `Idempotency-Key` is short and printable, and the same when it is written with quotes."""
    found = _or_malformed(idempotency_key, [_text(data)])
    if found is not None:
        assert found.isascii()
        assert found.isprintable()
        assert 0 < len(found) <= LONGEST_KEY
        escaped = found.replace("\\", "\\\\").replace('"', '\\"')
        assert idempotency_key([f'"{escaped}"']) == found


def ranges(data: bytes) -> None:
    """What is sent of a recording lies in it; without a byte, nothing is."""
    stored = Stored(1000, "audio/wav", "wav", "ab" * 32, "x", datetime.now(UTC))
    request = make_mocked_request("GET", "/")
    request._headers = _fields(Range=_text(data))
    asked = _range(request, stored)
    assert asked is None or (0 <= asked.start < asked.stop <= stored.size and asked.step == 1)


def forwarded_fields(data: bytes) -> None:
    """What a proxy reports is an address of the web or nothing, and the last element's word, whatever stands before."""
    text = _text(data)
    for fields in (
        {"Forwarded": text},
        {"X-Forwarded-Proto": "https", "X-Forwarded-Host": text},
        {"X-Forwarded-Proto": text, "X-Forwarded-Host": "example.org"},
        {"X-Forwarded-Prefix": text},
    ):
        _assert_address(forwarded.root(CIMultiDict(fields)))
    said = forwarded.root(CIMultiDict({"Forwarded": f"{text}, proto=https;host=audio.example.org"}))
    assert said in ("", "https://audio.example.org")


def _assert_address(root: str) -> None:
    address = urlsplit(root)
    assert address.scheme in ("", "http", "https")
    assert bool(address.scheme) is bool(address.netloc)
    assert not address.query + address.fragment
    assert address.username is None
    assert not address.path or prefix(address.path) == address.path
    assert root.isascii()


TARGETS: Mapping[str, tuple[Target, tuple[bytes, ...]]] = {
    "form": (
        form,
        (
            b'\x05\x07--b-b\r\nContent-Disposition: form-data; name="a"; filename="b.wav"\r\n\r\nx\r\n--b-b--\r\n',
            b'\xff\x00--b-b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n--b-b-\r\n--b-b--',
            b"\x00\x00pre\r\n--b-b\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x--\r\n--b-b--\r\nafter",
        ),
    ),
    "content-disposition": (
        content_disposition,
        (
            b"attachment; filename=\"a.wav\"; filename*=UTF-8''%e2%82%ac.wav",
            b"form-data; name=\"a\"; filename*=iso-8859-1''%e9.wav",
            b'form-data; name="a\\"b"; filename="C:\\\\a.wav"; filename*0="x"',
        ),
    ),
    "tus-metadata": (tus_metadata, (b"filename d29ybGQ=,is_confidential", b"a AA==, b ")),
    "tus-headers": (
        tus_headers,
        (
            b"1000",
            b"sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=",
            b"final;/v1/uploads/00000000-0000-4000-8000-000000000000 /v1/uploads/00000000-0000-4000-8000-000000000001",
        ),
    ),
    "structured-fields": (structured_fields, (b"?1", b"?0;a=1", b"100;b", b"-1", b"(1 2)")),
    "digests": (digests, (b"sha-256=:YWJj:, sha-512=:YWJj:;q=1", b"md5=:AA==:")),
    "key": (key, (b'"8e03978e-40d5-43dd-bc93-6894a57f9324"', b'"a\\"b";a=1', b"plain")),
    "ranges": (ranges, (b"bytes=0-499", b"bytes=-500", b"bytes=500-", b"bytes=0-0,-1")),
    "forwarded": (
        forwarded_fields,
        (b'for="[2001:db8::1]";proto=https;host="example.org"', b"example.org:443", b"/audio", b"https"),
    ),
}
"""By name, each with something to begin from."""
