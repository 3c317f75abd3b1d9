"""The other sides of the targets, real ones: what they were told, and ways to make them fail."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web
from redis.asyncio import Redis

from maie_aiohttp.handoffs.log import LogHandoff
from maie_aiohttp.handoffs.redis import RedisHandoff
from maie_aiohttp.handoffs.rq import RqHandoff
from maie_aiohttp.handoffs.webhook import WebhookHandoff
from maie_aiohttp.interfaces import Handoff
from maie_aiohttp.model import Event
from maie_aiohttp.settings import Redis as RedisSettings
from maie_aiohttp.settings import Rq
from maie_aiohttp.settings import Webhook as WebhookSettings
from tests.layers import NOON, stored_part, upload
from tests.redis_server import RedisServer

ROOT = "https://audio.example.org"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of Standard Webhooks' own example
TIMEOUT = 3.0
HERE = ["127.0.0.0/8", "::1"]


class Side(Protocol):
    """Somebody who is told."""

    @property
    def handoff(self) -> Handoff:
        """The target that tells it."""
        ...

    async def received(self) -> list[str]:
        """The ids of what came, in the order it came."""
        ...


class Remote(Side, Protocol):
    """Somebody elsewhere, who can be away."""

    @property
    def group(self) -> dict[str, object]:
        """Settings that lead there; the group has the target's name."""
        ...

    async def leave(self) -> None:
        """Be away from now on."""
        ...

    async def hang(self) -> None:
        """Take connections, and say nothing."""
        ...

    async def come_back(self) -> None:
        """Be there again, at the same place."""
        ...


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


class Silence:
    """A port behind which nobody speaks."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None

    async def begin(self) -> None:
        async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(-1)
            writer.close()

        self._server = await asyncio.start_server(keep, "127.0.0.1", self._port)

    async def end(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


@dataclass(slots=True)
class Call:
    """One request that a receiver got."""

    headers: Mapping[str, str]
    body: bytes


Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


async def ok(_: web.BaseRequest) -> web.Response:
    return web.Response(status=204)


@dataclass
class Receiver:
    """An HTTP server that gets webhooks."""

    port: int = field(default_factory=free_port)
    answer: Answer = ok
    calls: list[Call] = field(default_factory=list)
    _runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/audio?from=maie"

    async def start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.calls.append(Call(request.headers.copy(), await request.read()))
        return await self.answer(request)


def webhook_group(url: str, **changes: object) -> dict[str, object]:
    """Settings of a target that may go to this machine."""
    return {"url": url, "secrets": [SECRET], "private_networks": HERE, "timeout": f"{TIMEOUT} s", **changes}


def webhook(url: str, **changes: object) -> WebhookHandoff:
    """Such a target."""
    return WebhookHandoff(WebhookSettings.model_validate(webhook_group(url, **changes)), ROOT)


class WebhookSide:
    """A receiver of webhooks."""

    def __init__(self) -> None:
        self.receiver = Receiver()
        self.group = webhook_group(self.receiver.url)
        self.handoff = webhook(self.receiver.url)
        self._silence = Silence(self.receiver.port)

    async def received(self) -> list[str]:
        return [json.loads(call.body)["id"] for call in self.receiver.calls]

    async def leave(self) -> None:
        await self.receiver.stop()

    async def hang(self) -> None:
        await self.receiver.stop()
        await self._silence.begin()

    async def come_back(self) -> None:
        await self._silence.end()
        await self.receiver.start()


class AtRedis:
    """Something at a Redis server of its own."""

    def __init__(self, folder: Path) -> None:
        self.server = RedisServer(folder)
        self._silence = Silence(self.server.port)

    async def leave(self) -> None:
        await self.server.stop()

    async def hang(self) -> None:
        await self.server.stop()
        await self._silence.begin()

    async def come_back(self) -> None:
        await self._silence.end()
        await self.server.start()


class RedisSide(AtRedis):
    """Whoever reads a stream."""

    def __init__(self, folder: Path, **changes: object) -> None:
        super().__init__(folder)
        self.group = {"url": self.server.url, "timeout": f"{TIMEOUT} s", **changes}
        self.settings = RedisSettings.model_validate(self.group)
        self.handoff = RedisHandoff(self.settings, ROOT)
        self.client = Redis.from_url(self.settings.url, decode_responses=True)

    async def entries(self) -> list[dict[str, str]]:
        """What stands in the stream."""
        found: Any = await self.client.xrange(self.settings.stream)
        return [fields for _, fields in found]

    async def received(self) -> list[str]:
        return [fields["id"] for fields in await self.entries()]


class RqSide(AtRedis):
    """MAIE's workers, who have not begun yet."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.group: dict[str, object] = {"url": self.server.url, "timeout": f"{TIMEOUT} s"}
        self.handoff = RqHandoff(Rq.model_validate(self.group), Path("/data"))

    async def received(self) -> list[str]:
        async with self.server.client() as client:
            return [str(id) for id in await client.lrange("rq:queue:default", 0, -1)]


class LogSide:
    """Whoever reads the log."""

    def __init__(self, lines: Sequence[Mapping[str, Any]]) -> None:
        self.handoff = LogHandoff()
        self._lines = lines

    async def received(self) -> list[str]:
        return [line["upload"] for line in self._lines]


def event(**changes: object) -> Event:
    """What a relay makes of a stored upload."""
    told = upload(**changes)  # type: ignore[arg-type]  # fields by name
    return Event(str(told.id), "upload.stored", NOON, told, Path("/data") / stored_part(told).locator)
