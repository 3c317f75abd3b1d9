"""A request's body, read strictly: what ends early is an error, what stalls is ended, and no reader starves the loop.

aiohttp's part reader takes a body that breaks off for one that ends, in several ways, and gives everything buffered
without ever letting another task run. Reading through this class, the same multipart parser does neither.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import partial

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

from maie_aiohttp.errors import IntakeError, Malformed, Truncated
from maie_aiohttp.protocols.pace import Pace, Patience
from maie_aiohttp.streams import Chunks
from maie_aiohttp.web.connection import Connection

YIELD_EVERY = 32
"""Reads answered from the buffer before other tasks get a turn: at 64 KiB each, about 2 ms."""

FILL_COSTS = 8
"""Reads that a refill of the buffer counts for: where the body comes in chunks of one byte, it takes 5 ms."""

LITTLE = 4_096
"""Bytes at the end of the buffer that may as well be copied as keep all of it in memory."""


class Body:
    """Has what `aiohttp.MultipartReader` asks of a stream (`readline`, `at_eof`), and what strict part readers need.

    Every read raises `Truncated` if the connection or the framing breaks, and `TooSlow` if the client does not keep
    the pace.
    """

    def __init__(self, request: web.Request, pace: Pace) -> None:
        self._request = request
        self._stream = request.content
        self._patience = Patience(pace)
        self._buffer = b""
        self._start = 0
        self._clear = 0
        """Up to here the buffer is known not to hold the delimiter of `read_before`."""
        self._reads = 0
        self._lines_left = 0
        self._invited = False
        self._salvaged = False

    def interrupt(self, error: IntakeError) -> None:
        """Let the read that waits for the network, or the next one that would have to ask it, raise `error`."""
        self._patience.interrupt(error)

    def close(self) -> None:
        """Nothing more is read."""
        self._patience.end()

    async def inform(self, status: str, fields: Mapping[str, str]) -> None:
        """Send an interim response (RFC 9110, section 15.2), to clients of a version that knows them. `status` is code
        and reason. Who has gone meanwhile does not hear it."""
        if self._request.version < HttpVersion11:
            return
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        with suppress(ConnectionError):
            await self._request.writer.write("\r\n".join(lines).encode("latin-1"))
        self._request.writer.output_size = 0  # the answer itself has not begun

    def allow_lines(self, size: int) -> None:
        """From now on, `readline` gives `size` bytes in all."""
        self._lines_left = size

    def at_eof(self) -> bool:
        """Whether everything has been read."""
        return self._start == len(self._buffer) and self._stream.at_eof()

    def chunks(self, size: int = sys.maxsize) -> AsyncIterator[bytes]:
        """All that is left, in pieces of at most `size` bytes; or as large as they come."""
        return Chunks(partial(self.read, size))

    def taken(self) -> None:
        """What was read is kept somewhere else by now: unless there is more in the buffer, nothing is left of it."""
        if len(self._buffer) <= LITTLE and isinstance(self._request.protocol, Connection):
            self._request.protocol.bytes_taken()

    async def read(self, size: int) -> bytes:
        """At least one byte and at most `size`; empty at the end of the body."""
        if self._start == len(self._buffer) and not await self._fill():
            return b""
        return await self._take(min(self._start + size, len(self._buffer)))

    async def readline(self, *, max_line_length: int | None = None) -> bytes:  # noqa: ARG002 - one budget bounds all lines
        """Up to and including the next line feed, or to the end of the body. Raises `Malformed` beyond what
        `allow_lines` allows."""
        searched = self._start
        while (end := self._buffer.find(b"\n", searched)) < 0:
            waiting = len(self._buffer) - self._start
            if waiting > self._lines_left or not await self._fill():
                break
            searched = waiting
        line = await self._take(len(self._buffer) if end < 0 else end + 1)
        self._lines_left -= len(line)
        if self._lines_left < 0:
            raise Malformed("A part of the form has too long a preamble or header.")
        return line

    async def starts_with(self, marker: bytes) -> bool:
        """Whether the next bytes are `marker`; they are not read."""
        while (there := self._buffer[self._start : self._start + len(marker)]) != marker:
            if not marker.startswith(there) or not await self._fill():
                return False
        return True

    async def read_before(self, delimiter: bytes, size: int) -> bytes:
        """At least one byte and at most `size` that stand before `delimiter`; empty when it is next. Raises
        `Truncated` if the body ends without it. `delimiter` must begin with its only carriage return."""
        if self._clear <= self._start and not await self._search(delimiter):
            return b""
        return await self._take(min(self._start + size, self._clear))

    @property
    def is_at_hand(self) -> bool:
        """Whether `read_before` would give more without waiting."""
        return self._clear > self._start

    async def skip(self, size: int) -> None:
        """Leave out bytes that are known to be there."""
        await self._take(self._start + size)

    async def _search(self, delimiter: bytes) -> bool:
        """Move `_clear` forward. Whether there are bytes before the delimiter."""
        while True:
            found = self._buffer.find(delimiter, self._start)
            self._clear = found if found >= 0 else len(self._buffer) - _overlap(self._buffer, delimiter)
            if self._clear > self._start:
                return True
            if found >= 0:
                return False
            if not await self._fill():
                raise Truncated("The form ends before its final boundary.")

    async def _take(self, end: int) -> bytes:
        self._reads += 1
        if self._reads >= YIELD_EVERY:
            await self._give_way()
        chunk = self._buffer[self._start : end]
        self._start = end
        if len(self._buffer) - end <= LITTLE:
            self._forget_read()
        return chunk

    def _forget_read(self) -> None:
        """Keep nothing that was read: it may be long until more comes, or is wanted."""
        self._buffer = self._buffer[self._start :]
        self._clear = max(0, self._clear - self._start)
        self._start = 0

    async def _fill(self) -> bool:
        """Add what came next to the buffer; False at the end of the body."""
        if self._salvage():
            return True
        if self._patience.interruption and not self._stream.is_eof():
            raise self._patience.interruption
        await self._invite()
        self._forget_read()
        if isinstance(self._request.protocol, Connection):
            self._request.protocol.wait_for_bytes()
        try:
            arrived = await self._arrival()
        except (RequestPayloadError, HttpProcessingError, ConnectionError):
            raise Truncated("The request ended before its body did.") from None
        self._buffer += arrived
        self._reads += FILL_COSTS
        return bool(arrived)

    def _salvage(self) -> bool:
        """Take, once, what had arrived when the body was broken off: the stream itself would only raise from now on."""
        broken = self._patience.interruption is not None or self._stream.exception() is not None
        if not broken or self._salvaged:
            return False
        self._salvaged = True
        left = self._stream._read_nowait(-1)  # noqa: SLF001 - its public sister raises, and drops what is there
        self._forget_read()
        self._buffer += left
        return bool(left)

    async def _invite(self) -> None:
        """Ask for the body before the first read, where the client waits for that (RFC 9110, section 10.1.1)."""
        if not self._invited:
            self._invited = True
            if self._request.headers.get("Expect"):
                await self.inform("100 Continue", {})

    async def _give_way(self) -> None:
        """Let other tasks run."""
        self._reads = 0
        await asyncio.sleep(0)

    async def _arrival(self) -> bytes:
        try:
            return await self._patience.wait(self._stream.readany)
        except RuntimeError:
            if self._request.transport is not None:
                raise
            raise ConnectionResetError from None  # what aiohttp means, where the connection was lost before it read


def _overlap(buffer: bytes, delimiter: bytes) -> int:
    """How many bytes at the end of the buffer may be the beginning of the delimiter."""
    begin = buffer.rfind(delimiter[:1], max(0, len(buffer) - len(delimiter) + 1))
    return len(buffer) - begin if begin >= 0 and delimiter.startswith(buffer[begin:]) else 0
