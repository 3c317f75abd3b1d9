"""Uppy with its tus plugin, as it runs in a browser. `node/uppy.mjs` uses it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.clients.service import FILENAME, METADATA, Service, run
from tests.conftest import configure, serving

ELSEWHERE = "http://app.example"


async def assert_uploads(service: Service, node: Path, recording: Path, page: str) -> None:
    """Uppy on this page uploads the recording."""
    report = json.loads(await run("node", node / "uppy.mjs", service.uploads, recording, page))
    await service.assert_stored(report["url"], filename=FILENAME)
    metadata = (await service.record(report["url"]))["metadata"]
    assert metadata.items() >= METADATA.items()


async def test_on_a_page_of_the_server(service: Service, node: Path, recording: Path) -> None:
    await assert_uploads(service, node, recording, page=service.uploads)


async def test_on_a_page_of_an_origin_that_is_let_in(folder: Path, node: Path, recording: Path) -> None:
    async with serving(configure(folder, cors={"origins": [ELSEWHERE]})) as client:
        await assert_uploads(Service(client), node, recording, page=ELSEWHERE)
