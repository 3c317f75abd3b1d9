"""A server of several workers, and a client that chooses which of them serves it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp import AddrInfoType, ClientSession, TCPConnector

from tests.scenarios import process
from tests.scenarios.process import Process

POLL = 0.05
PATIENCE = 20.0
"""Seconds. No measurement: what takes so long hangs."""


@dataclass(frozen=True, slots=True)
class Crew:
    """The server."""

    server: Process
    folder: Path

    @property
    def pids(self) -> Sequence[int]:
        """Of the workers."""
        return self.server.children()

    @asynccontextmanager
    async def client_of(self, worker: int) -> AsyncIterator[ClientSession]:
        """One connection, to the worker with this process id. Whatever ends it leads to any worker then."""
        while True:
            sockets: list[socket.socket] = []
            connector = TCPConnector(limit=1, socket_factory=partial(_remembered, sockets))
            async with ClientSession(await self.server.url(), connector=connector) as session:
                async with session.get("/health") as answer:
                    await answer.read()
                if _has_other_end(worker, sockets[-1]):
                    yield session
                    return

    async def replaced(self, worker: int) -> None:
        """Kill it, and wait until the log tells of its successor."""
        os.kill(worker, signal.SIGKILL)
        await self.logged(f'"died": {worker}')

    async def logged(self, *texts: str, times: int = 1) -> None:
        """Wait until so many lines have all of this in them."""
        await until(lambda: sum(all(text in line for text in texts) for line in self.server.log) >= times)

    def unfinished(self) -> set[str]:
        """The marks of uploads."""
        return {path.stem for path in (self.folder / "incoming").iterdir()}

    async def left(self, count: int) -> None:
        """Wait until there are so many marks."""
        await until(lambda: len(self.unfinished()) == count)


async def until(comes_true: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    async with asyncio.timeout(PATIENCE):
        while not comes_true():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(POLL)


@asynccontextmanager
async def serving(folder: Path, settings: Mapping[str, str] | None = None) -> AsyncIterator[Crew]:
    """Two workers that serve; killed at the end, if they still run then."""
    async with process.serving(folder, {"server.workers": "2", **(settings or {})}) as server:
        crew = Crew(server, folder)
        await crew.logged('"worker": 0')
        await crew.logged('"worker": 1')
        yield crew


def _remembered(sockets: list[socket.socket], address: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    sockets.append(socket.socket(family, kind, protocol))
    return sockets[-1]


def _has_other_end(pid: int, connected: socket.socket) -> bool:
    server, client = connected.getpeername()[1], connected.getsockname()[1]
    return f"socket:[{_inode(server, client)}]" in _open_files(pid)


def _inode(local: int, remote: int) -> str:
    """Of the socket between two ports. See proc_net_tcp(5)."""
    ends = [f":{port:04X}" for port in (local, remote)]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if [fields[1][-5:], fields[2][-5:]] == ends:
            return fields[9]
    return ""


def _open_files(pid: int) -> set[str]:
    files = set()
    with suppress(FileNotFoundError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                files.add(str(entry.readlink()))
    return files
