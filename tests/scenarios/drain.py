"""SIGTERM while uploads run: what can end in time does, the rest is told to come back, and a second one ends it all."""

from __future__ import annotations

import asyncio
import signal
from asyncio import Barrier, Event, Task, TaskGroup
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

from aiohttp import ClientError
from yarl import URL

from tests.scenarios.client import DOORS, Door, Pace, client, upload
from tests.scenarios.process import KIB, MIB, Process, serving
from tests.scenarios.recordings import Recording, wav
from tests.scenarios.report import Report

QUICK = {"server.drain_timeout": "6 s", "server.linger": "1 s"}  # even a busy machine can finish in that time
SIZE = 60 * MIB
"""Bytes of each upload: at 4 MB/s, far too many for the time there is; at full speed, few."""
BEGUN = 256 * KIB
"""Bytes after which an upload counts as under way."""
PAUSE = 0.01
"""Seconds between two pieces of an upload that is too slow; so there is always something on the way that the server
has not read yet, which is what makes a careless close a reset."""

CLOSED_LIMIT = 30.0
"""Seconds after which a connection counts as never closed."""
KILLED = 128 + signal.SIGTERM
"""The exit status that shells give a process ended by SIGTERM."""


@dataclass(frozen=True, slots=True)
class Stop:
    """What clients saw of a server that was told to stop."""

    in_time: Sequence[str]
    """Of each upload that could end in time: the status, or the error."""
    too_slow: Sequence[str]
    idle_closed_after: float
    """Seconds from the signal to the end of a connection that waited for its next request."""
    ended_after: float
    status: int


async def run(folder: Path, *, workers: int = 1) -> Report:
    """Stop one server with patience, and another without."""
    settings = {"server.workers": str(workers)}
    patient = await _stop_once(folder / "once", {**QUICK, **settings})
    seconds, status = await _stop_twice(folder / "twice", settings)
    violations = _violations(patient)
    if status != KILLED:
        violations.append(f"a second SIGTERM led to exit status {status}")
    figures = {**_figures(patient), "ended by a second SIGTERM after": f"{seconds:.2f} s"}
    return Report(f"SIGTERM while uploads run, workers: {workers}", figures, violations)


async def _stop_once(folder: Path, settings: Mapping[str, str]) -> Stop:
    under_way, stopping = Barrier(2 * len(DOORS) + 2), Event()
    async with serving(folder, settings) as server, TaskGroup() as group:
        in_time = _start(group, server, partial(_hurrying, under_way=under_way, stopping=stopping))
        too_slow = _start(group, server, partial(_dawdling, under_way=under_way))
        idle = group.create_task(_idle(server, under_way))
        await under_way.wait()
        server.signal(signal.SIGTERM)
        begun = perf_counter()
        await _refused(server)
        stopping.set()
        status = await server.ended()
        ended = perf_counter() - begun
        await asyncio.wait([*in_time, *too_slow, idle])
    return Stop(
        [task.result() for task in in_time],
        [task.result() for task in too_slow],
        idle.result() - begun,
        ended,
        status,
    )


async def _stop_twice(folder: Path, settings: Mapping[str, str]) -> tuple[float, int]:
    """Seconds from the second signal to the end, and the exit status."""
    under_way = Barrier(len(DOORS) + 1)
    async with serving(folder, settings) as server, TaskGroup() as group:
        _start(group, server, partial(_dawdling, under_way=under_way))
        await under_way.wait()
        server.signal(signal.SIGTERM)
        await _refused(server)
        begun = perf_counter()
        server.signal(signal.SIGTERM)
        status = await server.ended()
        return perf_counter() - begun, status


def _start(group: TaskGroup, server: Process, pace: Pace) -> list[Task[str]]:
    """One upload through each door."""
    return [group.create_task(_outcome(server, door, pace)) for door in DOORS]


async def _outcome(server: Process, door: Door, pace: Pace) -> str:
    """What became of an upload: its status, with word on whether to come back, or the error the client met."""
    async with client(server) as session:
        try:
            answer = await upload(session, door, wav(SIZE), pace)
        except ClientError as error:
            return repr(error)
        return f"{answer.status}, Retry-After" if "Retry-After" in answer.headers else str(answer.status)


async def _hurrying(recording: Recording, under_way: Barrier, stopping: Event) -> AsyncIterator[bytes]:
    """Waits for the server to be stopping, then sends the rest at full speed."""
    sent = 0
    for piece in recording.pieces():
        yield piece
        sent += len(piece)
        if sent - len(piece) < BEGUN <= sent:
            await under_way.wait()
            await stopping.wait()


async def _dawdling(recording: Recording, under_way: Barrier) -> AsyncIterator[bytes]:
    """Never stops sending, and never gets anywhere."""
    sent = 0
    for piece in recording.pieces():
        yield piece
        sent += len(piece)
        if sent - len(piece) < BEGUN <= sent:
            await under_way.wait()
        await asyncio.sleep(PAUSE)


async def _idle(server: Process, under_way: Barrier) -> float:
    """Make a request, then wait for the end of the connection. Returns when that was. A connection that no worker has
    taken up yet would be reset."""
    url = URL(await server.url())
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    await under_way.wait()
    async with asyncio.timeout(CLOSED_LIMIT):
        await reader.read()
    writer.close()
    return perf_counter()


async def _refused(server: Process) -> None:
    """Return once new connections are refused."""
    url = URL(await server.url())
    with suppress(ConnectionError):  # refused, or reset where it was waiting to be accepted
        async with asyncio.timeout(CLOSED_LIMIT):
            while True:
                _, writer = await asyncio.open_connection(url.host, url.port)
                writer.close()


def _violations(stop: Stop) -> list[str]:
    return [
        *(f"an upload that could end in time met {met}" for met in stop.in_time if met != "201"),
        *(["an idle connection stayed open until the end"] if stop.idle_closed_after > stop.ended_after / 2 else []),
        *(f"an upload that was too slow met {met}" for met in stop.too_slow if met != "503, Retry-After"),
        *([f"the exit status was {stop.status}"] if stop.status else []),
    ]


def _figures(stop: Stop) -> dict[str, str]:
    return {
        "uploads that could end in time": "; ".join(stop.in_time),
        "uploads that were too slow": "; ".join(stop.too_slow),
        "idle connection closed after": f"{stop.idle_closed_after:.2f} s",
        "ended after": f"{stop.ended_after:.2f} s, status {stop.status}",
    }
