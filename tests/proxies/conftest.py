"""One server for each module, and each way to reach it: itself, and through proxies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.clients.service import unavailable
from tests.proxies.fronts import Kind, client_of, front
from tests.scenarios.process import Process, serving
from tests.wire import Edge

SETTINGS = {
    "access.without_keys": "anybody",
    "server.trusted_proxies": "127.0.0.1",
    "server.linger": "500 ms",
    "limits.idle_timeout": "1 s",
    "limits.max_size": "8 MB",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """The server itself."""

    process: Process
    url: str
    folder: Path
    """Its data."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def origin(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Origin]:
    """It lets refused clients go soon, and waits for nobody for long."""
    folder = tmp_path_factory.mktemp("origin") / "data"
    async with serving(folder, SETTINGS) as process:
        yield Origin(process, await process.url(), folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reached(
    request: pytest.FixtureRequest, origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Edge]:
    """The server, in the way that a module's tests name as parameters of this fixture."""
    kind: Kind = request.param
    if kind.program and not kind.path:
        unavailable(f"needs {kind.program}")
    async with front(kind, origin.url, tmp_path_factory.mktemp("front")) as url, client_of(url) as client:
        yield Edge(client, origin.folder)


@pytest_asyncio.fixture(loop_scope="module")
async def edge(reached: Edge) -> AsyncIterator[Edge]:
    """The same, empty again when a test is done with it."""
    yield reached
    await reached.clear()
