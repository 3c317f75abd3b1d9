"""One long upload costs no more memory than a short one."""

from __future__ import annotations

from pathlib import Path

from aiohttp import ClientSession

from tests.scenarios.client import DOORS, Door, client, delete, upload
from tests.scenarios.process import MIB, Process, serving
from tests.scenarios.recordings import wav
from tests.scenarios.report import Report
from tests.scenarios.warmth import warm_up

LIMIT = 4 * MIB
"""Bytes that the peak of resident memory may rise above what was resident before the upload."""


async def run(folder: Path, *, size: int, limit: int = LIMIT) -> Report:
    """Upload `size` bytes through each door; the peak may rise by less than `limit` bytes."""
    figures: dict[str, str] = {}
    violations: list[str] = []
    async with serving(folder, {"limits.max_size": f"{2 * size} B"}) as server, client(server) as session:
        await warm_up(session)
        for door in DOORS:
            rise = await _rise(server, session, door, size)
            figures[f"{door.__name__}: rise of the peak"] = f"{rise / MIB:.2f} MiB of {limit // MIB} allowed"
            if rise >= limit:
                violations.append(f"{door.__name__}: the peak rose by {rise / MIB:.2f} MiB")
    return Report(f"One upload of {size / 1e6:,.0f} MB", figures, violations)


async def _rise(server: Process, session: ClientSession, door: Door, size: int) -> int:
    recording = wav(size)
    before = server.memory().now
    server.forget_peak()
    record = (await upload(session, door, recording)).record
    rise = server.memory().peak - before
    assert (record["size"], record["sha256"]) == (recording.size, recording.sha256())
    await delete(session, record["id"])
    return rise
