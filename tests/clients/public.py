"""A server that knows its own address, and so gives absolute URLs: aiotus takes no others that begin with a slash."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp.test_utils import TestClient, unused_port

from maie_aiohttp.settings import Settings
from tests.clients.service import Service
from tests.conftest import HardenedServer, configure


@asynccontextmanager
async def public_service(folder: Path, make: Callable[[Settings], HardenedServer]) -> AsyncIterator[Service]:
    """The server that `make` makes, running."""
    port = unused_port()
    server = make(
        configure(folder, access={"without_keys": "anybody"}, server={"public_url": f"http://127.0.0.1:{port}"})
    )
    server.port = port
    async with TestClient(server) as client:
        yield Service(client)
