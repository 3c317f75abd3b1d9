"""Every target with its other side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.handoffs.sides import LogSide, RedisSide, Remote, RqSide, Side, WebhookSide
from tests.redis_server import needs_redis


@pytest.fixture
async def webhook_side() -> AsyncIterator[WebhookSide]:
    """A receiver of webhooks, and a target that leads there."""
    side = WebhookSide()
    await side.come_back()
    yield side
    await side.handoff.close()
    await side.leave()


@pytest.fixture
async def redis_side(tmp_path: Path) -> AsyncIterator[RedisSide]:
    """A Redis server, and a target that leads there."""
    side = RedisSide(tmp_path)
    await side.come_back()
    yield side
    await side.handoff.close()
    await side.client.aclose()
    await side.leave()


@pytest.fixture
async def rq_side(tmp_path: Path) -> AsyncIterator[RqSide]:
    """A Redis server, and a target that puts jobs there."""
    side = RqSide(tmp_path)
    await side.come_back()
    yield side
    await side.handoff.close()
    await side.leave()


@pytest.fixture
def lines() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture(params=["webhook", pytest.param("redis", marks=needs_redis), pytest.param("rq", marks=needs_redis)])
def remote(request: pytest.FixtureRequest) -> Remote:
    """Each target that leads elsewhere, in turn."""
    side: Remote = request.getfixturevalue(f"{request.param}_side")
    return side


@pytest.fixture(
    params=["log", "webhook", pytest.param("redis", marks=needs_redis), pytest.param("rq", marks=needs_redis)]
)
def side(request: pytest.FixtureRequest) -> Side:
    """Each target, in turn."""
    if request.param == "log":
        return LogSide(request.getfixturevalue("lines"))
    side: Side = request.getfixturevalue(f"{request.param}_side")
    return side
