"""Clients that send each request, with a key, until it is answered, often several times at once, to a server that is
killed again and again: one upload comes of each."""

from __future__ import annotations

import asyncio
import socket
from asyncio import Event, TaskGroup
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from uuid import UUID

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from tests.scenarios.client import Door, Envelope, form, listed, raw, upload
from tests.scenarios.interruptions import differences
from tests.scenarios.process import KIB, MIB, serving
from tests.scenarios.recordings import Recording, mixed
from tests.scenarios.report import Report

CLIENTS = 8
LONGEST_LIFE = 1.0
"""Seconds that a server serves, at most."""
AT_ONCE = (1, 1, 2, 4)
"""How often a request is sent at the same time."""
SIZES = ((KIB, 60 * KIB), (60 * KIB, 400 * KIB), (MIB, 4 * MIB))
"""Bytes: written in one hop with the verdict; in a few; in many, with large blocks."""
REST = 0.05
"""Seconds from an attempt that failed to the next one."""


@dataclass(slots=True)
class Tally:
    """What the clients were told."""

    answered: set[str] = field(default_factory=set)
    """The uploads, by their ids."""
    attempts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


async def run(folder: Path, *, rounds: int) -> Report:
    """Kill the server `rounds` times under load; then let the clients come to their end."""
    choice, tally, over = Random(6), Tally(), Event()
    port = _free_port()
    settings = {"server.port": str(port)}
    async with _client(port) as session, TaskGroup() as load:
        clients = [load.create_task(_keep_sending(session, tally, choice, over)) for _ in range(CLIENTS)]
        for _ in range(rounds):
            async with serving(folder, settings):
                await asyncio.sleep(choice.uniform(0, LONGEST_LIFE))
        async with serving(folder, settings):
            over.set()
            await asyncio.wait(clients)
            orphans = _clear(folder / "orphans")
            tally.violations += await differences(session, folder)
            tally.violations += [f"{id} is not what was answered" for id in tally.answered ^ set(await listed(session))]
    figures = {
        "requests answered": str(len(tally.answered)),
        "attempts": ", ".join(f"{outcome} {count}" for outcome, count in sorted(tally.attempts.items())),
        "orphans put aside": str(orphans),
    }
    return Report(f"{rounds} kills under requests that are sent again", figures, tally.violations)


def _free_port() -> int:
    """Every server gets the same one, so that clients find the next."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _client(port: int) -> ClientSession:
    """No connection is used twice: the server it leads to may be gone."""
    connector = TCPConnector(limit=0, force_close=True)
    return ClientSession(f"http://127.0.0.1:{port}", connector=connector, timeout=ClientTimeout(total=None))


async def _keep_sending(session: ClientSession, tally: Tally, choice: Random, over: Event) -> None:
    while not over.is_set():
        door, recording = _keyed(choice), mixed(choice, *choice.choice(SIZES))
        answers = [_until_answered(session, door, recording, tally) for _ in range(choice.choice(AT_ONCE))]
        ids = {*await asyncio.gather(*answers)}
        tally.answered |= ids
        if len(ids) != 1:
            tally.violations.append(f"one request became {ids}")


def _keyed(choice: Random) -> Door:
    """A door, and a key for one request."""
    door, key = choice.choice((form, raw)), str(UUID(int=choice.getrandbits(128)))

    def keyed(recording: Recording) -> Envelope:
        envelope = door(recording)
        return replace(envelope, fields={**envelope.fields, "Idempotency-Key": key})

    return keyed


async def _until_answered(session: ClientSession, door: Door, recording: Recording, tally: Tally) -> str:
    """Returns the id of the upload."""
    while True:
        try:
            answer = await upload(session, door, recording)
        except ClientError:
            tally.attempts["broken off"] += 1
            await asyncio.sleep(REST)
            continue
        tally.attempts[str(answer.status)] += 1
        return str(answer.record["id"])


def _clear(orphans: Path) -> int:
    """Copies that a kill left behind. Returns how many."""
    left = list(orphans.iterdir())
    for path in left:
        path.unlink()
    return len(left)
