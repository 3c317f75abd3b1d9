"""A hand-off to a Redis Stream: one entry an event, acknowledged when Redis has it.

Told twice, an event is there twice: consumers tell by the field `id`.
"""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.typing import EncodableT, FieldT

from maie_aiohttp.errors import Undelivered
from maie_aiohttp.handoffs.document import render
from maie_aiohttp.handoffs.redis_errors import explained
from maie_aiohttp.model import Event
from maie_aiohttp.settings import Redis as Configured


class RedisHandoff:
    """See `interfaces.Handoff`. It is used in one event loop."""

    name = "redis"

    def __init__(self, configured: Configured, root: str) -> None:
        """`root` is what stands before the paths of this server's uploads."""
        self._stream = configured.stream
        self._max_length = configured.max_length or None
        self._root = root
        self._timeout = configured.timeout
        self._client = Redis.from_url(configured.url, retry=Retry(NoBackoff(), 0))  # the relay tries again

    async def deliver(self, event: Event) -> None:
        entry: dict[FieldT, EncodableT] = {
            "id": event.id,
            "type": event.type,
            "file": str(event.file),
            "event": render(event, self._root),
        }
        try:
            async with asyncio.timeout(self._timeout):
                await self._client.xadd(self._stream, entry, maxlen=self._max_length, approximate=True)
        except (RedisError, OSError, TimeoutError) as error:
            raise Undelivered(explained(error)) from None

    async def close(self) -> None:
        await self._client.aclose()
