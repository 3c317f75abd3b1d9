"""Jobs for MAIE's workers, in a real Redis, done by RQ's own worker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis
from rq.job import Job

from maie_aiohttp.errors import Undeliverable, Undelivered
from maie_aiohttp.handoffs.rq import RqHandoff
from maie_aiohttp.model import Event, Metadata, Status, Stored, Upload
from maie_aiohttp.settings import Rq
from tests.redis_server import RedisServer, needs_redis, redis_server
from tests.rq_worker import Workshop

pytestmark = needs_redis

ASKED: Metadata = {
    "features": ("clean_transcript", "summary"),
    "template_id": "meeting_notes_v1",
    "enable_vad": "false",
}


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """One for each test."""
    async with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """Where MAIE's workers are."""
    return Workshop(tmp_path / "maie")


def event(folder: Path, metadata: Metadata = ASKED) -> Event:
    """That a recording was stored, in a folder of the store."""
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    stored = Stored(4, "audio/wav", "wav", "0" * 64, "somewhere", now)
    upload = Upload(uuid4(), Status.STORED, "a.wav", 4, 4, now, metadata, stored)
    file = folder / "audio" / f"{upload.id}.wav"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"RIFF")
    return Event(f"stored-{upload.id}", "upload.stored", now, upload, file)


@asynccontextmanager
async def handoff(redis: RedisServer, store: Path, **settings: object) -> AsyncIterator[RqHandoff]:
    target = RqHandoff(Rq.model_validate({"url": redis.url, **settings}), store)
    yield target
    await target.close()


async def deliver(told: Event, redis: RedisServer, store: Path, **settings: object) -> None:
    """In one go."""
    async with handoff(redis, store, **settings) as target:
        await target.deliver(told)


def job_of(redis: RedisServer, told: Event) -> Job:
    """What RQ makes of what is in Redis."""
    with closing(Redis.from_url(redis.url)) as connection:
        return Job.fetch(str(told.upload.id), connection=connection)


async def test_the_worker_is_told_what_maie_tells_it(redis: RedisServer, workshop: Workshop, folder: Path) -> None:
    told = event(folder)
    await deliver(told, redis, folder)
    async with redis.client(1) as tasks:
        id = str(told.upload.id)
        assert await tasks.hgetall(f"task:{id}") == {
            "task_id": id,
            "status": "PENDING",
            "submitted_at": "2026-11-26T12:00:00+00:00",
            "features": '["clean_transcript", "summary"]',
            "template_id": "meeting_notes_v1",
            "file_path": str(told.file),
            "asr_backend": "whisper",
        }
        assert 604_000 < await tasks.ttl(f"task:{id}") <= 604_800
        await workshop.work(redis.url)
        assert await tasks.hget(f"task:{id}", "status") == "COMPLETE"
    assert workshop.runs() == [
        {
            "job": id,
            "status": "PENDING",
            "size": 4,
            "params": {
                "task_id": id,
                "audio_path": str(told.file),
                "features": ["clean_transcript", "summary"],
                "template_id": "meeting_notes_v1",
                "asr_backend": "whisper",
                "enable_diarization": True,
                "enable_vad": False,
                "vad_threshold": None,
                "redis_host": "127.0.0.1",
                "redis_port": redis.port,
                "redis_db": 1,
                "correlation_id": told.id,
            },
        }
    ]


async def test_an_event_told_again_is_one_job(redis: RedisServer, workshop: Workshop, folder: Path) -> None:
    told = event(folder)
    async with handoff(redis, folder) as target:
        await asyncio.gather(*(_until_acknowledged(target, told) for _ in range(20)))
        await workshop.work(redis.url)
        await target.deliver(told)
        await workshop.work(redis.url)
    assert len(workshop.runs()) == 1
    async with redis.client(1) as tasks:
        assert await tasks.hget(f"task:{told.upload.id}", "status") == "COMPLETE"


async def _until_acknowledged(target: RqHandoff, told: Event) -> None:
    """As a relay does."""
    while True:
        with suppress(Undelivered):
            return await target.deliver(told)


