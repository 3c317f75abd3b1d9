"""`kill -9` at a random moment under load, again and again, on one data folder: what was acknowledged is kept, what was
not is whole or gone."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from asyncio import Event, Semaphore, TaskGroup
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from uuid import UUID

from aiohttp import ClientError, ClientResponseError, ClientSession

from tests.scenarios.client import DOORS, Door, Record, client, delete, listed, read_back, upload
from tests.scenarios.process import KIB, MIB, Process, launch, serving
from tests.scenarios.recordings import mixed
from tests.scenarios.report import Report

UPLOADERS_A_DOOR = 4
LONGEST_LIFE = 1.0
"""Seconds under load before the kill, at most."""
DELETED = 0.2
"""The share of uploads that their clients delete again."""
STARTS_KILLED = 0.3
"""The share of starts that are killed on their way."""
SIZES = ((KIB, 60 * KIB), (60 * KIB, 400 * KIB), (MIB, 4 * MIB))
"""Bytes: written in one hop with the verdict; in a few; in many, with large blocks."""
READERS = 8
CLEARING_LOOKS = 60
"""How often differences are looked for until they count."""
CLEARING_POLL = 0.2
"""Seconds between two looks."""


@dataclass(slots=True)
class Ledger:
    """What the clients know. Whoever got no answer knows nothing."""

    acknowledged: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Size in bytes and SHA-256 of every upload that was answered with 201, by its id."""
    in_doubt: set[str] = field(default_factory=set)
    """Those whose deletion was asked for."""
    deleted: set[str] = field(default_factory=set)
    """Those whose deletion was answered with 204."""
    surprises: list[str] = field(default_factory=list)
    """What the server said to a request although nothing was wrong with it."""

    def must_be_there(self) -> Iterator[str]:
        """Nobody ever asked to delete these."""
        return (id for id in self.acknowledged if id not in self.in_doubt)


async def run(folder: Path, *, rounds: int) -> Report:
    """Kill the server `rounds` times under load, and look after every restart."""
    choice, ledger = Random(3), Ledger()
    violations: list[str] = []
    for number in range(rounds):
        if choice.random() < STARTS_KILLED:
            await _kill_while_starting(folder, choice)
        async with serving(folder) as server:
            violations += [f"round {number}: {seen}" for seen in await _differences(server, folder, ledger)]
            await _kill_under_load(server, ledger, choice)
        violations += [f"round {number}: logged: {line}" for line in server.log if '"level": "error"' in line]
    async with serving(folder) as server:
        violations += [f"at the end: {seen}" for seen in await _differences(server, folder, ledger)]
    return Report(f"{rounds} kills under load", _figures(folder, ledger), [*violations, *ledger.surprises])


async def run_workers(folder: Path, *, rounds: int) -> Report:
    """Kill one worker of two `rounds` times under load. The server goes on, and is looked after once it has cleared
    up."""
    choice, ledger = Random(4), Ledger()
    violations: list[str] = []
    async with serving(folder, {"server.workers": "2"}) as server:
        for number in range(rounds):
            await _kill_worker_under_load(server, ledger, choice)
            violations += [f"round {number}: {seen}" for seen in await lasting_differences(server, folder, ledger)]
        violations += [f"logged: {line}" for line in server.log if '"level": "error"' in line]
        figures = {**_figures(folder, ledger), "replaced": str(sum("worker replaced" in line for line in server.log))}
    return Report(f"{rounds} kills of one worker of two under load", figures, [*violations, *ledger.surprises])


async def _kill_while_starting(folder: Path, choice: Random) -> None:
    process = await launch(folder, {})
    await asyncio.sleep(choice.uniform(0, LONGEST_LIFE))
    process.signal(signal.SIGKILL)
    await process.ended()


async def _kill_under_load(server: Process, ledger: Ledger, choice: Random) -> None:
    async with client(server) as session, TaskGroup() as load:
        for door in DOORS * UPLOADERS_A_DOOR:
            load.create_task(_keep_uploading(session, door, ledger, choice))
        await asyncio.sleep(choice.uniform(0, LONGEST_LIFE))
        server.signal(signal.SIGKILL)


async def _kill_worker_under_load(server: Process, ledger: Ledger, choice: Random) -> None:
    over = Event()
    async with client(server, anew=True) as session, TaskGroup() as load:
        for door in DOORS * UPLOADERS_A_DOOR:
            load.create_task(_upload_until(over, session, door, ledger, choice))
        await asyncio.sleep(choice.uniform(0, LONGEST_LIFE))
        os.kill(choice.choice(server.children()), signal.SIGKILL)
        await asyncio.sleep(choice.uniform(0, LONGEST_LIFE))
        over.set()


