"""`python -m maie_aiohttp sweep`: beside a server, without one, and where there is nothing to sweep."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

from maie_aiohttp.web.appkeys import INTAKE
from tests import audio
from tests.conftest import Client, configure, files, serving

WAV = audio.sample("wav-u8").content


def environment(folder: Path) -> dict[str, str]:
    """What the command reads its settings from."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAIE_")}
    return {**inherited, "MAIE_STORAGE__FOLDER": str(folder), "MAIE_LOG__FORMAT": "json"}


async def sweep(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command, where there is no settings file."""
    command = [sys.executable, "-m", "maie_aiohttp", "sweep"]
    root = str(Path(__file__).parents[1])
    done = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder.parent,
        env={**environment(folder), "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await done.communicate()
    return subprocess.CompletedProcess(command, done.returncode or 0, out.decode(), err.decode())


async def swept(folder: Path) -> int:
    """How many uploads it says have changed."""
    done = await sweep(folder)
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]
    (said,) = (entry["uploads"] for entry in entries if entry["event"] == "swept")
    return int(said)


def age(folder: Path) -> None:
    """Let time pass by for all uploads that are to end some time."""
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as connection, connection:
        connection.execute("UPDATE uploads SET expires_at = 1 WHERE expires_at IS NOT NULL")


def names(folder: Path) -> list[str]:
    """What stands in the data folder itself."""
    return sorted(path.name for path in folder.iterdir())


TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {"Content-Type": "application/offset+octet-stream"}


async def begin(client: Client) -> str:
    """The path of a new upload with 1,000 bytes."""
    async with client.post("/v1/uploads", headers={**TUS, "Upload-Length": str(len(WAV))}) as created:
        assert created.status == 201
        path = created.headers["Location"].removeprefix(str(client.make_url("")).rstrip("/"))
    assert await append(client, path, WAV[:1000], 0) == 204
    return path


async def append(client: Client, path: str, content: Any, offset: int) -> int:
    """The status that more bytes meet."""
    headers = {**TUS, **BYTES, "Upload-Offset": str(offset)}
    async with client.patch(path, data=content, headers=headers) as answer:
        return answer.status


async def receiving(client: Client, path: str) -> None:
    """Wait until the server holds the upload."""
    while UUID(path.rpartition("/")[2]) not in client.app[INTAKE].receiving:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0)


async def head(client: Client, path: str) -> int:
    async with client.head(path, headers=TUS) as answer:
        assert ("Upload-Offset" in answer.headers) is (answer.status == 200)
        return answer.status


async def test_beside_a_server(folder: Path) -> None:
    async with serving(configure(folder)) as client:
        old = await begin(client)
        age(folder)
        young = await begin(client)
        assert await head(client, old) == 410
        assert await swept(folder) == 1
        assert files(folder) == [f"incoming/{young.rpartition('/')[2]}.part"]
        assert [await head(client, path) for path in (old, young)] == [410, 200]
        assert await append(client, old, WAV[1000:], 1000) == 410
        async with client.get(old) as record:
            assert (record.status, (await record.json())["status"]) == (200, "expired")
        assert await append(client, young, WAV[1000:], 1000) == 204
        assert await swept(folder) == 0
        age(folder)
        assert await swept(folder) == 1
        assert await head(client, old) == 404
        assert await head(client, young) == 200


async def test_beside_a_server_in_the_middle_of_an_upload(folder: Path) -> None:
    reached, may_go = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield WAV[1000:2000]
        reached.set()
        await may_go.wait()
        yield WAV[2000:]

    async with serving(configure(folder)) as client:
        path = await begin(client)
        appending = asyncio.create_task(append(client, path, slow(), 1000))
        await reached.wait()
        await receiving(client, path)
        age(folder)
        assert await swept(folder) == 0
        may_go.set()
        assert await appending == 204
        assert await head(client, path) == 200


async def test_without_a_server(folder: Path) -> None:
    async with serving(configure(folder)) as client:
        path = await begin(client)
    age(folder)
    before = names(folder)
    assert await swept(folder) == 1
    assert await swept(folder) == 0
    assert files(folder) == []
    assert names(folder) == before
    async with serving(configure(folder)) as client:
        assert await head(client, path) == 410


async def test_nothing_to_sweep(folder: Path) -> None:
    async with serving(configure(folder)):
        assert await swept(folder) == 0


async def test_where_there_is_no_folder(folder: Path) -> None:
    done = await sweep(folder)
    assert (done.returncode, str(folder) in done.stderr, "Traceback" in done.stderr) == (1, True, False)
    assert names(folder.parent) == []


async def test_where_there_is_another_folder(folder: Path) -> None:
    done = await sweep(folder.parent)
    assert (done.returncode, str(folder.parent) in done.stderr, "Traceback" in done.stderr) == (1, True, False)
    assert names(folder.parent) == []
