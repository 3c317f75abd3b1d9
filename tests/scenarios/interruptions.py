"""One upload, interrupted again and again in every way there is, and continued each time: what clients were told is
kept, what they sent is kept up to a known measure, and in the end every byte is where it belongs."""

from __future__ import annotations

import asyncio
import math
import signal
import sqlite3
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Self
from uuid import UUID

from aiohttp import ClientSession
from yarl import URL

from maie_aiohttp.limits.unread import HELD_RECEIPTS, LARGEST
from tests.scenarios.client import UPLOADS, Record, client, listed, read_back
from tests.scenarios.process import KIB, MIB, Process, launch
from tests.scenarios.proxy import Proxy, reset
from tests.scenarios.recordings import Recording, wav
from tests.scenarios.report import Report

SIZE = 64_000_000
SETTINGS = {"server.drain_timeout": "100 ms", "server.linger": "100 ms"}
KILL_LIMIT = 16 * MIB
"""Bytes sent that a kill may cost."""
PIECE = 64 * KIB
"""Bytes that a client sends at once."""
LULLS = (0.0, 0.0, 0.002, 0.02)
"""Seconds between the last byte and the interruption."""
BLINDLY = 0.3
"""The share of clients that come back with an append where they think the upload ends; the others ask first."""
DEADLINE = 60.0
"""Seconds. No measurement: what takes so long hangs."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How clients speak of uploads that come in pieces."""

    name: str
    always: Mapping[str, str]
    """Header fields of every request."""
    content_type: str
    unfinished: Mapping[str, str]
    """Fields of a request after which more bytes follow."""
    finished: Mapping[str, str]
    """Fields of a request that brings the last bytes."""
    deferred: Mapping[str, str]
    """Fields of a creation that does not tell the length."""

    def creation(self, size: int | None) -> dict[str, str]:
        """The fields that begin an upload of so many bytes, None if that is not known yet."""
        length = self.deferred if size is None else {"Upload-Length": str(size)}
        return {**self.always, **self.unfinished, **length}

    def append(self, offset: int, *, last: bool) -> dict[str, str]:
        """The fields that continue an upload there."""
        end = self.finished if last else self.unfinished
        return {**self.always, **end, "Content-Type": self.content_type, "Upload-Offset": str(offset)}


TUS = Protocol(
    "tus",
    always={"Tus-Resumable": "1.0.0"},
    content_type="application/offset+octet-stream",
    unfinished={},
    finished={},
    deferred={"Upload-Defer-Length": "1"},
)
IETF = Protocol(
    "IETF",
    always={"Upload-Draft-Interop-Version": "9"},
    content_type="application/partial-upload",
    unfinished={"Upload-Complete": "?0"},
    finished={"Upload-Complete": "?1"},
    deferred={},
)
PROTOCOLS = (TUS, IETF)


async def create(session: ClientSession, fields: Mapping[str, str]) -> str:
    """Begin an upload. Returns its id."""
    async with session.post(UPLOADS, headers=fields) as response:
        assert response.status == 201, f"{response.status}: {await response.text()}"
        return URL(response.headers["Location"]).name


@dataclass(frozen=True, slots=True)
class Told:
    """What the server says to a request that continues an upload."""

    status: int
    offset: int | None