async def _upload_until(over: Event, session: ClientSession, door: Door, ledger: Ledger, choice: Random) -> None:
    """Whatever becomes of the worker that serves this client."""
    while not over.is_set():
        with suppress(ClientError):
            await _upload_once(session, door, ledger, choice)


async def _keep_uploading(session: ClientSession, door: Door, ledger: Ledger, choice: Random) -> None:
    """Until the server is gone."""
    with suppress(ClientError):
        while True:
            await _upload_once(session, door, ledger, choice)


async def _upload_once(session: ClientSession, door: Door, ledger: Ledger, choice: Random) -> None:
    recording = mixed(choice, *choice.choice(SIZES))
    answer = await upload(session, door, recording)
    if answer.status != 201:
        ledger.surprises.append(f"an upload met {answer.status}: {answer.document}")
        return
    id = answer.record["id"]
    ledger.acknowledged[id] = (recording.size, recording.sha256())
    if choice.random() < DELETED:
        await _delete(session, id, ledger)


async def _delete(session: ClientSession, id: str, ledger: Ledger) -> None:
    ledger.in_doubt.add(id)
    status = await delete(session, id)
    if status == 204:
        ledger.deleted.add(id)
    else:
        ledger.surprises.append(f"a deletion met {status}")


async def lasting_differences(server: Process, folder: Path, ledger: Ledger) -> list[str]:
    """Those that the successor of a dead worker does not put in order."""
    for _ in range(CLEARING_LOOKS):
        if not (seen := await _differences(server, folder, ledger)):
            break
        await asyncio.sleep(CLEARING_POLL)
    return seen


async def _differences(server: Process, folder: Path, ledger: Ledger) -> list[str]:
    """Where disk and catalog break what the clients were promised, or contradict each other."""
    async with client(server) as session:
        everything, told = await listed(session), _told(folder)
        records = {id: record for id, record in everything.items() if record["status"] == "stored"}
        under_way = {id for id, record in everything.items() if record["status"] == "receiving"}
        return [
            *(f"{id} is lost" for id in ledger.must_be_there() if not _is_kept(ledger.acknowledged[id], records, id)),
            *(f"{id} was deleted and is back" for id in ledger.deleted & records.keys()),
            *(f"{id} does not read back as recorded" for id in await _broken(session, records)),
            *(f"{id} has a file or a record, not both" for id in _published(folder) ^ records.keys()),
            *(f"{id} is {everything[id]['status']}" for id in everything.keys() - records.keys() - under_way),
            *(f"{id} has bytes or a record, not both" for id in _unfinished(folder) ^ under_way),
            *(f"{id} has {told[id]} outbox rows" for id in told.keys() | records.keys() if told[id] != (id in records)),
        ]


def _is_kept(sent: tuple[int, str], records: Mapping[str, Record], id: str) -> bool:
    return id in records and (records[id]["size"], records[id]["sha256"]) == sent


async def _broken(session: ClientSession, records: Mapping[str, Record]) -> list[str]:
    """Uploads whose content is not what their record says, or is not given out: such as one whose deletion a killed
    worker has begun."""
    turn = Semaphore(READERS)

    async def is_whole(record: Record) -> bool:
        async with turn:
            with suppress(ClientResponseError):
                return await read_back(session, record["id"]) == (record["size"], record["sha256"])
            return False

    whole = await asyncio.gather(*map(is_whole, records.values()))
    return [id for id, fine in zip(records, whole, strict=True) if not fine]


def _published(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "audio").glob("*/*")}


def _unfinished(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "incoming").iterdir()}


def _told(folder: Path) -> Counter[str]:
    """How many outbox rows each upload has."""
    with closing(sqlite3.connect(f"file:{folder}/catalog.sqlite?mode=ro", uri=True)) as catalog:
        return Counter(str(UUID(hex=id)) for (id,) in catalog.execute("SELECT upload_id FROM outbox"))


def _figures(folder: Path, ledger: Ledger) -> dict[str, str]:
    return {
        "uploads acknowledged": str(len(ledger.acknowledged)),
        "deletions acknowledged": str(len(ledger.deleted)),
        "deletions in doubt": str(len(ledger.in_doubt - ledger.deleted)),
        "orphans put aside": str(sum(1 for _ in (folder / "orphans").iterdir())),
        "stored at the end": str(len(_published(folder))),
    }
