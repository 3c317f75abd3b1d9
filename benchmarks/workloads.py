"""The table of workloads: what each sends, through which door, and what is measured."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from benchmarks import measurements, metrics, stages
from benchmarks.contenders import OURS, Contender, Door
from benchmarks.folders import Folders
from benchmarks.measurements import CONNECTIONS, Runner
from benchmarks.metrics import KIB, MIB, Metric, Sample
from maie_aiohttp.units import SIZES

MB = 1_000_000
AT_ONCE = 8
IN_A_ROW = 3
COPIES = 2
"""Of a file, that a server may have at the same time: a temporary one, and the one to stay."""
FEW_ROUNDS = 2
"""Of what takes long."""
FASTEST = 5_000
"""Small uploads a second; no server is expected to take many more."""


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

Measure = Callable[[Folders, Runner], Awaitable[Sample]]


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
    ours_alone: bool = False
    beside: Mapping[str, Callable[[Folders], Awaitable[Sample]]] = field(default_factory=dict)
    """What is measured in turn with the contenders, without being one."""

    def takes(self, contender: Contender) -> bool:
        """Whether it can be given to a server."""
        if self.ours_alone and contender.name != OURS:
            return False
        return self.door is None or self.door in contender.doors


THROUGHPUT = (metrics.RATE, metrics.CPU_PER_GB, metrics.PEAK_PSS, metrics.PEAK_RSS)
SMALL = (metrics.UPLOADS, metrics.CPU_EACH, metrics.P99, metrics.PEAK_PSS, metrics.PEAK_RSS)
HELD = (metrics.HELD_EACH, *THROUGHPUT)


def workloads(scale: Scale) -> Sequence[Workload]:
    """All of them."""
    return (
        *(_large(scale, door) for door in Door),
        *(_in_a_row(scale, door) for door in Door),
        *(_at_once(scale, door) for door in Door),
        *(_small(scale, door) for door in (Door.FORM, Door.RAW)),
        _stages(scale),
        *(_held(scale, door) for door in Door),
        _memory(scale),
        _start(),
        _disk(scale),
    )


def _large(scale: Scale, door: Door) -> Workload:
    return Workload(
        f"{door}-500mb",
        f"{SIZES.text(scale.large)} through the {door} door, one at a time",
        door,
        partial(measurements.large, size=scale.large, door=door, room=COPIES * scale.large),
        THROUGHPUT,
        THROUGHPUT[:2] if door is Door.FORM else THROUGHPUT[:1],
    )


def _in_a_row(scale: Scale, door: Door) -> Workload:
    room = (IN_A_ROW + 1) * scale.large
    return Workload(
        f"{door}-in-a-row",
        f"{IN_A_ROW} x {SIZES.text(scale.large)} through the {door} door, one after the other",
        door,
        partial(measurements.large, size=scale.large, door=door, room=room, in_a_row=IN_A_ROW),
        THROUGHPUT,
    )


def _at_once(scale: Scale, door: Door) -> Workload:
    room = COPIES * AT_ONCE * scale.at_once
    return Workload(
        f"{door}-{AT_ONCE}x500mb",
        f"{AT_ONCE} x {SIZES.text(scale.at_once)} through the {door} door, all at once",
        door,
        partial(measurements.large, size=scale.at_once, door=door, room=room, at_once=AT_ONCE),
        THROUGHPUT,
        most_rounds=FEW_ROUNDS,
    )


def _small(scale: Scale, door: Door) -> Workload:
    return Workload(
        f"{door}-100kib",
        f"{SIZES.text(scale.small)} through the {door} door, {CONNECTIONS} connections",
        door,
        _sends_small(scale, door),
        SMALL,
        SMALL[:1] if door is Door.FORM else (),
        needs=("curl", "wrk"),
    )


def _sends_small(scale: Scale, door: Door) -> Measure:
    room = FASTEST * scale.seconds * scale.small
    return partial(measurements.small, size=scale.small, door=door, seconds=scale.seconds, room=room)


def _stages(scale: Scale) -> Workload:
    return Workload(
        "stages",
        f"Our server's CPU time for {SIZES.text(scale.small)} through the form door, and for parts of the work alone",
        Door.FORM,
        _sends_small(scale, Door.FORM),
        (metrics.CPU_EACH,),
        needs=("curl", "wrk"),
        ours_alone=True,
        beside={
            name: partial(measurements.stage, name=name, size=scale.small, seconds=scale.seconds)
            for name in stages.STAGES
        },
    )


def _held(scale: Scale, door: Door) -> Workload:
    begun, finished = SIZES.text(scale.begun), SIZES.text(scale.finished)
    room = COPIES * scale.crowd * scale.finished
    return Workload(
        f"{door}-held",
        f"{scale.crowd:,} uploads held open at {begun} of {finished}, {door} door",
        door,
        partial(measurements.crowd, door=door, count=scale.crowd, begun=scale.begun, size=scale.finished, room=room),
        HELD,
        HELD[:1] if door is Door.FORM else (),
        most_rounds=FEW_ROUNDS,
    )


def _memory(scale: Scale) -> Workload:
    medium, huge = SIZES.text(scale.medium), SIZES.text(scale.huge)
    return Workload(
        "memory",
        f"Memory for {huge} through the form door against {medium}",
        Door.FORM,
        partial(measurements.growth, medium=scale.medium, huge=scale.huge),
        (metrics.PEAK_MEDIUM, metrics.PEAK_HUGE, metrics.GROWTH),
        most_rounds=FEW_ROUNDS,
    )


def _start() -> Workload:
    shown = (metrics.START, metrics.IDLE, metrics.MAIN_RSS)
    return Workload("start", "From the launch to the first 200, and idle", None, measurements.start, shown)


def _disk(scale: Scale) -> Workload:
    return Workload(
        "disk",
        f"{SIZES.text(scale.large)} through the form door until they are on the disk",
        Door.FORM,
        partial(measurements.on_disk, size=scale.large, room=COPIES * scale.large),
        (metrics.RATE, metrics.OF_DD, metrics.CORE, metrics.CPU_PER_GB),
    )
