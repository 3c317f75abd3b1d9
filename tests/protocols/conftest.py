"""One server for all the abuse of a module: it must serve on after each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conftest import configure, serving
from tests.wire import Edge


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    """It lets refused clients go at once."""
    folder = tmp_path_factory.mktemp("edge") / "data"
    async with serving(configure(folder, server={"linger": "100 ms"})) as client:
        yield Edge(client, folder)


@pytest_asyncio.fixture(loop_scope="module")
async def edge(server: Edge) -> AsyncIterator[Edge]:
    """The server of the module, empty again when a test is done with it."""
    yield server
    await server.clear()