@pytest.mark.parametrize("left", ["job", "task"])
async def test_either_of_job_and_task_is_enough_to_do_nothing(
    redis: RedisServer, workshop: Workshop, folder: Path, left: str
) -> None:
    """RQ may have been told to forget jobs at once, and somebody may have deleted the task."""
    told = event(folder)
    await deliver(told, redis, folder)
    await workshop.work(redis.url)
    async with redis.client() as jobs, redis.client(1) as tasks:
        await (tasks.delete(f"task:{told.upload.id}") if left == "job" else jobs.delete(f"rq:job:{told.upload.id}"))
    await deliver(told, redis, folder)
    await workshop.work(redis.url)
    assert len(workshop.runs()) == 1


class Way:
    """A way to Redis that breaks off once: with the first transaction, or with the answer to it."""

    def __init__(self, redis: RedisServer, loses: str) -> None:
        self._port = redis.port
        self._loses = loses
        self._broken = False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        answers, questions = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(_pump(answers, writer))
        while (data := await reader.read(65_536)) and (self._broken or b"EXEC" not in data):
            questions.write(data)
        if data:
            self._broken = True
            if self._loses == "answer":
                back.cancel()
                await asyncio.wait([back])
                questions.write(data)
                await answers.read(1)
        back.cancel()
        questions.close()
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)


@pytest.mark.parametrize("lost", ["transaction", "answer"])
async def test_a_connection_that_breaks_off_is_no_acknowledgement(
    redis: RedisServer, workshop: Workshop, folder: Path, lost: str
) -> None:
    told = event(folder)
    async with await asyncio.start_server(Way(redis, lost).carry, "127.0.0.1", 0) as way:
        url = f"redis://127.0.0.1:{way.sockets[0].getsockname()[1]}/0"
        async with handoff(redis, folder, url=url) as target:
            with pytest.raises(Undelivered):
                await target.deliver(told)
            await workshop.work(redis.url)
            assert len(workshop.runs()) == (lost == "answer")
            await target.deliver(told)
        await workshop.work(redis.url)  # which is told the same way
        assert len(workshop.runs()) == 1


@pytest.mark.parametrize("trouble", ["gone", "killed", "still", "full", "no such database"])
async def test_what_redis_does_not_take_is_to_be_told_again(
    redis: RedisServer, workshop: Workshop, folder: Path, trouble: str
) -> None:
    told = event(folder)
    if trouble in ("gone", "killed"):
        await redis.stop(signal.SIGKILL if trouble == "killed" else signal.SIGTERM)
    elif trouble == "still":
        redis.signal(signal.SIGSTOP)
    elif trouble == "full":
        async with redis.client() as client:
            await client.config_set("maxmemory", "1")
    with pytest.raises(Undelivered):
        await deliver(told, redis, folder, timeout="300 ms", results_db=99 if trouble == "no such database" else 1)
    if trouble in ("gone", "killed"):
        await redis.start()
    elif trouble == "still":
        redis.signal(signal.SIGCONT)
    async with redis.client() as client:
        await client.config_set("maxmemory", "0")
        assert await client.keys() == []
    await deliver(told, redis, folder)
    await workshop.work(redis.url)
    assert len(workshop.runs()) == 1


async def test_what_is_no_task_never_becomes_one(redis: RedisServer, folder: Path) -> None:
    with pytest.raises(Undeliverable, match="`template_id` is required"):
        await deliver(event(folder, {"features": "summary"}), redis, folder)
    async with redis.client() as client:
        assert await client.keys() == []


async def test_settings_choose_queue_function_arguments_and_folder(redis: RedisServer, folder: Path) -> None:
    told = event(folder)
    await deliver(
        told,
        redis,
        folder,
        queue="audio",
        function="other.place.work",
        arguments="task_id,audio_path",
        folder="/mnt/recordings",
        job_timeout="30 s",
        lifetime="1 min",
        results_db=0,
    )
    id = str(told.upload.id)
    async with redis.client() as client:
        assert await client.lrange("rq:queue:audio", 0, -1) == [id]
        assert 0 < await client.ttl(f"task:{id}") <= 60
        assert await client.hget(f"task:{id}", "file_path") == f"/mnt/recordings/audio/{id}.wav"
    job = job_of(redis, told)
    assert (job.func_name, job.timeout, job.result_ttl) == ("other.place.work", 30, 60)
    assert job.args == ({"task_id": id, "audio_path": f"/mnt/recordings/audio/{id}.wav"},)
