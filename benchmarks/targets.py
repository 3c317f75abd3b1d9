"""What this server is to reach, beside the others and by itself; and what it has reached."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks import metrics
from benchmarks.contenders import OURS
from benchmarks.metrics import KIB, MIB, Metric
from benchmarks.results import Results

TWO_WORKERS = f"{OURS}-2"

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {"≥": operator.ge, "≤": operator.le, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a figure of ours: undivided, or as a multiple of another server's."""

    workload: str
    metric: Metric
    sign: str
    """Of `COMPARISONS`."""
    bound: float
    peer: str | None = None
    at: str | None = None
    """The workload of the other server, where that is not the same."""
    ours: str = OURS

    def reached(self, results: Results) -> float | None:
        """Nothing where a figure is missing."""
        ours = results.median(self.workload, self.metric, self.ours)
        if self.peer is None or ours is None:
            return ours
        theirs = results.median(self.at or self.workload, self.metric, self.peer)
        return ours / theirs if theirs else None

    def is_met(self, reached: float) -> bool:
        """Whether that is enough."""
        return COMPARISONS[self.sign](reached, self.bound)

    def __str__(self) -> str:
        bound = f"{self.bound / self.metric.unit:g}" if self.peer is None else f"{self.bound:g}x {self.peer}"
        place = f" at {self.at}" if self.at else ""
        workers = " with two workers" if self.ours == TWO_WORKERS else ""
        return f"{self.metric.title}{workers} {self.sign} {bound}{place}"

    def text(self, reached: float) -> str:
        """As in the bound."""
        return self.metric.text(reached) if self.peer is None else f"{reached:.2f}x"


TARGETS = (
    Target("form-500mb", metrics.RATE, "≥", 1.2, "go"),
    Target("form-500mb", metrics.CPU_PER_GB, "≤", 1.0, "go"),
    Target("form-500mb", metrics.RATE, "≥", 4.0, "fastapi"),
    Target("form-500mb", metrics.RATE, "≥", 3.0, "litestar"),
    Target("raw-500mb", metrics.RATE, "≥", 0.7, "go"),
    Target("raw-500mb", metrics.RATE, "≥", 0.5, "nginx"),
    Target("tus-500mb", metrics.RATE, "≥", 0.7, "go", at="raw-500mb"),
    Target("tus-500mb", metrics.RATE, "≥", 2.0, "tus-node"),
    Target("tus-500mb", metrics.RATE, "≥", 1.3, "tuspyserver"),
    Target("form-100kib", metrics.UPLOADS, "≥", 0.7, "fastapi"),
    Target("form-100kib", metrics.UPLOADS, "≥", 1.0, "fastapi", ours=TWO_WORKERS),
    Target("form-held", metrics.HELD_EACH, "≤", 64 * KIB),
    Target("form-held", metrics.RATE, "≥", 2.5, "naive"),
    Target("raw-held", metrics.HELD_EACH, "≤", 64 * KIB),
    Target("raw-held", metrics.RATE, "≥", 2.5, "naive"),
    Target("tus-held", metrics.HELD_EACH, "≤", 64 * KIB),
    Target("memory", metrics.GROWTH, "<", 4 * MIB),
    Target("disk", metrics.OF_DD, "≥", 0.9),
    Target("disk", metrics.CORE, "<", 0.6),
    Target("start", metrics.START, "<", 1.0),
    Target("start", metrics.MAIN_RSS, "<", 90e6),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one target."""

    target: Target
    reached: float | None

    @property
    def is_met(self) -> bool | None:
        """Nothing where it was not measured."""
        return None if self.reached is None else self.target.is_met(self.reached)

    def cells(self) -> list[str]:
        """A row: the workload, the target, what was reached, and whether that is enough."""
        reached = "not measured" if self.reached is None else self.target.text(self.reached)
        met = {True: "met", False: "missed", None: ""}[self.is_met]
        return [f"`{self.target.workload}`", str(self.target), reached, met]


def verdicts(results: Results) -> Iterator[Verdict]:
    """On the targets of all workloads that were run."""
    run = {outcome.name for outcome in results.outcomes}
    return (Verdict(target, target.reached(results)) for target in TARGETS if target.workload in run)
