"""A thousand uploads at once: each sends half, all wait for each other, all finish."""

from __future__ import annotations

import asyncio
from asyncio import Barrier, TaskGroup
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random
from time import perf_counter

from aiohttp import ClientSession

from tests.scenarios.client import DOORS, Answer, client, listed, read_back, upload
from tests.scenarios.process import KIB, MIB, Process, serving
from tests.scenarios.recordings import Recording, mixed
from tests.scenarios.report import Report
from tests.scenarios.warmth import warm_up

LIMIT = 200 * MIB
"""Bytes resident that the server may reach with a thousand uploads."""

EACH = 64 * KIB
"""Bytes resident that an upload may add that is held open."""

SILENCE = 2.0
"""Seconds in which the server does nothing: it has written what it got."""

IDLE = 0.1
"""Seconds of CPU time in them that are nothing: it looks about now and then."""

GATHERING_LIMIT = 120.0
"""Seconds for all to get their first halves in; where one is refused meanwhile, the others would wait for ever."""

SETTINGS = {
    "limits.idle_timeout": "5 min",
    "limits.min_rate": "0 B/s",
}  # on a busy machine the first wait long for the last


@dataclass(frozen=True, slots=True)
class Crowd:
    """How it went. Memory in bytes resident."""

    before: int
    held: int
    """While every upload had half of its bytes in."""
    peak: int
    seconds: float
    """From the first byte of the second halves to the last answer."""
    answers: Sequence[Answer]


async def run(folder: Path, *, count: int, each: int = EACH) -> Report:
    """Hold `count` uploads open at once, at less than `each` bytes for one, then let all of them finish."""
    choice = Random(2)
    recordings = [mixed(choice, 100 * KIB, MIB) for _ in range(count)]
    async with serving(folder, SETTINGS) as server:
        async with client(server) as session:
            await warm_up(session)
        crowd = await _gather(server, recordings)
        async with client(server) as session:
            violations = await _differences(session, recordings, crowd.answers)
    if crowd.peak >= LIMIT:
        violations.append(f"the peak was {crowd.peak / MIB:.0f} MiB")
    if crowd.held - crowd.before >= count * each:
        violations.append("held uploads took too much")
    return Report(f"{count} uploads at once", _figures(crowd, recordings), violations)


async def _gather(server: Process, recordings: Sequence[Recording]) -> Crowd:
    gate = Barrier(len(recordings) + 1)
    server.forget_peak()
    before = server.memory().now
    async with client(server) as session:
        async with TaskGroup() as group:
            visits = [
                group.create_task(upload(session, door, recording, partial(_in_halves, gate=gate)))
                for door, recording in zip(cycle(DOORS), recordings, strict=False)
            ]
            async with asyncio.timeout(GATHERING_LIMIT):
                await gate.wait()
            await _silence(server)
            held = server.memory().now
            await gate.wait()
            begun = perf_counter()
        seconds = perf_counter() - begun
    return Crowd(before, held, server.memory().peak, seconds, [visit.result() for visit in visits])


async def _silence(server: Process) -> None:
    before, now = -1.0, server.cpu()
    while now - before > IDLE:
        await asyncio.sleep(SILENCE)
        before, now = now, server.cpu()


async def _in_halves(recording: Recording, gate: Barrier) -> AsyncIterator[bytes]:
    """Wait twice at the gate: for the others, and for whoever looks at the server meanwhile."""
    left = recording.size // 2
    for piece in recording.pieces():
        yield piece
        if left > 0 >= left - len(piece):
            await gate.wait()
            await gate.wait()
        left -= len(piece)


async def _differences(session: ClientSession, recordings: Sequence[Recording], answers: Sequence[Answer]) -> list[str]:
    """Where what the server says or keeps is not what was sent."""
    refused = Counter(f"{answer.status}, {answer.document}" for answer in answers if answer.status != 201)
    violations = [f"{count} uploads met {met}" for met, count in refused.items()]
    kept = await listed(session)
    stored = [(sent, answer.record) for sent, answer in zip(recordings, answers, strict=True) if answer.status == 201]
    if kept.keys() != {record["id"] for _, record in stored}:
        violations.append(f"{len(stored)} uploads were acknowledged, but {len(kept)} are listed, or others")
    for recording, record in stored:
        sent = (recording.size, recording.sha256())
        if (record["size"], record["sha256"]) != sent or await read_back(session, record["id"]) != sent:
            violations.append(f"{record['id']} is not what was sent")
    return violations


def _figures(crowd: Crowd, recordings: Sequence[Recording]) -> dict[str, str]:
    sent = sum(recording.size for recording in recordings)
    return {
        "resident before": f"{crowd.before / MIB:.1f} MiB",
        "resident while all are held": f"{crowd.held / MIB:.1f} MiB",
        "for each held upload": f"{(crowd.held - crowd.before) / len(recordings) / KIB:.1f} KiB",
        "peak": f"{crowd.peak / MIB:.1f} MiB of {LIMIT // MIB} allowed",
        "second halves finished in": f"{crowd.seconds:.1f} s, at {sent / 2e6 / crowd.seconds:.0f} MB/s",
    }