class Sending:
    """One request that continues an upload, on a connection of its own."""

    def __init__(self, reader: StreamReader, writer: StreamWriter, hear: Callable[[int], None]) -> None:
        self._reader = reader
        self._writer = writer
        self._writer.transport.set_write_buffer_limits(high=0)
        self._hear = hear
        self._heard = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    @asynccontextmanager
    async def to(
        cls, server: URL, path: str, fields: Mapping[str, str], size: int, hear: Callable[[int], None]
    ) -> AsyncIterator[Self]:
        """Begin a request with `size` bytes of content; `hear` is called with each offset that is told meanwhile. At
        the end the connection is closed, if it still is open."""
        reader, writer = await asyncio.open_connection(server.host, server.port)
        sending = cls(reader, writer, hear)
        head = {"Host": server.authority, "Connection": "close", "Content-Length": str(size), **fields}
        lines = [f"PATCH {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        try:
            yield sending
        finally:
            sending.close()

    async def send(self, content: bytes | memoryview) -> None:
        """Send some of the content, and wait until the system has taken it. Raises ConnectionError."""
        self._writer.write(content)
        await self._writer.drain()

    async def invited(self) -> bool:
        """Whether the server asks for the content. `Expect: 100-continue` must be among the fields."""
        async with asyncio.timeout(DEADLINE):
            await self._heard.wait()
        return not self._listening.done()

    async def answer(self) -> Told | None:
        """The final answer, None if the connection ends before it."""
        async with asyncio.timeout(DEADLINE):
            return await self._listening

    async def hang_up(self) -> None:
        """Say that no more bytes come, and wait until the server has hung up as well."""
        self._writer.write_eof()
        await self.answer()

    def close(self) -> None:
        """End the connection, and hear nothing any more."""
        self._listening.cancel()
        self._writer.close()

    def reset(self) -> None:
        """Break the connection off."""
        self._listening.cancel()
        reset(self._writer)

    async def _listen(self) -> Told | None:
        try:
            with suppress(IncompleteReadError, ConnectionError):
                while (told := await self._next()).status < 200:
                    self._heard.set()
                return told
        finally:
            self._heard.set()
        return None

    async def _next(self) -> Told:
        line, _, fields = (await self._reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
        offset = BytesHeaderParser().parsebytes(fields)["Upload-Offset"]
        if offset is not None:
            self._hear(int(offset))
        return Told(int(line.split()[1]), None if offset is None else int(offset))


@dataclass(slots=True)
class Tally:
    """What became of the rounds."""

    rounds: Counter[str] = field(default_factory=Counter)
    """How many there were of each kind."""
    lost: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Of each kind, the most bytes that had been sent and had to be sent again."""
    violations: list[str] = field(default_factory=list)


class Uploader:
    """Whoever sends one upload, with the server that takes it."""

    def __init__(self, folder: Path, protocol: Protocol, content: bytes, proxy: Proxy, tally: Tally) -> None:
        self.protocol = protocol
        self.proxy = proxy
        self.server: Process
        self.path = ""
        self.sent = 0
        """Where the bytes end that the system took; those sent before the last interruption count as far as they were
        kept."""
        self._folder = folder
        self._content = memoryview(content)
        self._tally = tally
        self._told = 0
        self._round = ""

    async def start(self) -> None:
        """Start a server."""
        self.server = await launch(self._folder, SETTINGS)
        self.proxy.target = URL(await self.server.url())

    async def ended(self) -> int:
        """Wait for the end of the server. Returns its exit status."""
        status = await self.server.ended()
        for line in self.server.log:
            if '"level": "error"' in line:
                self.complain(f"logged: {line}")
        return status

    def was_idle(self) -> bool:
        """Whether the server had not seen any request when it was told to stop."""
        return any('"receiving": 0' in line for line in self.server.log)

    async def begin(self) -> None:
        """Create the upload."""
        async with client(self.server) as session:
            id = await create(session, self.protocol.creation(len(self._content)))
        self.path = f"{UPLOADS}/{id}"

    async def interrupt(self, kind: Kind, choice: Random) -> None:
        """Send some more bytes, and be interrupted; then come back, and look at what was kept."""
        self._tally.rounds[kind.name] += 1
        self._round = f"round {self._tally.rounds.total()}, {kind.name}"
        amount, start, before = kind.amount(choice, len(self._content) - self.sent), self.sent, self._size()
        async with self._append(amount, kind) as sending:
            await asyncio.sleep(choice.choice(LULLS))
            size = self._size()
            written = start if size == before else size
            await kind.interrupt(self, sending)
        await self._come_back(kind, written, blindly=choice.random() < BLINDLY)

    async def check(self, recording: Recording) -> None:
        """Look whether that is what the server has, and nothing else."""
        async with client(self.server) as session:
            stored = [(record["size"], record["sha256"]) for record in (await listed(session)).values()]
            if stored != [(recording.size, recording.sha256())]:
                self.complain(f"not the one upload that was sent is stored, but {stored}")
            for difference in await differences(session, self._folder):
                self.complain(difference)

    def complain(self, violation: str) -> None:
        """Note what must never happen."""
        self._tally.violations.append(f"{self.protocol.name}, {self._round}: {violation}")

    def hear(self, offset: int) -> None:
        """Note an offset that the server told."""
        if offset < self._told:
            self.complain(f"offset {offset} was told after {self._told}")
        self._told = max(offset, self._told)

    @asynccontextmanager
    async def _append(self, amount: int, kind: Kind) -> AsyncIterator[Sending]:
        """A request of which so many bytes were sent."""
        self.proxy.mute = kind.mute
        server = self.proxy.url if kind.proxied else self.proxy.target
        start, left = self.sent, len(self._content) - self.sent
        size = amount if kind.mute else left
        fields = self.protocol.append(start, last=size == left)
        async with Sending.to(server, self.path, fields, size, self.hear) as sending:
            try:
                while self.sent < start + amount:
                    piece = self._content[self.sent : min(self.sent + PIECE, start + amount)]
                    await sending.send(piece)
                    self.sent += len(piece)
            except ConnectionError:
                self.complain("the server broke off")
            yield sending

    async def _come_back(self, kind: Kind, written: int, *, blindly: bool) -> None:
        async with client(self.server) as session:
            if blindly:
                await self._ask(session, "PATCH", self.protocol.append(self.sent, last=False))
            offset = await self._ask(session, "HEAD", self.protocol.always)
        self.proxy.forget()
        self._compare(kind, offset, written)
        self.sent = offset

    async def _ask(self, session: ClientSession, method: str, fields: Mapping[str, str]) -> int:
        """The offset the server tells; where it tells none, the one it told before."""
        async with session.request(method, self.path, headers=fields) as response:
            if response.status not in (200, 201, 204, 409) or "Upload-Offset" not in response.headers:
                self.complain(f"{method} met {response.status}")
                return self._told
            offset = int(response.headers["Upload-Offset"])
        self.hear(offset)
        return offset

    def _compare(self, kind: Kind, offset: int, written: int) -> None:
        lost = self.sent - offset
        self._tally.lost[kind.name] = max(lost, self._tally.lost[kind.name])
        if lost < 0:
            self.complain(f"{-lost} bytes were kept that nobody sent")
        if lost > kind.may_lose:
            self.complain(f"{lost} bytes were lost")
        if offset < written and kind.keeps_written:
            self.complain(f"{written - offset} bytes were lost that had been written")

    def _size(self) -> int:
        """Bytes of the unfinished file. What a kill left beyond the recorded offset is cut off by the next write."""
        with suppress(FileNotFoundError):  # it is stored
            return (self._folder / "incoming" / f"{URL(self.path).name}.part").stat().st_size
        return 0


async def _closes(_: Uploader, sending: Sending) -> None:
    sending.close()


async def _hangs_up(_: Uploader, sending: Sending) -> None:
    await sending.hang_up()


async def _resets(_: Uploader, sending: Sending) -> None:
    sending.reset()


async def _vanishes(uploader: Uploader, _: Sending) -> None:
    (await uploader.proxy.opened.get()).freeze()


async def _loses_server(uploader: Uploader, _: Sending) -> None:
    (await uploader.proxy.opened.get()).reset_server()


async def _loses_answer(uploader: Uploader, _: Sending) -> None:
    tunnel = await uploader.proxy.opened.get()
    await tunnel.answered()
    tunnel.reset_client()


async def _stops(uploader: Uploader, sending: Sending) -> None:
    uploader.server.signal(signal.SIGTERM)
    answer = await sending.answer()
    if status := await uploader.ended():
        uploader.complain(f"the server ended with status {status}")
    if answer != Told(503, None) and not (answer is None and uploader.was_idle()):
        uploader.complain(f"an upload met {answer} when the server stopped")
    await uploader.start()


async def _is_killed(uploader: Uploader, _: Sending) -> None:
    uploader.server.signal(signal.SIGKILL)
    await uploader.ended()
    await uploader.start()


def _some(choice: Random, left: int) -> int:
    """Any order of magnitude is as likely as any other; more often than not, enough to be written on the way."""
    most = max(1, left // 16)
    return choice.choice((round(most ** choice.random()), choice.randint(1, most)))


def _much(choice: Random, left: int) -> int:
    return choice.randint(1, max(1, left // 3))


def _everything(_: Random, left: int) -> int:
    return left


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to be interrupted."""

    name: str
    interrupt: Callable[[Uploader, Sending], Awaitable[None]]
    amount: Callable[[Random, int], int] = _some
    """How many bytes are sent before, of those that are left."""
    may_lose: float = math.inf
    """How many of them, at most, have to be sent again."""
    keeps_written: bool = True
    """Whether everything is kept that the server has written to the file, durably or not."""
    proxied: bool = False
    """Whether the connection goes through the proxy."""
    mute: bool = False
    """Whether the request is whole, and its answer is lost."""


KINDS = (
    Kind("client closes", _closes),
    Kind("client closes, server saw it", _hangs_up, may_lose=HELD_RECEIPTS * LARGEST),
    Kind("client resets", _resets),
    Kind("client vanishes", _vanishes, proxied=True),
    Kind("proxy loses the server", _loses_server, proxied=True),
    Kind("proxy loses the answer", _loses_answer, may_lose=0, proxied=True, mute=True),
    Kind("SIGTERM", _stops),
    Kind("kill -9", _is_killed, _much, may_lose=KILL_LIMIT, keeps_written=False),
)
LAST = Kind("last answer lost", _loses_answer, _everything, may_lose=0, proxied=True, mute=True)


async def run(folder: Path, *, rounds: int) -> Report:
    """Interrupt one upload `rounds` times by each protocol, each time in another way."""
    recording, choice, tally = wav(SIZE), Random(4), Tally()
    async with Proxy.listening() as proxy:
        for protocol in PROTOCOLS:
            uploader = Uploader(folder / protocol.name, protocol, b"".join(recording.pieces()), proxy, tally)
            await uploader.start()
            try:
                await _send(uploader, islice(_kinds(choice), rounds), choice)
                await uploader.check(recording)
            finally:
                uploader.server.signal(signal.SIGKILL)
                await uploader.ended()
    title = f"{rounds} interruptions of {SIZE / 1e6:.0f} MB, by each protocol"
    return Report(title, _figures(tally), tally.violations)


def _kinds(choice: Random) -> Iterator[Kind]:
    """Every kind once, in any order, and so on."""
    while True:
        yield from choice.sample(KINDS, len(KINDS))


async def _send(uploader: Uploader, kinds: Iterable[Kind], choice: Random) -> None:
    await uploader.begin()
    for kind in chain(kinds, [LAST]):
        async with asyncio.timeout(DEADLINE):
            await uploader.interrupt(kind, choice)


async def differences(session: ClientSession, folder: Path) -> list[str]:
    """Where disk and catalog contradict each other, when nothing is under way."""
    records, told = await listed(session), _told(folder)
    stored = [record for record in records.values() if record["status"] == "stored"]
    published = {path.stem for path in (folder / "audio").glob("*/*")}
    return [
        *(f"{record} is not stored" for record in records.values() if record not in stored),
        *[f"{record['id']} does not read back" for record in stored if not await _reads_back(session, record)],
        *(f"{id} has a file or a record, not both" for id in published ^ records.keys()),
        *(f"{path} is left over" for name in ("incoming", "orphans") for path in (folder / name).iterdir()),
        *(f"{id} has {told[id]} outbox rows" for id in told.keys() | records.keys() if told[id] != (id in records)),
    ]


async def _reads_back(session: ClientSession, record: Record) -> bool:
    return await read_back(session, record["id"]) == (record["size"], record["sha256"])


def _told(folder: Path) -> Counter[str]:
    """How many outbox rows each upload has."""
    with closing(sqlite3.connect(f"file:{folder}/catalog.sqlite?mode=ro", uri=True)) as catalog:
        return Counter(str(UUID(hex=id)) for (id,) in catalog.execute("SELECT upload_id FROM outbox"))


def _figures(tally: Tally) -> dict[str, str]:
    return {
        name: f"{count} times, at most {tally.lost[name] / KIB:,.1f} KiB sent again"
        for name, count in sorted(tally.rounds.items())
    }
