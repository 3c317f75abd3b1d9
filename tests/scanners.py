"""Malware scanners to talk to: ClamAV's own daemon where it is installed, and one that behaves as it is told."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from maie_aiohttp.addresses import SocketAddress
from maie_aiohttp.inspection.clamd import Clamd, NoAnswer

EICAR = b"*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X"[::-1]
"""What every scanner takes for malware, and is none; backwards, so that none takes this file for it."""

STREAM_MAX_LENGTH = 2 * 2**20
"""Bytes that a scanner here lets come."""

MAX_FILE_SIZE = 2**20
"""Bytes of the largest file that it looks through."""

installed = pytest.mark.skipif(shutil.which("clamd") is None, reason="needs Debian's clamav-daemon")

Answer = Callable[["Caller"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who has connected to a `Fake`."""

    fake: Fake
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def content(self) -> bytes:
        """The whole file, unless it is too long: then the answer says so, and nothing more is read."""
        content = bytearray()
        while length := int.from_bytes(await self.reader.readexactly(4), "big"):
            if len(content) + length > STREAM_MAX_LENGTH:
                await self.say(b"INSTREAM size limit exceeded. ERROR\0")
                raise asyncio.IncompleteReadError(b"", None)
            content += await self.reader.readexactly(length)
        return bytes(content)

    async def say(self, answer: bytes) -> None:
        """Send it."""
        self.writer.write(answer)
        await self.writer.drain()


async def honest(caller: Caller) -> None:
    """As clamd answers."""
    content = await caller.content()
    caller.fake.seen.append(content)
    if EICAR in content[:MAX_FILE_SIZE] and len(content) <= MAX_FILE_SIZE:
        await caller.say(b"stream: Eicar-Test.UNOFFICIAL FOUND\0")
    elif len(content) > MAX_FILE_SIZE:
        await caller.say(b"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0")
    else:
        await caller.say(b"stream: OK\0")


def saying(answer: bytes) -> Answer:
    """After the file, these bytes, and the end of the connection."""

    async def answering(caller: Caller) -> None:
        await caller.content()
        await caller.say(answer)

    return answering


async def hanging(caller: Caller) -> None:
    """Takes the file, and says nothing for as long as anybody waits."""
    await caller.content()
    await caller.reader.read()


async def deaf(_: Caller) -> None:
    """Does not even take the file."""
    await asyncio.Event().wait()


async def dying(caller: Caller) -> None:
    """Is gone after the first bytes."""
    await caller.reader.readexactly(4)
    caller.writer.transport.abort()


async def endless(caller: Caller) -> None:
    """Never ends its answer."""
    await caller.content()
    while True:
        await caller.say(b"stream: " * 1000)


@dataclass(slots=True)
class Fake:
    """A daemon that speaks clamd's protocol. What it does with a file is `answer`'s to say."""

    answer: Answer = honest
    seen: list[bytes] = field(default_factory=list)
    """Every file that it has looked through."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody has begun to show it a file."""
    at_once: int = 0
    most_at_once: int = 0
    pings: bool = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            await self._obey(await reader.readuntil(b"\0"), Caller(self, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _obey(self, command: bytes, caller: Caller) -> None:
        if command == b"zPING\0" and self.pings:
            await caller.say(b"PONG\0")
        elif command == b"zINSTREAM\0":
            await self._look(caller)
        else:
            await caller.say(b"UNKNOWN COMMAND\0")

    async def _look(self, caller: Caller) -> None:
        self.asked.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.answer(caller)
        finally:
            self.at_once -= 1


class Gate:
    """Lets no file through until it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, caller: Caller) -> None:
        await self.opened.wait()
        await honest(caller)


@asynccontextmanager
async def fake_clamd(fake: Fake, socket: Path | None = None) -> AsyncIterator[SocketAddress]:
    """Let it listen, on a Unix socket or on any TCP port."""
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(fake.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    address: SocketAddress
    if socket is None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()[:2]
    else:
        server = await asyncio.start_unix_server(connected, socket)
        address = str(socket)
    try:
        yield address
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@asynccontextmanager
async def real_clamd(folder: Path, *, port: int | None = None) -> AsyncIterator[SocketAddress]:
    """ClamAV's daemon with one signature, on a Unix socket or on a TCP port."""
    database = folder / "signatures"
    database.mkdir(exist_ok=True)
    (database / "eicar.ndb").write_text(f"Eicar-Test:0:*:{EICAR.hex()}\n", encoding="ascii")
    socket = folder / "clamd.ctl"
    listening = f"LocalSocket {socket}" if port is None else f"TCPSocket {port}\nTCPAddr 127.0.0.1"
    (folder / "clamd.conf").write_text(
        f"{listening}\nDatabaseDirectory {database}\nTemporaryDirectory {folder}\nForeground yes\n"
        f"StreamMaxLength {STREAM_MAX_LENGTH}\nMaxFileSize {MAX_FILE_SIZE}\nMaxScanSize {MAX_FILE_SIZE}\n"
        "AlertExceedsMax yes\n",
        encoding="utf-8",
    )
    process = await asyncio.create_subprocess_exec(
        "clamd", "-c", folder / "clamd.conf", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address: SocketAddress = str(socket) if port is None else ("127.0.0.1", port)
    try:
        await _answering(address)
        yield address
    finally:
        process.kill()
        await process.wait()


async def _answering(address: SocketAddress) -> None:
    while True:
        with suppress(OSError, NoAnswer):
            await Clamd(address).ping()
            return
        await asyncio.sleep(0.05)


def as_setting(address: SocketAddress) -> str:
    """As it is written in `scan.clamd`."""
    return f"unix:{address}" if isinstance(address, str) else f"tcp://{address[0]}:{address[1]}"
