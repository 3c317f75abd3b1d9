"""Uploads that are begun, held open, and then all finished at once."""

from __future__ import annotations

import asyncio
from asyncio import Semaphore, StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

from benchmarks.clients.recording import Recording, body
from benchmarks.clients.requests import Request, prepared
from benchmarks.contenders import Door
from benchmarks.failures import Failed
from benchmarks.server import Server

CONNECTING = 64
"""Connections begun at the same time: fewer than any server's backlog."""


class Crowd:
    """Uploads of one recording."""

    def __init__(self, server: Server, door: Door, recording: Recording, begun: int) -> None:
        self._server, self._door, self._recording = server, door, recording
        content = body(door, recording)
        self._length = len(content)
        self._beginning, self._rest = content[:begun], content[begun:]
        self._connections: list[tuple[StreamReader, StreamWriter]] = []

    @property
    def unsent(self) -> int:
        """Bytes that each of them still has to send."""
        return len(self._rest)

    async def begin(self, count: int) -> None:
        """Send the beginning of each."""
        gate = Semaphore(CONNECTING)

        async def begin() -> None:
            async with gate:
                request = await prepared(self._server, self._door, self._recording.size)
                reader, writer = await asyncio.open_connection(request.url.host, request.url.port)
                self._connections.append((reader, writer))
                writer.write(_head(request, self._length) + self._beginning)
                await writer.drain()

        await asyncio.gather(*(begin() for _ in range(count)))

    async def finish(self) -> float:
        """Send the rest of each. Seconds until all are answered; raises Failed unless all are stored."""
        begun = perf_counter()
        statuses = await asyncio.gather(*(self._finish(*connection) for connection in self._connections))
        seconds = perf_counter() - begun
        refused = [status for status in statuses if not status.startswith("2")]
        if refused or self._server.stored(self._recording.size) != len(statuses):
            raise Failed(f"{len(refused)} of {len(statuses)} uploads met {refused[:1]}, or were not stored")
        return seconds

    def abandon(self) -> None:
        """Close all connections."""
        for _, writer in self._connections:
            writer.close()

    async def _finish(self, reader: StreamReader, writer: StreamWriter) -> str:
        """Returns the status, or the error."""
        try:
            writer.write(self._rest)
            await writer.drain()
            return (await reader.readline()).decode().partition(" ")[2].strip()
        except OSError as error:
            return str(error)


@asynccontextmanager
async def held(server: Server, door: Door, recording: Recording, begun: int, count: int) -> AsyncIterator[Crowd]:
    """`count` uploads, `begun` bytes of each sent."""
    crowd = Crowd(server, door, recording, begun)
    try:
        await crowd.begin(count)
        yield crowd
    finally:
        crowd.abandon()


def _head(request: Request, length: int) -> bytes:
    """Up to the body."""
    fields = {"Host": request.url.authority, **request.headers, "Content-Length": str(length)}
    lines = (
        f"{request.method} {request.url.raw_path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in fields.items()),
    )
    return "\r\n".join((*lines, "", "")).encode()
