"""The table of workloads: what each sends, through which door, and what is measured."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter

from benchmarks import cache, metrics
from benchmarks.clients import curl, wrk
from benchmarks.clients.held import held
from benchmarks.clients.recording import Recording, write
from benchmarks.contenders import Command, Contender, Door
from benchmarks.metrics import KIB, MIB, Metric, Sample
from benchmarks.server import Server, Usage, serving, watched
from maie_aiohttp.units import SIZES

MB = 1_000_000
WARM_UP = MB
AT_ONCE = 8
CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is sent. Sizes in bytes."""

    large: int = 500 * MB
    at_once: int = 500 * MB
    """Each of eight."""
    small: int = 100 * KIB
    seconds: int = 5
    """For which small files are sent."""
    crowd: int = 1000
    """Uploads held open."""
    begun: int = 256 * KIB
    """Of each of them."""
    finished: int = MIB
    medium: int = 20 * MB
    huge: int = 2048 * MIB

    def fitting(self, memory: int) -> Scale:
        """With files so large that the hungriest server's copies of them still fit: four of each."""
        at_once, single = memory // (1 + 4 * AT_ONCE), memory // 5
        return replace(
            self,
            large=min(self.large, single),
            at_once=min(self.at_once, at_once),
            huge=min(self.huge, single),
        )


