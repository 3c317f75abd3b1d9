"""aiotus, in the event loop of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import aiotus
import pytest
from aiohttp import ClientSession
from aiotus import core, creation
from yarl import URL

from maie_aiohttp.units import MIB
from tests.clients.public import public_service
from tests.clients.service import FILENAME, METADATA, RECORDING, Service
from tests.conftest import HardenedServer

ENCODED = {name: value.encode() for name, value in METADATA.items()}
PIECE = 65_536


@pytest.fixture
async def service(folder: Path) -> AsyncIterator[Service]:
    """The server; its URLs are absolute."""
    async with public_service(folder, HardenedServer) as service:
        yield service


async def test_upload(service: Service) -> None:
    location = await aiotus.upload(service.uploads, BytesIO(RECORDING))
    assert location is not None
    await service.assert_stored(str(location), filename=None, metadata={})


async def test_pieces(service: Service) -> None:
    location = await aiotus.upload(service.uploads, BytesIO(RECORDING), chunksize=PIECE)
    assert location is not None
    await service.assert_stored(str(location))


async def test_metadata_and_back(service: Service) -> None:
    location = await aiotus.upload(service.uploads, BytesIO(RECORDING), ENCODED)
    assert location is not None
    assert await aiotus.metadata(location) == ENCODED
    await service.assert_stored(str(location), filename=FILENAME, metadata=METADATA)


async def test_resumption(service: Service) -> None:
    async with ClientSession() as session:
        location = await creation.create(session, URL(service.uploads), BytesIO(RECORDING), ENCODED)
        await core.upload_buffer(session, location, BytesIO(RECORDING[: 2 * PIECE]))
        assert await core.offset(session, location) == 2 * PIECE
        await core.upload_buffer(session, location, BytesIO(RECORDING))
    await service.assert_stored(str(location), filename=FILENAME)


async def test_parts_in_parallel(service: Service) -> None:
    parts = [BytesIO(RECORDING[start : start + PIECE]) for start in range(0, len(RECORDING), PIECE)]
    location = await aiotus.upload_multiple(service.uploads, parts, ENCODED)
    assert location is not None
    assert await aiotus.metadata(location) == ENCODED
    await service.assert_stored(str(location), filename=FILENAME, metadata=METADATA)


async def test_configuration(service: Service) -> None:
    async with ClientSession() as session:
        configuration = await core.configuration(session, URL(service.uploads))
    assert configuration.protocol_versions == ["1.0.0"]
    assert configuration.max_size == 500 * MIB
    assert {"creation-with-upload", "checksum", "concatenation"} < set(configuration.protocol_extensions)
