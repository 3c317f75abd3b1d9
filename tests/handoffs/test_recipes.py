"""What `docs/handoff.md` tells consumers to do does each event once, however often it is told."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError

from maie_aiohttp.interfaces import Handoff
from tests.handoffs.sides import SECRET, RedisSide, WebhookSide, event
from tests.redis_server import needs_redis

DOCUMENT = (Path(__file__).parents[2] / "docs/handoff.md").read_text()
WEBHOOK, STREAM = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


def taught(recipe: str, **names: object) -> dict[str, Any]:
    """What a recipe defines."""
    exec(recipe.replace("whsec_…", SECRET), names)  # noqa: S102 - our own documentation
    return names


async def tell_twice(handoff: Handoff) -> list[str]:
    """Three events, each of them twice. Returns their ids."""
    told = [event() for _ in range(3)]
    for one in (*told, *told):
        await handoff.deliver(one)
    return [one.id for one in told]


async def test_of_webhooks(webhook_side: WebhookSide) -> None:
    database = sqlite3.connect(":memory:")
    database.executescript("CREATE TABLE seen (id PRIMARY KEY); CREATE TABLE work (upload)")
    webhook_side.receiver.answer = taught(WEBHOOK, database=database)["hear"]
    ids = await tell_twice(webhook_side.handoff)
    assert database.execute("SELECT upload FROM work").fetchall() == [(id,) for id in ids]
    database.close()


@needs_redis
async def test_of_streams(redis_side: RedisSide) -> None:
    done: list[str] = []

    async def process(file: str) -> None:
        done.append(Path(file).stem)

    consume = taught(STREAM, process=process, suppress=suppress, ResponseError=ResponseError)["consume"]
    consuming = asyncio.create_task(consume(redis_side.client, "one"))
    ids = await tell_twice(redis_side.handoff)
    while await redis_side.client.get(f"done:{ids[-1]}") is None:  # noqa: ASYNC110 - Redis tells nobody
        await asyncio.sleep(0.01)
    consuming.cancel()
    await asyncio.wait([consuming])
    assert done == ids
