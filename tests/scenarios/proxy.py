"""A proxy that fails as networks do: it forgets connections, resets them, and loses answers."""

from __future__ import annotations

import asyncio
import socket
import struct
from asyncio import Queue, StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

from yarl import URL

PIECE = 65_536


class Tunnel:
    """One client's connection, carried on to the server."""

    def __init__(
        self, client: tuple[StreamReader, StreamWriter], server: tuple[StreamReader, StreamWriter], *, mute: bool
    ) -> None:
        self._client = client[1]
        self._server = server[1]
        down = _drain(server[0]) if mute else _carry(server[0], self._client)
        self._tasks = asyncio.create_task(_carry(client[0], self._server)), asyncio.create_task(down)

    async def answered(self) -> None:
        """Return when the server has closed the connection."""
        await asyncio.wait(self._tasks[1:])

    def freeze(self) -> None:
        """Carry nothing any more, not even the end of the connection; both sides stay open."""
        for task in self._tasks:
            task.cancel()

    def reset_server(self) -> None:
        """Break off the server's side; the client's stays open."""
        self.freeze()
        reset(self._server)

    def reset_client(self) -> None:
        """Break off the client's side; the server's stays open."""
        self.freeze()
        reset(self._client)

    def close(self) -> None:
        """Let go of both sides."""
        self.freeze()
        for writer in (self._client, self._server):
            writer.transport.abort()


class Proxy:
    """Listens on a port of its own."""

    def __init__(self) -> None:
        self.target = URL()
        """The server."""
        self.mute = False
        """Whether connections made from now on carry nothing back."""
        self.opened: Queue[Tunnel] = Queue()
        """The connections, in the order they came."""
        self.url = URL()
        self._tunnels: list[Tunnel] = []

    @classmethod
    @asynccontextmanager
    async def listening(cls) -> AsyncIterator[Self]:
        """A proxy for as long as it takes. What it carries ends with it."""
        proxy = cls()
        server = await asyncio.start_server(proxy._accept, "127.0.0.1")
        host, port = server.sockets[0].getsockname()
        proxy.url = URL.build(scheme="http", host=host, port=port)
        try:
            yield proxy
        finally:
            server.close()
            proxy.forget()

    def forget(self) -> None:
        """Let go of all connections there were."""
        while self._tunnels:
            self._tunnels.pop().close()

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        server = await asyncio.open_connection(self.target.host, self.target.port)
        tunnel = Tunnel((reader, writer), server, mute=self.mute)
        self._tunnels.append(tunnel)
        self.opened.put_nowait(tunnel)


def reset(writer: StreamWriter) -> None:
    """Close a connection with a reset; what the other side has not taken yet is lost."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _carry(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def _drain(reader: StreamReader) -> None:
    with suppress(ConnectionError):
        while await reader.read(PIECE):
            pass
