"""A job for MAIE's own workers, in a queue of RQ's, and the hash in which they keep what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.typing import EncodableT, FieldT
from rq import Queue
from rq.job import Job
from yarl import URL

from maie_aiohttp.concurrency import in_thread
from maie_aiohttp.errors import InvalidTask, Undeliverable, Undelivered
from maie_aiohttp.handoffs.redis_errors import explained
from maie_aiohttp.handoffs.task import Task, task
from maie_aiohttp.model import Event
from maie_aiohttp.settings import Rq

NAME = "rq"
"""Of this target."""

THREADS = 4
"""Jobs put into the queue at a time; RQ knows no asyncio."""

PORT = 6379
"""Where Redis listens, unless somebody says otherwise."""

PENDING = "PENDING"
"""MAIE's word for a task that no worker has begun."""

log = structlog.get_logger()


def task_key(id: object) -> str:
    """Where MAIE's workers keep what becomes of a task."""
    return f"task:{id}"


def results_url(settings: Rq) -> str:
    """The database of these tasks."""
    return str(URL(settings.url).with_path(f"/{settings.results_db}"))


class RqHandoff:
    """See `interfaces.Handoff`. Job and task are named by the upload. Both are put there, or neither; where one of them
    is found, nothing is done: the job waits, or runs, or has run."""

    name = NAME

    def __init__(self, settings: Rq, folder: Path) -> None:
        """`folder` is that of the store, as the path of every recording begins with it."""
        self._settings = settings
        self._folder = folder
        self._jobs = _client(settings.url, settings.timeout)
        self._tasks = _client(results_url(settings), settings.timeout)
        self._queue = Queue(settings.queue, connection=self._jobs)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="rq")

    async def deliver(self, event: Event) -> None:
        try:
            wanted = task(event.upload.metadata, self._settings)
        except InvalidTask as error:
            raise Undeliverable(str(error)) from None
        try:
            new = await in_thread(self._threads, self._enqueue, event, wanted)
        except RedisError as error:
            raise Undelivered(explained(error)) from None
        if not new:
            log.info("job known already", upload=str(event.upload.id))

    async def close(self) -> None:
        self._threads.shutdown()
        self._jobs.close()
        self._tasks.close()

    def _enqueue(self, event: Event, wanted: Task) -> bool:
        """Returns whether it was new. The key of the job is watched before anything is looked at: who puts it there
        later breaks the transaction, who was faster is noticed by the task, should the job be forgotten already. A
        broken transaction is an error, and not known from a broken connection (redis-py calls both `WatchError`)."""
        job, key = self._job(event, wanted), task_key(event.upload.id)
        with self._jobs.pipeline() as transaction:
            transaction.watch(job.key)
            if self._tasks.exists(key) or transaction.exists(job.key):
                return False
            transaction.multi()
            transaction.execute_command("SELECT", self._settings.results_db)
            transaction.hset(key, mapping=self._record(event, wanted))
            transaction.expire(key, int(self._settings.lifetime))
            transaction.execute_command("SELECT", self._jobs.get_connection_kwargs().get("db", 0))
            self._queue.enqueue_job(job, pipeline=transaction)
            transaction.execute()
        return True

    def _job(self, event: Event, wanted: Task) -> Job:
        return self._queue.create_job(
            self._settings.function,
            args=(self._arguments(event, wanted),),
            job_id=str(event.upload.id),
            timeout=int(self._settings.job_timeout),
            result_ttl=int(self._settings.lifetime),
        )

    def _arguments(self, event: Event, wanted: Task) -> dict[str, object]:
        """What the job is told: of all this, what the settings choose."""
        redis = URL(self._settings.url)
        told = {
            **wanted.model_dump(mode="json"),
            "task_id": str(event.upload.id),
            "audio_path": self._path(event),
            "redis_host": redis.host,
            "redis_port": redis.port or PORT,
            "redis_db": self._settings.results_db,
            "correlation_id": event.id,
        }
        return {name: told[name] for name in self._settings.arguments}

    def _record(self, event: Event, wanted: Task) -> Mapping[FieldT, EncodableT]:
        """The task, as MAIE's workers expect to find it."""
        return {
            "task_id": str(event.upload.id),
            "status": PENDING,
            "submitted_at": event.at.isoformat(),
            "features": json.dumps(wanted.features),
            "template_id": wanted.template_id or "",
            "file_path": self._path(event),
            "asr_backend": wanted.asr_backend,
        }

    def _path(self, event: Event) -> str:
        """Where the workers find the recording."""
        elsewhere = self._settings.folder
        return str(event.file if elsewhere is None else elsewhere / event.file.relative_to(self._folder))


def _client(url: str, timeout: float) -> Redis:
    """It tries nothing twice: the relay does."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=timeout, socket_connect_timeout=timeout)
