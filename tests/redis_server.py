"""A Redis of one's own, from Debian's packages, that can be stopped, killed and started again."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

IS_INSTALLED = shutil.which("redis-server") is not None
NEEDED = "needs Debian's redis-server"

needs_redis = pytest.mark.skipif(not IS_INSTALLED, reason=NEEDED)

START_LIMIT = 30.0
"""Seconds."""

POLL = 0.02
"""Seconds between two looks."""


class RedisServer:
    """Keeps what it acknowledged in `folder`, and comes back at the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._running: Process | None = None

    async def start(self) -> None:
        """Returns when it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        durably = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
        place = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder))
        self._running = await asyncio.create_subprocess_exec("redis-server", *place, *durably, stdout=DEVNULL)
        async with asyncio.timeout(START_LIMIT), self.client() as client:
            await _answering(client)

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, if it runs. Its port stays its own."""
        if self._running is not None:
            self._running.send_signal(how)
            await self._running.wait()
            self._running = None

    def signal(self, number: signal.Signals) -> None:
        """Let it stand still, or go on."""
        assert self._running is not None
        self._running.send_signal(number)

    def client(self, database: int = 0) -> Redis:
        """To be used as a context."""
        return Redis(port=self.port, db=database, decode_responses=True)


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[RedisServer]:
    """A running one; at the end it is gone."""
    server = RedisServer(folder)
    try:
        await server.start()
        yield server
    finally:
        await server.stop(signal.SIGKILL)


async def _answering(client: Redis) -> None:
    """It refuses connections at first, and then commands, until it has read its file."""
    while True:
        with suppress(RedisError):
            await client.ping()
            return
        await asyncio.sleep(POLL)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
