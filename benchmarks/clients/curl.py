"""Large files: one curl for each, all at the same time."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE
from base64 import b64encode
from collections.abc import Sequence
from time import perf_counter
from uuid import uuid4

from aiohttp import ClientSession
from yarl import URL

from benchmarks.clients.recording import DISPOSITION, FILENAME, MEDIA_TYPE, Recording
from benchmarks.contenders import Door
from benchmarks.failures import Failed
from benchmarks.server import Server

TUS = {"Tus-Resumable": "1.0.0"}
QUIETLY = ("curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", "--header", "Expect:")


async def upload(server: Server, door: Door, recording: Recording, at_once: int = 1) -> float:
    """Seconds until all are answered. Raises Failed unless all are stored."""
    before = server.stored(recording.size)
    commands = [await _command(server, door, recording) for _ in range(at_once)]
    begun = perf_counter()
    await asyncio.gather(*map(_run, commands))
    seconds = perf_counter() - begun
    if server.stored(recording.size) - before != at_once:
        raise Failed(f"{at_once} uploads were acknowledged, but not as many are stored")
    return seconds


async def _run(command: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    printed, complaint = await process.communicate()
    answer, _, status = printed.decode(errors="replace").rpartition("\n")
    if process.returncode or not status.startswith("2"):
        raise Failed(f"{status} {answer[-200:]} {complaint.decode(errors='replace')}".strip())


async def _command(server: Server, door: Door, recording: Recording) -> Sequence[str]:
    route = server.contender.doors[door]
    url = server.url.with_path(route.path.replace("{name}", str(uuid4())))
    match door:
        case Door.FORM:
            file = f"file=@{recording.path};type={MEDIA_TYPE};filename={FILENAME}"
            return (*QUIETLY, "--form", file, str(url))
        case Door.RAW:
            headers = {"Content-Type": MEDIA_TYPE, "Content-Disposition": DISPOSITION}
            return _body(route.method, recording, headers, url)
        case Door.TUS:
            headers = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
            return _body("PATCH", recording, headers, await _created(url, recording.size))


def _body(method: str, recording: Recording, headers: dict[str, str], url: URL) -> Sequence[str]:
    options = [option for name, value in headers.items() for option in ("--header", f"{name}: {value}")]
    return (*QUIETLY, *options, "--request", method, "--upload-file", str(recording.path), str(url))


async def _created(url: URL, size: int) -> URL:
    """A tus upload without bytes."""
    metadata = f"filename {b64encode(FILENAME.encode()).decode()}"
    headers = {**TUS, "Upload-Length": str(size), "Upload-Metadata": metadata}
    async with ClientSession() as session, session.post(url, headers=headers) as response:
        if response.status != 201:
            raise Failed(f"{response.status} {await response.text()}")
        return url.join(URL(response.headers["Location"]))