FULL = Scale()
QUICK = Scale(large=20 * MB, at_once=10 * MB, seconds=1, crowd=50, medium=5 * MB, huge=50 * MB)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where measurements take place."""

    memory: Path
    """A folder on a memory file system."""
    disk: Path
    """A folder on a real disk."""

    def recording(self, size: int) -> Recording:
        """A file to send, in memory."""
        return write(size, self.memory)


@dataclass(frozen=True, slots=True)
class Runner:
    """A contender that is installed."""

    contender: Contender
    command: Command

    def serving(self, folder: Path, largest: int = 0) -> AbstractAsyncContextManager[Server]:
        """It works in a folder inside `folder`; `largest` in bytes."""
        return serving(self.contender, self.command, folder, largest)


Measure = Callable[[Stage, Runner], Awaitable[Sample]]


@dataclass(frozen=True, slots=True)
class Workload:
    """Work that is the same for all contenders."""

    name: str
    title: str
    door: Door | None
    """Which a contender must have."""
    measure: Measure
    metrics: Sequence[Metric]
    charted: Sequence[Metric] = ()
    most_rounds: int | None = None
    needs: Sequence[str] = ("curl",)
    """Programs, by the name of their Debian package."""
    beside: Mapping[str, Callable[[Stage], Awaitable[Sample]]] = field(default_factory=dict)
    """What is measured in turn with the contenders, without being one."""


THROUGHPUT = (metrics.RATE, metrics.CPU_PER_GB, metrics.PEAK_PSS, metrics.PEAK_RSS)
SMALL = (metrics.UPLOADS, metrics.CPU_EACH, metrics.P99, metrics.PEAK_PSS, metrics.PEAK_RSS)


def workloads(scale: Scale) -> Sequence[Workload]:
    """All of them."""
    return (*_large(scale), *_at_once(scale), *_small(scale), _held(scale), *_memory(scale), _start(), _disk(scale))


def _large(scale: Scale) -> Sequence[Workload]:
    size = SIZES.text(scale.large)
    return [
        Workload(
            f"{door}-500mb",
            f"{size} through the {door} door, one at a time",
            door,
            partial(large, size=scale.large, door=door),
            THROUGHPUT,
            THROUGHPUT[:2] if door is Door.FORM else THROUGHPUT[:1],
        )
        for door in Door
    ]


def _at_once(scale: Scale) -> Sequence[Workload]:
    size = SIZES.text(scale.at_once)
    return [
        Workload(
            f"{door}-{AT_ONCE}x500mb",
            f"{AT_ONCE} x {size} through the {door} door, all at once",
            door,
            partial(large, size=scale.at_once, door=door, at_once=AT_ONCE),
            THROUGHPUT,
            THROUGHPUT[:2] if door is Door.FORM else (),
            most_rounds=2,
        )
        for door in Door
    ]


def _small(scale: Scale) -> Sequence[Workload]:
    size = SIZES.text(scale.small)
    return [
        Workload(
            f"{door}-100kib",
            f"{size} through the {door} door, {CONNECTIONS} connections",
            door,
            partial(small, size=scale.small, door=door, seconds=scale.seconds),
            SMALL,
            SMALL[:2] if door is Door.FORM else (),
            needs=("curl", "wrk"),
        )
        for door in (Door.FORM, Door.RAW)
    ]


def _held(scale: Scale) -> Workload:
    begun, finished = SIZES.text(scale.begun), SIZES.text(scale.finished)
    return Workload(
        "held",
        f"{scale.crowd:,} uploads held open after {begun}, then finished ({finished} each)",
        Door.FORM,
        partial(crowd, scale=scale),
        (metrics.HELD_EACH, metrics.RATE, metrics.CPU_PER_GB, metrics.PEAK_PSS, metrics.PEAK_RSS),
        (metrics.HELD_EACH, metrics.RATE),
    )


def _memory(scale: Scale) -> Sequence[Workload]:
    return [
        Workload(
            name,
            f"What one upload of {SIZES.text(size)} adds to the memory",
            Door.FORM,
            partial(large, size=size, door=Door.FORM),
            (metrics.ADDED, metrics.PEAK_PSS, metrics.PEAK_RSS),
            charted,
            most_rounds=1,
        )
        for name, size, charted in (
            ("memory-20mb", scale.medium, ()),
            ("memory-2gib", scale.huge, (metrics.ADDED,)),
        )
    ]


def _start() -> Workload:
    shown = (metrics.START, metrics.IDLE)
    return Workload("start", "From the launch to the first 200, and idle", None, start, shown, shown[:1])


def _disk(scale: Scale) -> Workload:
    return Workload(
        "disk",
        f"{SIZES.text(scale.large)} through the form door until they are on the disk",
        Door.FORM,
        partial(on_disk, size=scale.large),
        (metrics.RATE, metrics.CPU_PER_GB),
        (metrics.RATE,),
        beside={"dd conv=fdatasync": partial(dd, size=scale.large)},
    )


async def large(stage: Stage, runner: Runner, *, size: int, door: Door, at_once: int = 1) -> Sample:
    """One file, or some at the same time."""
    recording = stage.recording(size)
    async with runner.serving(stage.memory, size) as server:
        await _warm_up(stage, server, door)
        async with watched(server) as usage:
            seconds = await curl.upload(server, door, recording, at_once)
    return _throughput(at_once * recording.size, seconds, usage)


async def small(stage: Stage, runner: Runner, *, size: int, door: Door, seconds: int) -> Sample:
    """The same small file again and again."""
    async with runner.serving(stage.memory) as server:
        await _warm_up(stage, server, door)
        async with watched(server) as usage:
            load = await wrk.upload(server, door, stage.recording(size), CONNECTIONS, seconds)
    return {
        metrics.UPLOADS.key: load.uploads / load.seconds,
        metrics.CPU_EACH.key: usage.cpu / load.uploads,
        metrics.P99.key: load.p99,
        **_peaks(usage),
    }


async def crowd(stage: Stage, runner: Runner, *, scale: Scale) -> Sample:
    """Many uploads that wait for each other."""
    recording = stage.recording(scale.finished)
    async with runner.serving(stage.memory) as server:
        await _warm_up(stage, server, Door.FORM)
        async with watched(server) as usage, held(server, recording, scale.begun, scale.crowd) as uploads:
            await server.quiet()
            waiting = server.family.pss() - usage.pss
            seconds = await uploads.finish()
    return {
        metrics.HELD_EACH.key: waiting / scale.crowd,
        **_throughput(scale.crowd * recording.size, seconds, usage),
        metrics.RATE.key: scale.crowd * uploads.unsent / seconds,
    }


async def start(stage: Stage, runner: Runner) -> Sample:
    """Nothing is sent."""
    async with runner.serving(stage.memory) as server:
        await server.quiet()
        return {metrics.START.key: server.started, metrics.IDLE.key: server.family.pss()}


async def on_disk(stage: Stage, runner: Runner, *, size: int) -> Sample:
    """One file, and what the kernel still has to write when it is answered."""
    recording = stage.recording(size)
    async with runner.serving(stage.disk, size) as server:
        await _warm_up(stage, server, Door.FORM)
        async with watched(server) as usage:
            seconds = await curl.upload(server, Door.FORM, recording)
            seconds += await asyncio.to_thread(_flush, server.site.uploads)
    return _throughput(recording.size, seconds, usage)


async def dd(stage: Stage, *, size: int) -> Sample:
    """What the disk does without a server."""
    source, target = stage.recording(size), stage.disk / "dd"
    begun = perf_counter()
    await cache.run("dd", f"if={source.path}", f"of={target}", "bs=1M", "conv=fdatasync")
    seconds = perf_counter() - begun
    target.unlink()
    return {metrics.RATE.key: source.size / seconds}


async def _warm_up(stage: Stage, server: Server, door: Door) -> None:
    """One small upload gets everything loaded."""
    await curl.upload(server, door, stage.recording(WARM_UP))


def _throughput(size: int, seconds: float, usage: Usage) -> Sample:
    """`size` in bytes."""
    return {
        metrics.RATE.key: size / seconds,
        metrics.CPU_PER_GB.key: usage.cpu / size * 1e9,
        metrics.ADDED.key: usage.added,
        **_peaks(usage),
    }


def _peaks(usage: Usage) -> Sample:
    return {metrics.PEAK_PSS.key: usage.peak_pss, metrics.PEAK_RSS.key: usage.peak_rss}


def _flush(folder: Path) -> float:
    """Seconds until all files in `folder` are on the disk."""
    begun = perf_counter()
    for path in filter(Path.is_file, folder.rglob("*")):
        with path.open("rb") as file:
            os.fdatasync(file.fileno())
    return perf_counter() - begun
