"""Small files: wrk sends the same one again and again."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from benchmarks.clients.recording import DISPOSITION, Recording, body, content_type
from benchmarks.contenders import Door, Route
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
    content = server.site.folder / "request"
    content.write_bytes(body(door, recording))
    load = await send(server.url, server.contender.doors[door], content, content_type(door), connections, seconds)
    if server.stored(recording.size) - before < load.uploads:
        raise Failed(f"{load.uploads} uploads were acknowledged, but not as many are stored")
    return load


async def send(url: URL, route: Route, content: Path, kind: str, connections: int, seconds: int) -> Load:
    """Send a file, as a body of that type, for so long. Raises Failed if one is refused."""
    command = ("wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s")
    arguments = (route.method, route.path, kind, DISPOSITION, content)
    process = await asyncio.create_subprocess_exec(
        *command, "--script", SCRIPT, str(url), "--", *arguments, stdout=PIPE, stderr=STDOUT
    )
    printed = (await process.communicate())[0].decode(errors="replace").strip()
    if process.returncode:
        raise Failed(printed[-300:])
    summary = json.loads(printed.splitlines()[-1])
    if summary["failed"] or not summary["uploads"]:
        raise Failed(f"{summary['failed']} uploads failed, {summary['uploads']} did not")
    return Load(summary["uploads"], summary["microseconds"] / 1e6, summary["p99"] / 1e6)
