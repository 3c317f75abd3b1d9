"""Everything at once, for as long as it is told to: all doors, uploads in pieces, hostile clients, deletions, a disk
that fills up and empties, workers and whole servers that are killed. What was acknowledged is kept, nobody meets an
error that is not the disk's or a moment's, and at rest a server needs no more than the first one did."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio import Event, TaskGroup
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic

from aiohttp import ClientError, ClientSession
from yarl import URL

from tests.layers import memory_disk
from tests.scenarios.client import DOORS, UPLOADS, Door, client, upload
from tests.scenarios.interruptions import PROTOCOLS, Protocol, create
from tests.scenarios.kills import Ledger, lasting_differences
from tests.scenarios.process import KIB, MIB, Process, serving
from tests.scenarios.recordings import Recording, mixed
from tests.scenarios.report import Report

LIFE = 30.0
"""Seconds that a server lives, at most."""
DISK = 192 * MIB
"""Bytes of the disk, where one can be made."""
SIZES = ((KIB, 60 * KIB), (60 * KIB, 400 * KIB), (MIB, 4 * MIB))
KEPT = 20
"""Uploads that are not deleted when the disk is full."""
TEMPORARY = {503, 507}
"""What an upload may meet: the disk is full, or the catalog, or too much is under way."""
OUSTED = {404, 409, 410, 423}
"""What else a request may meet that continues an upload."""
FILLED = 0.5
"""Seconds that somebody else fills the disk."""
REST = 2.0
"""Seconds after which a server is at rest."""
GROWTH = 40 * MIB
"""Bytes resident that a worker may need more at rest than the first one did."""

SETTINGS = {
    "server.workers": "2",
    "server.header_timeout": "2 s",
    "limits.idle_timeout": "2 s",
    "inspector.workers": "2",
    "storage.reserve": "8 MiB",
    "storage.reserve_ratio": "100 %",
}

ABUSE: tuple[bytes, ...] = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50,
    b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nRIFF",
    b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + bytes(70_000),
    b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    b"Content-Length: 900000\r\n\r\n" + b"--x\r\n" * 10_000,
    b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)
"""What hostile clients send before they wait, or break off."""


@dataclass(slots=True)
class Tally:
    """What happened."""

    ledger: Ledger = field(default_factory=Ledger)
    statuses: Counter[int] = field(default_factory=Counter)
    resident: list[int] = field(default_factory=list)
    """Bytes of the largest worker, at rest, of each server."""
    servers: int = 0
    violations: list[str] = field(default_factory=list)

    def met(self, what: str, status: int, allowed: set[int]) -> bool:
        """Note a status. Returns whether it is a success."""
        self.statuses[status] += 1
        if status >= 300 and status not in allowed:
            self.violations.append(f"{what} met {status}")
        return status < 300


class Load:
    """All clients of one server, until it is over."""

    def __init__(self, server: Process, session: ClientSession, folder: Path, tally: Tally, choice: Random) -> None:
        self._server = server
        self._session = session
        self._folder = folder
        self._tally = tally
        self._choice = choice
        self._over = Event()
        self._full = Event()

    async def run(self, seconds: float, *, deadly: bool) -> None:
        """Let them all go on for so long; if it is `deadly`, until the server is killed."""
        async with TaskGroup() as group:
            for door in DOORS * 2:
                group.create_task(self._again_and_again(lambda door=door: self._upload(door)))  # type: ignore[misc]  # a default
            for protocol in PROTOCOLS:
                group.create_task(self._again_and_again(lambda protocol=protocol: self._in_pieces(protocol)))  # type: ignore[misc]  # a default
            for work in (self._abuse, self._abuse, self._make_room, self._fill, self._kill_worker):
                group.create_task(self._again_and_again(work))
            await asyncio.sleep(seconds)
            if deadly:
                self._server.signal(signal.SIGKILL)
            self._over.set()

    async def _again_and_again(self, work: Callable[[], Awaitable[None]]) -> None:
        while not self._over.is_set():
            with suppress(ClientError, ConnectionError, asyncio.IncompleteReadError):
                await work()
            await asyncio.sleep(0)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    async def _upload(self, door: Door) -> None:
        recording = self._recording()
        answer = await upload(self._session, door, recording)
        if self._tally.met("an upload", answer.status, TEMPORARY):
            self._tally.ledger.acknowledged[answer.record["id"]] = (recording.size, recording.sha256())
        elif answer.status == 507:
            self._full.set()
            await self._pause(0.1)

    async def _in_pieces(self, protocol: Protocol) -> None:
        recording = self._recording()
        content = b"".join(recording.pieces())
        try:
            path = f"{UPLOADS}/{await create(self._session, protocol.creation(len(content)))}"
        except AssertionError:  # refused
            self._full.set()
            return await self._pause(0.1)
        told = offset = 0
        while offset < len(content) and not self._over.is_set():
            end = min(len(content), offset + self._choice.randint(1, 300 * KIB))
            await self._append(path, protocol, offset, content[offset:end], last=end == len(content))
            if (asked := await self._offset(path, protocol)) is None:
                return None
            if asked < told:
                self._tally.violations.append(f"offset {asked} was told after {told}")
            told = offset = asked
        if offset == len(content):
            self._tally.ledger.acknowledged[URL(path).name] = (recording.size, recording.sha256())
        return None

    async def _append(self, path: str, protocol: Protocol, offset: int, content: bytes, *, last: bool) -> None:
        with suppress(ClientError):
            headers = protocol.append(offset, last=last)
            async with self._session.patch(path, data=content, headers=headers) as answer:
                self._tally.met("an append", answer.status, TEMPORARY | OUSTED)

    async def _offset(self, path: str, protocol: Protocol) -> int | None:
        """Where it stands; asked until a server answers, None when there is none any more."""
        while not self._over.is_set():
            with suppress(ClientError):
                async with self._session.head(path, headers=protocol.always) as answer:
                    if self._tally.met("HEAD", answer.status, TEMPORARY | OUSTED):
                        return int(answer.headers["Upload-Offset"])
                    return None
            await self._pause(0.05)
        return None

    async def _abuse(self) -> None:
        url = URL(await self._server.url())
        reader, writer = await asyncio.open_connection(url.host, url.port)
        try:
            writer.write(self._choice.choice(ABUSE))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._choice.choice((0.01, 0.3, 3.0))):
                    line = await reader.readline()
                    self._tally.met("abuse", int(line.split()[1]) if line else 0, {*range(400, 500), *TEMPORARY})
        finally:
            writer.transport.abort()

    async def _make_room(self) -> None:
        """Delete most of what there is when the disk is full."""
        await self._pause(0.2)
        if not self._full.is_set():
            return
        self._full.clear()
        ledger = self._tally.ledger
        for id in list(ledger.must_be_there())[:-KEPT]:
            ledger.in_doubt.add(id)
            async with self._session.delete(f"{UPLOADS}/{id}") as answer:
                if self._tally.met("a deletion", answer.status, TEMPORARY):
                    ledger.deleted.add(id)

    async def _fill(self) -> None:
        """Somebody else takes all the room there is, and gives it back."""
        await self._pause(self._choice.uniform(1, 5))
        if _is_own_disk(self._folder):
            with filled(self._folder.parent / "filler"):
                await self._pause(FILLED)

    async def _kill_worker(self) -> None:
        await self._pause(self._choice.uniform(1, 8))
        with suppress(IndexError, OSError):  # there is none just now
            os.kill(self._choice.choice(self._server.children()), signal.SIGKILL)

    def _recording(self) -> Recording:
        return mixed(self._choice, *self._choice.choice(SIZES))


async def run(folder: Path, *, seconds: float) -> Report:
    """Go on for so long, with one server after the other."""
    tally, choice, end = Tally(), Random(6), monotonic() + seconds
    with _disk(folder) as data:
        while (left := end - monotonic()) > 0:
            await _live(data, tally, choice, min(LIFE, left, seconds / 4), deadly=True)
            await _live(data, tally, choice, min(LIFE, left, seconds / 4), deadly=False)
        orphans = sum(1 for _ in (data / "orphans").iterdir())
    return Report(f"{seconds:.0f} s of everything at once", _figures(tally, orphans), tally.violations)


async def _live(data: Path, tally: Tally, choice: Random, seconds: float, *, deadly: bool) -> None:
    """One server, looked after at its start, and at its end if it is not killed before."""
    async with serving(data, SETTINGS) as server:
        tally.violations += await lasting_differences(server, data, tally.ledger)
        async with client(server, anew=True) as session:
            await Load(server, session, data, tally, choice).run(seconds, deadly=deadly)
        if not deadly:
            tally.violations += await lasting_differences(server, data, tally.ledger)
            await _rest(server, data, tally)
    tally.servers += 1
    tally.violations += [f"logged: {line}" for line in server.log if _is_error(line)]


@contextmanager
def _disk(folder: Path) -> Iterator[Path]:
    """A place for data: on a disk of its own, if that can be."""
    with ExitStack() as stack:
        if os.geteuid() == 0:
            folder = stack.enter_context(memory_disk(folder, f"size={DISK},mode=755"))
        yield folder / "data"


def _is_own_disk(folder: Path) -> bool:
    return folder.parent.is_mount()


@contextmanager
def filled(filler: Path) -> Iterator[None]:
    """No room."""
    with filler.open("wb", buffering=0) as taken, suppress(OSError):
        while True:
            taken.write(bytes(64 * KIB))
    try:
        yield
    finally:
        filler.unlink()


async def _rest(server: Process, folder: Path, tally: Tally) -> None:
    """Look at what a server keeps when nobody wants anything."""
    await asyncio.sleep(REST)
    workers = server.children()
    tally.resident.append(max(_resident(worker) for worker in workers))
    if tally.resident[-1] > tally.resident[0] + GROWTH:
        tally.violations.append(f"a worker at rest needs {tally.resident[-1] / MIB:.0f} MiB")
    for worker in workers:
        for name in _open_files(worker):
            if name.startswith(str(folder)) and Path(name).suffix in (".part", ".wav", ".mp3"):
                tally.violations.append(f"{name} is still open at rest")


def _resident(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith("VmRSS"))


def _open_files(process: int) -> list[str]:
    return [str(path.readlink()) for path in Path(f"/proc/{process}/fd").iterdir() if path.is_symlink()]


def _is_error(line: str) -> bool:
    """Whether it tells of a failure that is not the full disk's."""
    return '"level": "error"' in line and "no room" not in line.lower()


def _figures(tally: Tally, orphans: int) -> dict[str, str]:
    statuses = ", ".join(f"{status or 'none'}: {count}" for status, count in sorted(tally.statuses.items()))
    return {
        "uploads acknowledged": str(len(tally.ledger.acknowledged)),
        "deletions acknowledged": str(len(tally.ledger.deleted)),
        "orphans put aside": str(orphans),
        "answers": statuses,
        "servers": str(tally.servers),
        "resident at rest": f"{min(tally.resident) / MIB:.0f} to {max(tally.resident) / MIB:.0f} MiB a worker",
    }
