"""What supervisors and load balancers ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from maie_aiohttp.web.appkeys import DRAIN, INTAKE
from tests import audio
from tests.conftest import Client, configure, serving


async def test_healthy_and_ready(client: Client) -> None:
    assert await (await client.get("/health")).json() == {"status": "ok"}
    ready = await client.get("/ready")
    assert ready.status == 200
    state = {"receiving": 0, "received": 0, "handoffs_waiting": 0, "handoffs_dead": 0}
    assert await ready.json() == {"status": "ready", **state}


async def test_ready_shows_what_is_on_its_way(client: Client) -> None:
    recording = audio.sample("wav").content
    shown: list[tuple[int, int]] = []

    async def in_halves() -> AsyncIterator[bytes]:
        yield recording[:20_000]
        while not shown or shown[-1] != (1, 20_000):
            state = await (await client.get("/ready")).json()
            shown.append((state["receiving"], state["received"]))
        yield recording[20_000:]

    answer = await client.post("/v1/uploads", data=in_halves(), headers={"Content-Type": "audio/wav"})
    assert answer.status == 201
    state = await (await client.get("/ready")).json()
    assert (state["receiving"], state["received"]) == (0, 0)


async def test_not_ready_below_the_reserve(folder: Path) -> None:
    storage: dict[str, object] = {"reserve": "1000 TiB", "reserve_ratio": "100 %"}
    async with serving(configure(folder, storage=storage)) as client:
        ready = await client.get("/ready")
        assert ready.status == 503
        assert (await ready.json())["type"] == "urn:maie:problem:storage-full"
        assert (await client.get("/health")).status == 200
        refused = await client.post("/v1/uploads", data=b"RIFF")
        assert refused.status == 507
        assert (await client.get("/v1/uploads")).status == 200


async def test_not_ready_while_stopping(client: Client) -> None:
    assert client.app is not None
    await client.app[DRAIN].run(0, client.app[INTAKE].inspector.stop)
    ready = await client.get("/ready")
    assert ready.status == 503
    assert (await client.get("/v1/uploads")).status == 200
    refused = await client.post("/v1/uploads", data=b"RIFF")
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) > 0
