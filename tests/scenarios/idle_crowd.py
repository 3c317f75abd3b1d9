"""Ten thousand connections that ask nothing, or too slowly, and one client that does not notice them."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from yarl import URL

from tests.scenarios.client import DOORS, UPLOADS, client, upload
from tests.scenarios.process import KIB, MIB, Process, serving
from tests.scenarios.recordings import wav
from tests.scenarios.report import Report
from tests.scenarios.warmth import warm_up

LIMIT = 1.0
"""Seconds that an upload may take beside the crowd."""
SIZE = MIB
"""Bytes of that upload."""
IDLE_LIMIT = 12 * KIB
"""Bytes resident that a connection may cost that waits for a request; one kept alive still has its last one."""

OWN_DESCRIPTORS = 200
"""What this process needs besides its side of the crowd."""
PORTS = 5_000
"""Connections from one address; the next ones come from 127.0.0.3, and so on."""
BATCH, PAUSE = 250, 0.1
"""Connections made in a row, and seconds between two rows."""
UPLOADING = 10
"""One connection of so many is a slow upload, up to a thousand: each takes a file besides."""
SILENCE = 1.0
"""Seconds in which a server does what is left to do."""
SETTLED = 120.0
"""Seconds until all connections are made, or gone."""

PATIENT = {
    "server.header_timeout": "1 h",
    "server.keepalive_timeout": "1 h",
    "limits.idle_timeout": "1 h",
    "limits.min_rate": "0 B/s",
}
"""Nobody is let go while the crowd is measured."""
BRISK = {
    "server.header_timeout": "1 s",
    "server.keepalive_timeout": "1 s",
    "limits.idle_timeout": "1 s",
    "server.linger": "1 s",
}

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = f"POST {UPLOADS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {SIZE}\r\n\r\n".encode() + b"".join(
    wav(64 * KIB).pieces()
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to keep a server waiting."""

    name: str
    first: bytes
    """What is sent on the connection."""
    answered: bool = False
    """Whether an answer to it comes, and is read."""


SILENT = Kind("new and silent", b"")
KEPT = Kind("kept alive", HEALTH, answered=True)
SLOW_HEADER = Kind("in a header", HEALTH[:-2])
SLOW_BODY = Kind("in a body", HALF)


async def run(folder: Path, *, count: int, limit: float = LIMIT, idle_limit: int = IDLE_LIMIT) -> Report:
    """Hold `count` connections, or as many as the system's descriptors allow, and upload something meanwhile; then let
    the server get rid of as many."""
    with _all_descriptors() as most:
        count = min(count, most)
        figures, violations = await _held(folder / "held", count, limit, idle_limit)
        figures["all let go, with deadlines of 1 s, after"] = f"{await _let_go(folder / 'let go', count):.1f} s"
    return Report(f"{count} idle and slow connections", figures, violations)


async def _held(folder: Path, count: int, limit: float, idle_limit: int) -> tuple[dict[str, str], list[str]]:
    figures: dict[str, str] = {}
    violations: list[str] = []
    async with serving(folder, {**PATIENT, "server.max_connections": str(count)}) as server:
        async with client(server) as session:
            await warm_up(session)
        await asyncio.sleep(SILENCE)
        with ExitStack() as crowd:
            for kind, number in _divided(count).items():
                cost = await _gathered(server, crowd, kind, number)
                figures[f"memory of one {kind.name}, of {number}"] = f"{cost / KIB:.1f} KiB"
                if kind is not SLOW_BODY and cost >= idle_limit:
                    violations.append(f"a connection {kind.name} costs {cost / KIB:.1f} KiB")
            before = server.sockets()
            for door, (seconds, status) in (await _uploads(server)).items():
                figures[f"upload beside them: {door}"] = f"{status} in {seconds:.3f} s of {limit:.0f} allowed"
                if status != 201 or seconds >= limit:
                    violations.append(f"{door}: an upload beside the crowd met {status} after {seconds:.3f} s")
            figures["closed to make room"] = str(before - server.sockets())
        violations += [line for line in server.log if json.loads(line)["level"] in ("error", "critical")]
    return figures, violations


def _divided(count: int) -> Mapping[Kind, int]:
    """How many of each kind; those that are closed first to make room come last."""
    bodies = min(count // UPLOADING, 1_000)
    others = (count - bodies) // 3
    return {SILENT: count - bodies - 2 * others, KEPT: others, SLOW_HEADER: others, SLOW_BODY: bodies}


async def _gathered(server: Process, crowd: ExitStack, kind: Kind, number: int) -> float:
    """Bytes resident that each of so many new connections costs."""
    url, before, expected = URL(await server.url()), server.memory().now, server.sockets() + number
    for sock in await asyncio.to_thread(_connected, url, kind, range(number)):
        crowd.enter_context(closing(sock))
    await _until(lambda: server.sockets() >= expected)
    await asyncio.sleep(SILENCE)
    return (server.memory().now - before) / max(1, number)


def _connected(url: URL, kind: Kind, numbers: Sequence[int]) -> list[socket.socket]:
    """In batches: what finds the system's queue full is tried again by the system after 1, 3, 7, 15 and 31 s."""
    sockets = []
    for number in numbers:
        if number % BATCH == BATCH - 1:
            time.sleep(PAUSE)
        sockets.append(_connection(url, kind, f"127.0.0.{2 + number // PORTS}"))
    return sockets


def _connection(url: URL, kind: Kind, source: str) -> socket.socket:
    sock = socket.create_connection((url.host, url.port), SETTLED, (source, 0))
    sock.sendall(kind.first)
    if kind.answered:
        sock.recv(4096)
    return sock


async def _uploads(server: Process) -> Mapping[str, tuple[float, int]]:
    """One through each door, with a connection of its own: seconds and status."""
    results = {}
    for door in DOORS:
        async with client(server) as session:
            begun = perf_counter()
            answer = await upload(session, door, wav(SIZE))
            results[door.__name__] = perf_counter() - begun, answer.status
    return results


async def _let_go(folder: Path, count: int) -> float:
    """Seconds from the last connection until the server has none any more, although none of its clients went."""
    async with serving(folder, {**BRISK, "server.max_connections": str(count)}) as server:
        url, before = URL(await server.url()), server.sockets()
        with ExitStack() as crowd:
            for kind, number in _divided(count).items():
                for sock in await asyncio.to_thread(_connected, url, kind, range(number)):
                    crowd.enter_context(closing(sock))
            begun = perf_counter()
            await _until(lambda: server.sockets() <= before)
        return perf_counter() - begun


async def _until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(SETTLED):
        while not met():  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.5)


@contextmanager
def _all_descriptors() -> Iterator[int]:
    """Take all that this process may have. Gives the number of connections that they are enough for, on both sides."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield (hard - OWN_DESCRIPTORS) // 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
