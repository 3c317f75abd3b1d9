"""One measurement of each kind: a fresh server in an empty folder, what it is sent, and what that costs."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks import cache, metrics
from benchmarks.clients import curl, wrk
from benchmarks.clients.held import held
from benchmarks.clients.recording import Recording
from benchmarks.contenders import ROOT, Command, Contender, Door
from benchmarks.folders import Folders
from benchmarks.metrics import Sample
from benchmarks.server import Server, Usage, serving, watched

WARM_UP = 1_000_000
CONNECTIONS = 32
REST = 0.5
"""Seconds. For a moment, who writes to memory that has just been freed is a tenth slower; after two seconds, the host
may have taken it back."""
HELD_FOR = 2.0
"""Seconds for which a server does nothing while it holds uploads."""


@dataclass(frozen=True, slots=True)
class Runner:
    """A contender that is installed."""

    contender: Contender
    command: Command

    def serving(self, folder: Path, largest: int = 0) -> AbstractAsyncContextManager[Server]:
        """It works in a folder inside `folder`; `largest` in bytes."""
        return serving(self.contender, self.command, folder, largest)


async def large(
    folders: Folders, runner: Runner, *, size: int, door: Door, room: int, at_once: int = 1, in_a_row: int = 1
) -> Sample:
    """One file, or some at the same time; and the same again as soon as all are answered. The files that there are at
    the same time, in any server, take `room` bytes."""
    recording = folders.recording(size)
    async with runner.serving(folders.memory, size) as server:
        await _warm_up(folders, server, door)
        async with watched(server) as usage:
            await _touch(folders, room)
            seconds = sum([await curl.upload(server, door, recording, at_once) for _ in range(in_a_row)])
    return _throughput(in_a_row * at_once * recording.size, seconds, usage)


async def small(folders: Folders, runner: Runner, *, size: int, door: Door, seconds: int, room: int) -> Sample:
    """The same small file again and again; all of them take `room` bytes at most."""
    async with runner.serving(folders.memory) as server:
        await _warm_up(folders, server, door)
        async with watched(server) as usage:
            await _touch(folders, room)
            load = await wrk.upload(server, door, folders.recording(size), CONNECTIONS, seconds)
    return {
        metrics.UPLOADS.key: load.uploads / load.seconds,
        metrics.CPU_EACH.key: usage.cpu / load.uploads,
        metrics.P99.key: load.p99,
        **_peaks(usage),
    }


async def stage(folders: Folders, *, name: str, size: int, seconds: int) -> Sample:
    """A part of what our server does for a small file, by itself."""
    recording = folders.recording(size)
    with TemporaryDirectory(dir=folders.memory) as folder:
        command = (sys.executable, "-m", "benchmarks.stages", name, recording.path, folder, str(seconds))
        return {metrics.CPU_EACH.key: float(await cache.run(*command, folder=ROOT))}


async def crowd(
    folders: Folders, runner: Runner, *, door: Door, count: int, begun: int, size: int, room: int
) -> Sample:
    """Many uploads that wait for each other; in the end, their files take `room` bytes at most."""
    recording = folders.recording(size)
    async with runner.serving(folders.memory) as server:
        await _warm_up(folders, server, door)
        async with watched(server) as usage, held(server, door, recording, begun, count) as uploads:
            await server.quiet(HELD_FOR)
            waiting = server.family.pss() - usage.pss
            await _touch(folders, room)
            seconds = await uploads.finish()
    return {
        metrics.HELD_EACH.key: waiting / count,
        **_throughput(count * recording.size, seconds, usage),
        metrics.RATE.key: count * uploads.unsent / seconds,
    }


async def growth(folders: Folders, runner: Runner, *, medium: int, huge: int) -> Sample:
    """Two files, one after the other."""
    async with runner.serving(folders.memory, huge) as server:
        await _warm_up(folders, server, Door.FORM)
        lower, upper = [await _peak(folders, server, size) for size in (medium, huge)]
    return {metrics.PEAK_MEDIUM.key: lower, metrics.PEAK_HUGE.key: upper, metrics.GROWTH.key: upper - lower}


async def start(folders: Folders, runner: Runner) -> Sample:
    """Nothing is sent."""
    async with runner.serving(folders.memory) as server:
        await server.quiet()
        return {
            metrics.START.key: server.started,
            metrics.IDLE.key: server.family.pss(),
            metrics.MAIN_RSS.key: server.family.main_rss(),
        }


async def on_disk(folders: Folders, runner: Runner, *, size: int, room: int) -> Sample:
    """One file, and what the kernel still has to write when it is answered; and what `dd` does before and after it.
    None of them keeps more than `room` bytes in memory."""
    recording = folders.recording(size)
    async with runner.serving(folders.disk, size) as server:
        await _warm_up(folders, server, Door.FORM)
        before = await _dd(folders, recording, room)
        async with watched(server) as usage:
            await _touch(folders, room)
            seconds = await curl.upload(server, Door.FORM, recording)
            seconds += await asyncio.to_thread(_flush, server.site.uploads)
        after = await _dd(folders, recording, room)
    return {
        **_throughput(recording.size, seconds, usage),
        metrics.OF_DD.key: (before + after) / 2 / seconds,
        metrics.CORE.key: usage.cpu / seconds,
    }


async def _warm_up(folders: Folders, server: Server, door: Door) -> None:
    """One small upload gets everything loaded."""
    await curl.upload(server, door, folders.recording(WARM_UP))


async def _touch(folders: Folders, room: int) -> None:
    """Shortly before the clock starts, for all servers alike: see `Folders.touch`."""
    await asyncio.to_thread(folders.touch, room)
    await asyncio.sleep(REST)


async def _peak(folders: Folders, server: Server, size: int) -> int:
    """Bytes resident at most during one upload."""
    async with watched(server) as usage:
        await curl.upload(server, Door.FORM, folders.recording(size))
    return usage.peak_rss


async def _dd(folders: Folders, recording: Recording, room: int) -> float:
    """Seconds that the disk takes without a server."""
    target = folders.disk / "dd"
    await _touch(folders, room)
    begun = perf_counter()
    await cache.run("dd", f"if={recording.path}", f"of={target}", "bs=1M", "conv=fdatasync")
    seconds = perf_counter() - begun
    target.unlink()
    return seconds


def _throughput(size: int, seconds: float, usage: Usage) -> Sample:
    """`size` in bytes."""
    return {metrics.RATE.key: size / seconds, metrics.CPU_PER_GB.key: usage.cpu / size * 1e9, **_peaks(usage)}


def _peaks(usage: Usage) -> Sample:
    return {metrics.PEAK_PSS.key: usage.peak_pss, metrics.PEAK_RSS.key: usage.peak_rss}


def _flush(folder: Path) -> float:
    """Seconds until all files in `folder` are on the disk."""
    begun = perf_counter()
    for path in filter(Path.is_file, folder.rglob("*")):
        with path.open("rb") as file:
            os.fdatasync(file.fileno())
    return perf_counter() - begun
