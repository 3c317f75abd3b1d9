"""The parts of a form (RFC 7578), walked with aiohttp's `MultipartReader`, but read strictly."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.helpers import parse_mimetype
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDictProxy

from maie_aiohttp.errors import Malformed, NotAudio
from maie_aiohttp.model import Declared
from maie_aiohttp.protocols import disposition
from maie_aiohttp.protocols.body import Body
from maie_aiohttp.protocols.declaration import declared
from maie_aiohttp.streams import Chunks
from maie_aiohttp.web.headers import is_plain

HEADER_SIZE = 8 * 1024
"""Bytes before the content of a part: the preamble, or the boundary and the header."""

EPILOGUE_SIZE = 1024

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
"""RFC 2046, section 5.1.1."""

_CANNOT_READ = (ValueError, HttpProcessingError)
"""What aiohttp raises at forms it cannot read; left alone, each would be a 500."""

_IDENTITY = frozenset({"7bit", "8bit", "binary"})


class Part(BodyPartReader):
    """One part. `read_chunk` looks at every byte once, and raises `Truncated` where no boundary follows."""

    _content: StreamReader
    _begun = False

    def __init__(self, boundary: bytes, headers: CIMultiDictProxy[str], content: StreamReader, **_: object) -> None:
        # As part of a form, whose parts' own Content-Length means nothing (RFC 7578, section 4.8).
        super().__init__(boundary, headers, content, subtype="form-data")

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

    async def is_empty(self) -> bool:
        """Whether there is no content; to be asked before any is read."""
        body = cast("Body", self._content)
        return await body.starts_with(self._boundary) or await body.starts_with(b"\r\n" + self._boundary)

    def chunks(self, size: int) -> AsyncIterator[bytes]:
        """All of the content, read in pieces of `size` bytes at most. Those that came together are handed on together:
        nothing of them is left while those who take them wait."""
        return Chunks(partial(self._read_together, size))

    async def _read_together(self, size: int) -> bytes:
        pieces = [await self.read_chunk(size)]
        while cast("Body", self._content).is_at_hand:
            pieces.append(await self.read_chunk(size))
        return b"".join(pieces)


class FormReader(MultipartReader):
    """aiohttp's reader, with our parts. It is not told that it reads a form: of a form's first field it would want to
    know whether it is called `_charset_`, and then lose its way."""

    part_reader_cls = Part
    multipart_reader_cls = MultipartReader

    def __init__(self, boundary: str, body: Body) -> None:
        super().__init__({"Content-Type": f'multipart/mixed; boundary="{boundary}"'}, cast("StreamReader", body))


async def walk(boundary: str, body: Body) -> AsyncIterator[Part]:
    """The parts of a form, to its very end. Raises `Malformed`, and `Truncated` where it breaks off."""
    with _malformed():
        reader = FormReader(boundary, body)
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


def boundary_of(request: web.Request) -> str:
    """What separates the parts. Raises `Malformed` unless it is there, and as RFC 2046 allows it."""
    boundary = parse_mimetype(request.headers["Content-Type"]).parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise Malformed("The form has no valid boundary.")
    return boundary


@dataclass(frozen=True, slots=True)
class Label:
    """What a part's header says of it."""

    name: str
    file: Declared | None
    """For a file; None for a text field."""


def label(part: Part, *, at_most: int | None) -> Label:
    """Read a part's header. Raises `Malformed`, and `NotAudio` for content that would have to be decoded."""
    _check_encoding(part)
    place = disposition.parse(part.headers.getall("Content-Disposition", []))
    name = place.parameters.get("name")
    if place.kind != "form-data" or name is None:
        raise Malformed("A part of the form does not say which field it is.")
    return Label(name, declared(part.headers, place.filename, at_most=at_most) if place.is_file else None)


def _check_encoding(part: Part) -> None:
    if not _IDENTITY.issuperset(map(str.lower, part.headers.getall("Content-Transfer-Encoding", []))):
        raise NotAudio("A part of the form is encoded; send its bytes as they are.")
    if not is_plain(part.headers.getall("Content-Encoding", [])):
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
