"""A Redis Stream: what stands in it, and how a consumer reads it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from maie_aiohttp.errors import Undelivered
from maie_aiohttp.web.records import as_json
from tests.handoffs.sides import ROOT, RedisSide, event
from tests.redis_server import needs_redis

pytestmark = needs_redis


async def test_an_entry_says_all_of_it(redis_side: RedisSide) -> None:
    told = event()
    await redis_side.handoff.deliver(told)
    (entry,) = await redis_side.entries()
    document = json.loads(entry.pop("event"))
    assert entry == {"id": told.id, "type": "upload.stored", "file": str(told.file)}
    assert (document["id"], document["data"]) == (told.id, as_json(told.upload, ROOT))


async def test_the_stream_is_kept_short(redis_side: RedisSide) -> None:
    short = RedisSide(Path("/unused"), url=redis_side.settings.url, stream="short", max_length=10)
    for _ in range(50):
        await asyncio.gather(*(short.handoff.deliver(event()) for _ in range(10)))
    await short.handoff.close()
    assert len(await short.entries()) < 250  # Redis drops whole nodes, of a hundred entries
    await short.client.aclose()


async def test_what_is_no_stream_refuses(redis_side: RedisSide) -> None:
    await redis_side.client.set(redis_side.settings.stream, "mine")
    with pytest.raises(Undelivered, match="WRONGTYPE"):
        await redis_side.handoff.deliver(event())


async def test_a_password_that_is_wrong(redis_side: RedisSide) -> None:
    url = redis_side.settings.url.replace("//", "//somebody:secret@")
    stranger = RedisSide(Path("/unused"), url=url)
    with pytest.raises(Undelivered, match="let this server in") as raised:
        await stranger.handoff.deliver(event())
    assert "secret" not in str(raised.value)
    await stranger.handoff.close()


async def test_out_of_memory_it_refuses_and_takes_it_later(redis_side: RedisSide) -> None:
    told = event()
    await redis_side.client.config_set("maxmemory", "1")
    with pytest.raises(Undelivered, match="memory"):
        await redis_side.handoff.deliver(told)
    await redis_side.client.config_set("maxmemory", "0")
    await redis_side.handoff.deliver(told)
    assert await redis_side.received() == [told.id]
