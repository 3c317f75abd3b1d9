"""What has become of a task: from the record until MAIE has it, then from MAIE's own hash."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import FormData

from maie_aiohttp.model import Handed
from maie_aiohttp.web.appkeys import CATALOG
from tests import audio
from tests.conftest import Client, configure, send, serving
from tests.keys import EVERYTHING, bearer, key
from tests.redis_server import RedisServer, needs_redis, redis_server
from tests.rq_worker import Workshop
from tests.wire import DEADLINE

pytestmark = needs_redis

NOTHING = dict.fromkeys(["error", "error_code", "stage", "completed_at", "versions", "metrics", "results"])


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """MAIE's."""
    async with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def client(redis: RedisServer, folder: Path) -> AsyncIterator[Client]:
    """Of a server that hands recordings to MAIE, and does not wait long for it."""
    handoff: dict[str, object] = {"targets": ("rq",), "first_pause": "20 ms", "longest_pause": "20 ms"}
    maie: dict[str, object] = {"url": redis.url, "timeout": "1 s", "max_queue_depth": 2}
    async with serving(configure(folder, handoff=handoff, rq=maie)) as client:
        yield client


async def status(client: Client, id: str, **headers: str) -> tuple[int, dict[str, Any]]:
    async with client.get(f"/v1/status/{id}", headers=headers) as answer:
        return answer.status, await answer.json()


async def handed(client: Client, id: str, how: Handed = Handed.DELIVERED) -> None:
    """Wait until the relay says so."""
    assert client.app is not None
    async with asyncio.timeout(DEADLINE):
        while [letter.status for letter in await client.app[CATALOG].outbox.of(UUID(id))] != [how]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def process(client: Client, **fields: str) -> tuple[int, dict[str, Any]]:
    form = FormData(fields)
    form.add_field("file", audio.sample("amr").content, filename="a.amr")
    async with client.post("/v1/process", data=form) as answer:
        return answer.status, await answer.json()


async def test_from_pending_to_complete(client: Client, redis: RedisServer, tmp_path: Path) -> None:
    _, accepted = await process(client, features="raw_transcript")
    id = accepted["task_id"]
    await handed(client, id)
    assert (await status(client, id))[1]["status"] == "PENDING"
    workshop = Workshop(tmp_path / "maie")
    await workshop.work(redis.url)
    code, told = await status(client, id)
    assert (code, told["task_id"], told["status"]) == (200, id, "COMPLETE")
    assert told["results"] == {"clean_transcript": "Ada speaks."}
    assert told["submitted_at"]
    assert "file_path" not in told
    (run,) = workshop.runs()
    assert run["params"]["features"] == ["raw_transcript"]


async def test_while_redis_is_away_a_recording_is_taken_and_its_task_pending(
    client: Client, redis: RedisServer, tmp_path: Path
) -> None:
    await redis.stop()
    code, accepted = await process(client)
    assert code == 202
    record = await send(client, audio.sample("amr"))
    assert (await status(client, record["id"]))[1] == {
        "task_id": record["id"],
        "status": "PENDING",
        "submitted_at": record["stored_at"].replace("Z", "+00:00"),
        **NOTHING,
    }
    await redis.start()
    for id in (accepted["task_id"], record["id"]):
        await handed(client, id)
    workshop = Workshop(tmp_path / "maie")
    await workshop.work(redis.url)
    assert {run["job"] for run in workshop.runs()} == {accepted["task_id"], record["id"]}


@pytest.mark.parametrize("how", ["stopped", "standing still"])
async def test_what_only_redis_knows_is_told_when_it_answers(client: Client, redis: RedisServer, how: str) -> None:
    id = (await process(client))[1]["task_id"]
    await handed(client, id)
    await redis.stop() if how == "stopped" else redis.signal(signal.SIGSTOP)
    code, problem = await status(client, id)
    assert (code, problem["type"]) == (503, "urn:maie:problem:busy")


async def test_what_is_forgotten_is_not_pending_again(client: Client, redis: RedisServer) -> None:
    id = (await process(client))[1]["task_id"]
    await handed(client, id)
    async with redis.client(1) as tasks:
        await tasks.delete(f"task:{id}")
    assert (await status(client, id))[0] == 404


async def test_what_maie_writes_is_told_in_its_words(client: Client, redis: RedisServer) -> None:
    id = (await process(client))[1]["task_id"]
    await handed(client, id)
    written: dict[Any, str] = {
        "status": "FAILED",
        "error": "no model",
        "error_code": "MODEL_LOAD_ERROR",
        "stage": "asr",
        "completed_at": "2026-11-26T12:00:00+00:00",
        "metrics": json.dumps({"rtf": 0.5, "vad_coverage": float("nan")}),
        "versions": "{broken",
    }
    async with redis.client(1) as tasks:
        await tasks.hset(f"task:{id}", mapping=written)
    _, told = await status(client, id)
    assert told == {**told, **written, "metrics": {"rtf": 0.5, "vad_coverage": None}, "results": None}


async def test_metadata_that_is_no_task_failed(client: Client) -> None:
    content = audio.sample("amr").content
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": str(len(content)),
        "Upload-Metadata": "features Zm9v",
        "Content-Type": "application/offset+octet-stream",
    }
    async with client.post("/v1/uploads", data=content, headers=headers) as answer:
        assert answer.status == 201
        id = answer.headers["Location"].rpartition("/")[2]
    await handed(client, id, Handed.DEAD)
    _, told = await status(client, id)
    assert (told["status"], told["stage"], told["error_code"]) == ("FAILED", "handoff", "HANDOFF_FAILED")
    assert told["error"].startswith("`features`")


async def test_only_what_is_stored_has_a_task(client: Client) -> None:
    begun = {"Tus-Resumable": "1.0.0", "Upload-Length": "9"}
    async with client.post("/v1/uploads", headers=begun) as answer:
        id = answer.headers["Location"].rpartition("/")[2]
    for nothing in (id, str(uuid4()), "no-id"):
        code, problem = await status(client, nothing)
        assert (code, problem["type"]) == (404, "urn:maie:problem:not-found")


async def test_tasks_of_others_are_not_there(client: Client) -> None:
    ada, bob = [await key(client, name, EVERYTHING) for name in ("ada", "bob")]
    form = FormData()
    form.add_field("file", audio.sample("amr").content, filename="a.amr")
    async with client.post("/v1/process", data=form, headers={"X-API-Key": ada}) as answer:
        id = (await answer.json())["task_id"]
    assert (await status(client, id, **bearer(ada)))[0] == 200
    assert (await status(client, id, **bearer(bob)))[0] == 404


async def test_what_waits_in_redis_counts_while_it_answers(client: Client, redis: RedisServer) -> None:
    async with redis.client() as jobs:
        await jobs.rpush("rq:queue:default", "one", "two")
    code, problem = await process(client)
    assert (code, problem["type"]) == (429, "urn:maie:problem:queue-full")
    await redis.stop()
    code, accepted = await process(client)
    assert code == 202
    await redis.start()
    await handed(client, accepted["task_id"])  # until then, it counts on both sides for a moment
    async with redis.client() as jobs:
        await jobs.delete("rq:queue:default")
    assert (await process(client))[0] == 202
