"""Large files: one curl for each, all at the same time."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from time import perf_counter

from benchmarks.clients.recording import FILENAME, MEDIA_TYPE, Recording
from benchmarks.clients.requests import prepared
from benchmarks.contenders import Door
from benchmarks.failures import Failed
from benchmarks.server import Server

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
    request = await prepared(server, door, recording.size)
    if door is Door.FORM:  # curl's own, with a boundary of its own
        file = f"file=@{recording.path};type={MEDIA_TYPE};filename={FILENAME}"
        return (*QUIETLY, "--form", file, str(request.url))
    options = [option for name, value in request.headers.items() for option in ("--header", f"{name}: {value}")]
    body = ("--upload-file", str(recording.path))
    return (*QUIETLY, *options, "--request", request.method, *body, str(request.url))
