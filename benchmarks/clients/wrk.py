"""Small files: wrk sends the same one again and again."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clients.recording import DISPOSITION, Recording, body, content_type
from benchmarks.contenders import Door
from benchmarks.failures import Failed
from benchmarks.server import Server

SCRIPT = Path(__file__).with_name("upload.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw."""

    uploads: int
    seconds: float
    p99: float
    """Seconds in which 99 of 100 uploads were answered."""


async def upload(server: Server, door: Door, recording: Recording, connections: int, seconds: int) -> Load:
    """Send for so long. Raises Failed unless all that was acknowledged is stored."""
    before = server.stored(recording.size)
    load = await _run(server, door, recording, connections, seconds)
    if server.stored(recording.size) - before < load.uploads:
        raise Failed(f"{load.uploads} uploads were acknowledged, but not as many are stored")
    return load


async def _run(server: Server, door: Door, recording: Recording, connections: int, seconds: int) -> Load:
    route = server.contender.doors[door]
    content = server.site.folder / "request"
    content.write_bytes(body(door, recording))
    command = ("wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s")
    arguments = (route.method, route.path, content_type(door), DISPOSITION, content)
    process = await asyncio.create_subprocess_exec(
        *command, "--script", SCRIPT, str(server.url), "--", *arguments, stdout=PIPE, stderr=STDOUT
    )
    printed = (await process.communicate())[0].decode(errors="replace").strip()
    if process.returncode:
        raise Failed(printed[-300:])
    summary = json.loads(printed.splitlines()[-1])
    if summary["failed"] or not summary["uploads"]:
        raise Failed(f"{summary['failed']} uploads failed, {summary['uploads']} did not")
    return Load(summary["uploads"], summary["microseconds"] / 1e6, summary["p99"] / 1e6)
