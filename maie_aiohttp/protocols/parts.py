"""The parts of a form (RFC 7578), walked with aiohttp's `MultipartReader`, but read strictly."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.helpers import parse_mimetype
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.multipart import content_disposition_filename, parse_content_disposition

from maie_aiohttp.errors import Malformed, NotAudio
from maie_aiohttp.headers import DIGEST_FIELDS, declared_digests, display_name
from maie_aiohttp.model import Declared
from maie_aiohttp.protocols.body import Body

HEADER_SIZE = 8 * 1024
"""Bytes before the content of a part: the preamble, or the boundary and the header."""

EPILOGUE_SIZE = 1024

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
"""RFC 2046, section 5.1.1."""

_CANNOT_READ = (ValueError, KeyError, AssertionError, RuntimeError, HttpProcessingError, RuntimeWarning)
"""What aiohttp raises at forms it cannot read; left alone, each would be a 500. RuntimeWarning where warnings are
errors."""

_IDENTITY = frozenset({"7bit", "8bit", "binary"})


class Part(BodyPartReader):
    """One part. `read_chunk` looks at every byte once, and raises `Truncated` where no boundary follows."""

    _content: StreamReader
    _begun = False

    async def read_chunk(self, size: int = BodyPartReader.chunk_size) -> bytes:
        """At least one byte of content and at most `size`; empty at the end."""
        if self._at_eof:
            return b""
        body = cast("Body", self._content)
        delimiter = b"\r\n" + self._boundary
        if not self._begun:
            self._begun = True
            if await body.starts_with(self._boundary):  # no content at all, not even its empty line
                self._at_eof = True
                return b""
        chunk = await body.read_before(delimiter, size)
        if not chunk:
            await body.skip(len(b"\r\n"))
            self._at_eof = True
        return chunk

    async def chunks(self, size: int) -> AsyncIterator[bytes]:
        """All of the content, in pieces of at most `size` bytes."""
        while not self.at_eof():
            if chunk := await self.read_chunk(size):
                yield chunk


class FormReader(MultipartReader):
    """aiohttp's reader, with our parts."""

    part_reader_cls = Part


async def walk(request: web.Request, body: Body) -> AsyncIterator[Part]:
    """The parts of a form, to its very end. Raises `Malformed`, and `Truncated` where it breaks off."""
    with _malformed():
        reader = FormReader(request.headers, cast("StreamReader", body))
        while True:
            body.allow_lines(HEADER_SIZE)
            part = await reader.next()
            if part is None:
                break
            if not isinstance(part, Part):
                raise Malformed("A form inside a form is not accepted.")
            yield part
    if await _longer_than(body, EPILOGUE_SIZE):
        raise Malformed("The form goes on behind its final boundary.")


def check_boundary(request: web.Request) -> None:
    """Raises `Malformed` unless the form has a boundary as RFC 2046 allows it."""
    boundary = parse_mimetype(request.headers["Content-Type"]).parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise Malformed("The form has no valid boundary.")


@dataclass(frozen=True, slots=True)
class Label:
    """What a part's header says of it."""

    name: str
    file: Declared | None
    """For a file; None for a text field."""


def label(part: Part, *, at_most: int | None) -> Label:
    """Read a part's header. Raises `Malformed`, and `NotAudio` for content that would have to be decoded."""
    _check_encoding(part)
    dispositions = part.headers.getall("Content-Disposition", [])
    kind, parameters = parse_content_disposition(dispositions[0] if len(dispositions) == 1 else None)
    name = parameters.get("name")
    if kind != "form-data" or name is None:
        raise Malformed("A part of the form does not say which field it is.")
    if "filename" not in parameters and "filename*" not in parameters:
        return Label(name, None)
    return Label(name, _declared(part, content_disposition_filename(parameters), at_most))


def _declared(part: Part, filename: str | None, at_most: int | None) -> Declared:
    digests = [value for field in DIGEST_FIELDS for value in part.headers.getall(field, [])]
    return Declared(
        filename=display_name(filename),
        media_type=part.headers.get("Content-Type"),
        at_most=at_most,
        digests=declared_digests(digests),
    )


def _check_encoding(part: Part) -> None:
    if part.headers.get("Content-Transfer-Encoding", "binary").lower() not in _IDENTITY:
        raise NotAudio("A part of the form is encoded; send its bytes as they are.")
    if part.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise NotAudio("A part of the form is compressed; send its bytes as they are.")


async def _longer_than(body: Body, size: int) -> bool:
    rest = 0
    async for chunk in body.chunks(size):
        rest += len(chunk)
        if rest > size:
            return True
    return False


@contextmanager
def _malformed() -> Iterator[None]:
    try:
        yield
    except _CANNOT_READ:
        raise Malformed("The form is not well formed.") from None
