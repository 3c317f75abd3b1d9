"""What a run found out."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contenders import OURS
from benchmarks.metrics import Metric, Sample

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric over all rounds, in undivided units."""

    median: float
    low: float
    high: float


@dataclass(slots=True)
class Outcome:
    """Of one workload."""

    name: str
    title: str
    metrics: Sequence[Metric]
    charted: Sequence[Metric]
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    """By contender."""
    notes: list[str] = field(default_factory=list)
    """Who was left out, and why."""

    def figures(self, metric: Metric) -> dict[str, Figure]:
        """By contender; those without this metric are missing."""
        series = {
            name: [sample[metric.key] for sample in samples if metric.key in sample]
            for name, samples in self.samples.items()
        }
        return {name: Figure(median(values), min(values), max(values)) for name, values in series.items() if values}

    def ratios(self, metric: Metric) -> dict[str, float]:
        """Each median as a multiple of ours; nothing where ours is missing or 0."""
        figures = self.figures(metric) if metric.has_ratios else {}
        ours = figures[OURS].median if OURS in figures else 0
        return {name: figure.median / ours for name, figure in figures.items()} if ours > 0 else {}


@dataclass(frozen=True, slots=True)
class Results:
    """Of one run."""

    rounds: int
    machine: Mapping[str, str | int]
    versions: Sequence[str]
    labels: Mapping[str, str]
    """What contenders are, by name."""
    begun: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    notes: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def median(self, workload: str, metric: Metric, contender: str) -> float | None:
        """Nothing where that was not measured."""
        figures = [outcome.figures(metric).get(contender) for outcome in self.outcomes if outcome.name == workload]
        return figures[0].median if figures and figures[0] else None

    def as_json(self) -> str:
        """Every sample, and the medians and ratios made of them."""
        return json.dumps({**asdict(self), "outcomes": [_document(outcome) for outcome in self.outcomes]}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Results:
        """What `as_json` made."""
        document = json.loads(text)
        return cls(**{**document, "outcomes": [_outcome(each) for each in document["outcomes"]]})


def _document(outcome: Outcome) -> Mapping[str, object]:
    return {
        "name": outcome.name,
        "title": outcome.title,
        "metrics": [asdict(metric) for metric in outcome.metrics],
        "charted": [asdict(metric) for metric in outcome.charted],
        "notes": outcome.notes,
        "samples": outcome.samples,
        "medians": {
            metric.key: {name: figure.median for name, figure in outcome.figures(metric).items()}
            for metric in outcome.metrics
        },
        "ratios": {metric.key: outcome.ratios(metric) for metric in outcome.metrics},
    }


def _outcome(document: Mapping[str, Any]) -> Outcome:
    return Outcome(
        document["name"],
        document["title"],
        [Metric(**metric) for metric in document["metrics"]],
        [Metric(**metric) for metric in document["charted"]],
        document["samples"],
        document["notes"],
    )


def machine() -> Mapping[str, str | int]:
    """Where this runs."""
    return {
        "cpu": _value(PROC / "cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _value(PROC / "meminfo", "MemTotal"),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def available_memory() -> int:
    """Bytes that processes and files in memory can still take."""
    return int(_value(PROC / "meminfo", "MemAvailable").split()[0]) * 1024


def _value(file: Path, name: str) -> str:
    for line in file.read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown"
