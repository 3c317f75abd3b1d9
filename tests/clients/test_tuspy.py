"""tuspy, in a process of its own: it never closes the files that it opens."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from yarl import URL

from tests.clients.service import FILENAME, METADATA, Service, run
from tests.keys import bearer, key

PIECE = 65_536


async def upload(service: Service, recording: Path, **options: object) -> str:
    """Let it upload the recording in this way; returns the URL."""
    script = Path(__file__).with_name("tuspy.py")
    return await run(sys.executable, script, service.uploads, recording, json.dumps(options))


async def test_upload(service: Service, recording: Path) -> None:
    url = await upload(service, recording)
    await service.assert_stored(url, filename=None, metadata={})


async def test_pieces(service: Service, recording: Path) -> None:
    url = await upload(service, recording, chunk_size=PIECE)
    await service.assert_stored(url)


async def test_metadata(service: Service, recording: Path) -> None:
    url = await upload(service, recording, metadata=METADATA)
    await service.assert_stored(url, filename=FILENAME, metadata=METADATA)


async def test_checksum_of_every_piece(service: Service, recording: Path) -> None:
    url = await upload(service, recording, chunk_size=PIECE, upload_checksum=True)
    await service.assert_stored(url)


async def test_resumption_from_a_stored_url(service: Service, recording: Path, tmp_path: Path) -> None:
    storage = str(tmp_path / "urls")
    url = await upload(service, recording, chunk_size=PIECE, storage=storage, stop_at=2 * PIECE)
    assert (await service.record(url))["offset"] == 2 * PIECE
    assert await upload(service, recording, chunk_size=PIECE, storage=storage) == url
    await service.assert_stored(url)


async def test_resumption_of_a_known_url(service: Service, recording: Path) -> None:
    url = await upload(service, recording, chunk_size=PIECE, stop_at=PIECE)
    assert await upload(service, recording, url=url) == url
    await service.assert_stored(url)


async def test_a_key_to_upload_is_enough_to_resume(service: Service, recording: Path) -> None:
    headers = {"X-API-Key": await key(service.client, "phone", "upload")}
    url = await upload(service, recording, chunk_size=PIECE, stop_at=PIECE, headers=headers)
    assert await upload(service, recording, url=url, headers=headers) == url
    reader = bearer(await key(service.client, "archive", "read", owner="phone"))
    async with service.client.get(URL(url).path, headers=reader) as answer:
        assert (await answer.json())["status"] == "stored"
