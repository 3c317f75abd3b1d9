"""A client that sends exactly the bytes it is told to, for requests that no HTTP library would send."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any, Self

from tests import audio
from tests.conftest import Client, files

DEADLINE = 20.0
"""Seconds. No measurement: what takes so long hangs."""

COLLECTION = "/v1/uploads"
BOUNDARY = "edge"
FORM = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
NEXT = b"--edge\r\n"
END = b"--edge--\r\n"

WAV = audio.sample("wav-u8").content
"""A recording of about 10 kB."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, interim ones included."""

    status: int
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The last word of the problem's `type`; empty if the body is no problem document."""
        if self.headers.get("content-type") != "application/problem+json":
            return ""
        return str(self.json()["type"]).rpartition(":")[2]


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def connect(cls, client: Client, *, send_buffer: int | None = None) -> AsyncIterator[Self]:
        """A new connection to the server of `client`; `send_buffer` in bytes, the system's default if None."""
        sock = socket.socket()
        if send_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (str(client.host), client.port))
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    def send(self, data: bytes) -> None:
        """Begin to send; what the server does not take is forgotten with the connection."""
        self._writer.write(data)

    async def sent(self) -> None:
        """Wait until the system has taken most of it."""
        await self._writer.drain()

    def half_close(self) -> None:
        """Send nothing more, but go on listening."""
        self._writer.write_eof()

    @property
    def has_answer(self) -> bool:
        """Whether the server has begun to answer."""
        return bool(self._reader._buffer)  # type: ignore[attr-defined] # StreamReader has no public look-ahead

    async def answer(self) -> Answer:
        """The next response. Raises `asyncio.IncompleteReadError` if the connection ends before it."""
        async with asyncio.timeout(DEADLINE):
            line, _, fields = (await self._reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
            headers = {name.lower(): value for name, value in BytesHeaderParser().parsebytes(fields).items()}
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(line.split()[1]), headers, body)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection, or to its reset."""
        received = bytearray()
        async with asyncio.timeout(DEADLINE):
            with suppress(ConnectionError):
                while block := await self._reader.read(65_536):
                    received += block
        return bytes(received + self._reader._buffer)  # type: ignore[attr-defined] # a reset leaves it there


@dataclass(frozen=True, slots=True)
class Edge:
    """A server as those see it who do not play by the rules."""

    client: Client
    folder: Path

    async def exchange(self, *pieces: bytes, pause: float = 0.0) -> Answer:
        """Send the pieces on a new connection, `pause` seconds between them, and return the answer."""
        async with Wire.connect(self.client) as wire:
            for piece in pieces:
                wire.send(piece)
                await asyncio.sleep(pause)
            return await wire.answer()

    async def refuse(self, *pieces: bytes, pause: float = 0.0) -> tuple[int, str]:
        """Send what must leave no trace. Returns status and problem."""
        answer = await self.exchange(*pieces, pause=pause)
        await self.assert_untouched()
        return answer.status, answer.problem

    async def take(self, *pieces: bytes, pause: float = 0.0) -> list[dict[str, Any]]:
        """Send what must be stored byte for byte, and delete it. Returns the records."""
        answer = await self.exchange(*pieces, pause=pause)
        assert answer.status == 201, answer.body
        records: list[dict[str, Any]] = answer.json().get("uploads") or [answer.json()]
        assert len(files(self.folder)) == len(records)
        await self.clear()
        return records

    async def assert_untouched(self) -> None:
        """Nothing is stored, in no folder and in no record, and the server serves."""
        assert await self.stored() == []
        assert files(self.folder) == []

    async def assert_nothing_stays(self) -> None:
        """What was begun is thrown away soon, and then nothing is stored."""
        async with asyncio.timeout(DEADLINE):
            while files(self.folder) or await self.stored():  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(0.01)

    async def stored(self) -> list[dict[str, Any]]:
        """The records of all uploads."""
        async with self.client.get(COLLECTION) as answer:
            records: list[dict[str, Any]] = (await answer.json())["uploads"]
            return records

    async def clear(self) -> None:
        """Delete all uploads."""
        for record in await self.stored():
            async with self.client.delete(record["links"]["self"]) as deleted:
                assert deleted.status == 204


def request(*headers: str, body: bytes = b"", line: str = f"POST {COLLECTION} HTTP/1.1") -> bytes:
    """A request of exactly these header fields besides Host."""
    return "\r\n".join((line, "Host: localhost", *headers, "", "")).encode("latin-1") + body


def sized(body: bytes, *headers: str) -> bytes:
    """A request with the right Content-Length."""
    return request(f"Content-Length: {len(body)}", *headers, body=body)


def form(*parts: bytes, end: bytes = END) -> bytes:
    """A request with a form in it."""
    return sized(b"".join(parts) + end, FORM)


def part(content: bytes, *headers: str) -> bytes:
    """A part of a form, from its boundary to the line end behind its content."""
    return NEXT + "\r\n".join((*headers, "", "")).encode("latin-1") + content + b"\r\n"


def file(content: bytes = WAV, *headers: str, name: str = "speech.wav") -> bytes:
    """A part with a file."""
    return part(content, f'Content-Disposition: form-data; name="file"; filename="{name}"', *headers)


def text(name: str, content: bytes) -> bytes:
    """A part with a text field."""
    return part(content, f'Content-Disposition: form-data; name="{name}"')


def chunked(chunks: Iterable[bytes]) -> bytes:
    """A body in the chunked coding (RFC 9112, section 7.1)."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
