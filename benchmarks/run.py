"""Every workload with every contender, in turns that begin with another one each round: A B C, B C A."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from aiohttp import ClientError

from benchmarks.cache import Cache
from benchmarks.contenders import Contender
from benchmarks.failures import Failed, Missing
from benchmarks.folders import Folders
from benchmarks.measurements import Runner
from benchmarks.metrics import Sample
from benchmarks.results import Outcome
from benchmarks.workloads import Workload

PATIENCE = 600.0
"""Seconds for one measurement."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Takes its turn in each round."""

    name: str
    measure: Callable[[], Awaitable[Sample]]


async def installed(contenders: Iterable[Contender], cache: Cache, notes: list[str]) -> Sequence[Runner]:
    """Those that can run here; `notes` says why the others cannot."""
    runners = []
    for contender in contenders:
        say(f"installing {contender.name}")
        try:
            runners.append(Runner(contender, await contender.install(cache)))
        except Missing as missing:
            note(notes, f"{contender.about} is left out: {missing}")
    return runners


async def outcomes(
    workloads: Iterable[Workload], runners: Sequence[Runner], folders: Folders, cache: Cache, rounds: int
) -> AsyncIterator[Outcome]:
    """One workload after the other."""
    for workload in workloads:
        outcome = Outcome(workload.name, workload.title, workload.metrics, workload.charted)
        try:
            for program in workload.needs:
                await cache.debian(program)
            await _measure(workload, list(_lanes(workload, runners, folders)), rounds, outcome)
        except Missing as missing:
            note(outcome.notes, f"left out: {missing}")
        yield outcome


def _lanes(workload: Workload, runners: Iterable[Runner], folders: Folders) -> Iterator[Lane]:
    for runner in runners:
        if workload.takes(runner.contender):
            yield Lane(runner.contender.name, partial(workload.measure, folders, runner))
    for name, measure in workload.beside.items():
        yield Lane(name, partial(measure, folders))


async def _measure(workload: Workload, lanes: list[Lane], rounds: int, outcome: Outcome) -> None:
    """Who fails once takes no further turn."""
    say(workload.title)
    rounds = min(rounds, workload.most_rounds or rounds)
    for turn in range(1, rounds + 1):
        for lane in tuple(lanes):
            try:
                async with asyncio.timeout(PATIENCE):
                    sample = await lane.measure()
            except (Failed, Missing, OSError, ClientError) as failure:  # among them TimeoutError
                lanes.remove(lane)
                note(outcome.notes, f"{lane.name} failed: {failure or type(failure).__name__}")
                continue
            outcome.samples.setdefault(lane.name, []).append(sample)
            say(f"  {turn}/{rounds} {lane.name:<20} {_shown(outcome, sample)}")
        lanes = [*lanes[1:], *lanes[:1]]


def _shown(outcome: Outcome, sample: Sample) -> str:
    known = [metric for metric in outcome.metrics if metric.key in sample]
    return "; ".join(f"{metric.title}: {metric.text(sample[metric.key])}" for metric in known)


def note(notes: list[str], text: str) -> None:
    """Keep it for the report, and say it now."""
    notes.append(" ".join(text.split()))
    say(f"  {notes[-1]}")


def say(text: str) -> None:
    """To whoever waits."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
