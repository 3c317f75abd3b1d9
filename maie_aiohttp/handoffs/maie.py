"""MAIE, as the clients of its own API know it: its queue, what they ask for, and what has become of that."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import cast
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from rq import Queue

from maie_aiohttp.errors import Busy, NotFound, QueueFull
from maie_aiohttp.handoffs.rq import NAME, PENDING, results_url, task_key
from maie_aiohttp.handoffs.task import check, task
from maie_aiohttp.interfaces import Outbox
from maie_aiohttp.model import Handed, Letter, Metadata, Upload
from maie_aiohttp.settings import Rq

BREAK = 10
"""Seconds until a client may find room in the queue."""

JSON_FIELDS = frozenset({"versions", "metrics", "results"})
"""What MAIE's workers write as JSON."""

FIELDS = ("status", "error", "error_code", "stage", "submitted_at", "completed_at", *sorted(JSON_FIELDS))
"""What MAIE tells of a task, besides its id; where the recording lies is not among it."""


@asynccontextmanager
async def maie(settings: Rq, outbox: Outbox) -> AsyncIterator[Maie]:
    """With connections to its Redis, made when they are needed."""
    async with (
        _client(settings.url, settings.timeout) as jobs,
        _client(results_url(settings), settings.timeout) as tasks,
    ):
        yield Maie(settings, outbox, jobs, tasks)


class Maie:
    """See `interfaces.Pipeline`."""

    def __init__(self, settings: Rq, outbox: Outbox, jobs: Redis, tasks: Redis) -> None:
        self._settings = settings
        self._outbox = outbox
        self._queue = Queue.redis_queue_namespace_prefix + settings.queue
        self._jobs = jobs
        self._tasks = tasks

    async def admit(self) -> None:
        """What waits for Redis waits for MAIE, too. What waits in Redis does not count while that is away."""
        waiting = (await self._outbox.backlog(NAME)).waiting
        with suppress(RedisError):
            waiting += await self._jobs.llen(self._queue)
        if waiting >= self._settings.max_queue_depth:
            raise QueueFull("Enough recordings wait to be processed; send this one again later.", seconds=BREAK)

    def check(self, wishes: Metadata) -> None:
        check(wishes, self._settings)

    def accept(self, wishes: Metadata) -> None:
        task(wishes, self._settings)

    async def outcome(self, upload: Upload) -> Mapping[str, object]:
        """Looks for the letter first: where that was delivered already, there has been a task."""
        letter = next((one for one in await self._outbox.of(upload.id) if one.target == NAME), None)
        is_delivered = letter is not None and letter.status is Handed.DELIVERED
        found = await self._task(upload.id, is_there=is_delivered)
        if found:
            return {name: _value(name, found.get(name)) for name in FIELDS}
        if is_delivered:
            raise NotFound("What has become of this task is not known any more.")
        return {**dict.fromkeys(FIELDS), **_not_delivered(upload, letter)}

    async def _task(self, id: UUID, *, is_there: bool) -> Mapping[str, str]:
        """Empty where there is none. Redis may be away as long as nothing has to be there."""
        try:
            return cast("dict[str, str]", await self._tasks.hgetall(task_key(id)))
        except RedisError:
            if is_there:
                raise Busy("What has become of this task cannot be told at the moment.") from None
            return {}


def _client(url: str, timeout: float) -> Redis:
    """It tries nothing twice: somebody waits."""
    return Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        encoding_errors="replace",
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
    )


def _not_delivered(upload: Upload, letter: Letter | None) -> Mapping[str, object]:
    if letter is not None and letter.status is Handed.DEAD:
        return {"status": "FAILED", "error": letter.error, "error_code": "HANDOFF_FAILED", "stage": "handoff"}
    return {"status": PENDING, "submitted_at": upload.stored and upload.stored.at.isoformat()}


def _value(name: str, written: str | None) -> object:
    """As MAIE gives it out; a number that JSON does not know is null."""
    if written is None or name not in JSON_FIELDS:
        return written
    try:
        return json.loads(written, parse_constant=lambda _: None)
    except ValueError:
        return written
