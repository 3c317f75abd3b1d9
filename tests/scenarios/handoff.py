"""MAIE's workers, a Redis that stops and is killed, and a server that is killed, again and again, under load: each
recording is worked on once.

No worker works while Redis is away, or is told to end: what one has taken out of the queue is RQ's to keep.
"""

from __future__ import annotations

import asyncio
import signal
from asyncio import TaskGroup
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from aiohttp import ClientError, ClientSession, FormData

from tests.redis_server import IS_INSTALLED, NEEDED, RedisServer, redis_server
from tests.rq_worker import Run, Workshop
from tests.scenarios.client import DOORS, Record, client, listed, upload
from tests.scenarios.process import KIB, Process, serving
from tests.scenarios.recordings import Recording, mixed
from tests.scenarios.report import Report

UPLOADERS = 4
MOST_JOBS = 40
"""Until a worker rests."""
LONGEST_BREAK = 0.8
"""Seconds without Redis, at most."""
LONGEST_LIFE = 2.0
"""Seconds until the server is killed, at most; a worker needs half a second to begin."""
SIZES = (KIB, 200 * KIB)
"""Bytes."""
PAUSE = 0.02
"""Seconds between two uploads of one client: a worker needs as long for a job."""
LAST_LOOKS = 60
"""How often the work is compared with the uploads, until differences count."""

WISHES = {"features": "raw_transcript", "enable_vad": "true"}


@dataclass(slots=True)
class Ledger:
    """What the clients know."""

    acknowledged: set[str] = field(default_factory=set)
    """Uploads that were answered with 201 or 202."""
    surprises: list[str] = field(default_factory=list)
    """Answers of another kind."""
    stops: Counter[str] = field(default_factory=Counter)
    """Of Redis, by signal."""


async def run(folder: Path, *, rounds: int) -> Report:
    """Kill the server `rounds` times, and stop or kill Redis as often."""
    if not IS_INSTALLED:
        return Report("kills while MAIE works", {"left out": NEEDED}, [])
    choice, ledger, workshop = Random(7), Ledger(), Workshop(folder / "maie")
    async with redis_server(folder / "redis") as redis:
        for _ in range(rounds):
            async with serving(folder / "data", _settings(redis)) as server:
                await _stir(server, redis, workshop, ledger, choice)
        async with serving(folder / "data", _settings(redis)) as server:
            differences = await _lasting_differences(server, redis, workshop, ledger)
    runs = workshop.runs()
    figures = {
        "uploads acknowledged": str(len(ledger.acknowledged)),
        "jobs done": str(len(runs)),
        "stops of Redis": ", ".join(f"{how} {count}" for how, count in sorted(ledger.stops.items())),
    }
    return Report(f"{rounds} kills while MAIE works", figures, [*differences, *ledger.surprises])


def _settings(redis: RedisServer) -> Mapping[str, str]:
    return {
        "handoff.targets": "rq",
        "handoff.first_pause": "50 ms",
        "handoff.longest_pause": "500 ms",
        "rq.url": redis.url,
        "rq.max_queue_depth": "1000000",
    }


async def _stir(server: Process, redis: RedisServer, workshop: Workshop, ledger: Ledger, choice: Random) -> None:
    """Load, during which a worker comes and goes, Redis goes and comes, and the server is killed."""
    async with client(server) as session, TaskGroup() as load:
        for number in range(UPLOADERS):
            load.create_task(_keep_uploading(session, Random(choice.random() + number), ledger))
        load.create_task(_kill_after(choice.uniform(0, LONGEST_LIFE), server))
        await workshop.work(redis.url, at_most=choice.randint(1, MOST_JOBS))
        how = choice.choice((signal.SIGTERM, signal.SIGKILL))
        await redis.stop(how)
        ledger.stops[how.name] += 1
        await asyncio.sleep(choice.uniform(0, LONGEST_BREAK))
        await redis.start()


async def _kill_after(pause: float, server: Process) -> None:
    await asyncio.sleep(pause)
    server.signal(signal.SIGKILL)


async def _keep_uploading(session: ClientSession, choice: Random, ledger: Ledger) -> None:
    """Until the server is gone."""
    with suppress(ClientError):
        while True:
            recording, door = mixed(choice, *SIZES), choice.choice((*DOORS, None))
            if door is None:
                await _process(session, recording, ledger)
            elif (answer := await upload(session, door, recording)).status == 201:
                ledger.acknowledged.add(answer.record["id"])
            else:
                ledger.surprises.append(f"an upload met {answer.status}: {answer.document}")
            await asyncio.sleep(PAUSE)


async def _process(session: ClientSession, recording: Recording, ledger: Ledger) -> None:
    """MAIE's door."""
    form = FormData(WISHES)
    form.add_field("file", b"".join(recording.pieces()), filename=recording.filename)
    async with session.post("/v1/process", data=form) as answer:
        document = await answer.json(content_type=None)
    if answer.status == 202:
        ledger.acknowledged.add(document["task_id"])
    else:
        ledger.surprises.append(f"a task met {answer.status}: {document}")


async def _lasting_differences(server: Process, redis: RedisServer, workshop: Workshop, ledger: Ledger) -> list[str]:
    """Between the uploads and the work, once there has been time to do it."""
    async with client(server) as session:
        for _ in range(LAST_LOOKS):
            await workshop.work(redis.url)
            everything = await listed(session)
            stored = {id: record for id, record in everything.items() if record["status"] == "stored"}
            seen = _differences(stored, workshop, ledger)
            if not seen:
                break
            await asyncio.sleep(1)
    return seen


def _differences(records: Mapping[str, Record], workshop: Workshop, ledger: Ledger) -> list[str]:
    runs = workshop.runs()
    done = Counter(run["job"] for run in runs)
    return [
        *(f"{id} is lost" for id in ledger.acknowledged - records.keys()),
        *(f"{id} was worked on {done[id]} times" for id in records.keys() | done.keys() if done[id] != (id in records)),
        *(f"{run['job']} was not worked on as it is" for run in runs if not _is_right(run, records)),
    ]


def _is_right(run: Run, records: Mapping[str, Record]) -> bool:
    """Whether a job was told of its own recording, and what its sender wants, and found both whole and new."""
    id, told = run["job"], run["params"]
    if id not in records:
        return False
    asked = "features" in records[id]["metadata"]
    wanted = ([WISHES["features"]], True) if asked else (["clean_transcript"], None)
    met = told["task_id"], run["status"], run["size"], (told["features"], told["enable_vad"])
    return met == (id, "PENDING", records[id]["size"], wanted)
