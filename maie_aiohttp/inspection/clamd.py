"""A client of clamd, ClamAV's daemon: one command a connection (clamd(8), section "COMMANDS")."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import aiohappyeyeballs

from maie_aiohttp.addresses import SocketAddress

ANSWER_LIMIT = 4096
"""Bytes; an answer is one line, with the name of a signature in it."""


class NoAnswer(Exception):
    """The connection ended, or what came is no answer."""


class Clamd:
    """The daemon that listens at `address`. Every method raises OSError where nobody does, and `NoAnswer`."""

    def __init__(self, address: SocketAddress) -> None:
        self._address = address

    async def ping(self) -> str:
        """`PONG`."""
        return await self._ask(_alone(b"zPING\0"))

    async def scan(self, chunks: AsyncGenerator[bytes, None]) -> str:
        """`stream: OK`, `stream: <signature> FOUND`, or what it failed of and `ERROR`. Raises what `chunks` raises."""
        return await self._ask(_framed(chunks))

    async def _ask(self, question: AsyncGenerator[bytes, None]) -> str:
        """Works on the bare socket: where the daemon has answered and closed before it heard everything, its answer is
        still there to be read. With asyncio's streams it may be lost."""
        loop = asyncio.get_running_loop()
        with await self._connected() as connection:
            with suppress(ConnectionError):
                async with aclosing(question) as pieces:
                    async for piece in pieces:
                        await loop.sock_sendall(connection, piece)
            return await _answer(connection)

    async def _connected(self) -> socket.socket:
        if isinstance(self._address, str):
            place = (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", self._address)
            return await aiohappyeyeballs.start_connection([place])  # type: ignore[list-item] # its address is no tuple
        places = await asyncio.get_running_loop().getaddrinfo(*self._address, type=socket.SOCK_STREAM)
        return await aiohappyeyeballs.start_connection(places)


async def _alone(command: bytes) -> AsyncGenerator[bytes, None]:
    yield command


async def _framed(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """INSTREAM: each chunk behind its length. A length of zero is the end, so no chunk may be empty."""
    yield b"zINSTREAM\0"
    async with aclosing(chunks):
        async for chunk in chunks:
            if chunk:
                yield len(chunk).to_bytes(4, "big") + chunk
    yield bytes(4)


async def _answer(connection: socket.socket) -> str:
    answer = b""
    while not answer.endswith(b"\0"):
        received = await asyncio.get_running_loop().sock_recv(connection, ANSWER_LIMIT)
        answer += received
        if not received or len(answer) > ANSWER_LIMIT:
            raise NoAnswer(f"{answer[:80]!r}")
    return answer[:-1].decode("utf-8", "replace")
