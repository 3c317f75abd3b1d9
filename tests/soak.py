"""`python -m tests.soak`: every scenario at full size, in a few minutes. Exit status 1 if anything went wrong."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial
from pathlib import Path

from tests.scenarios import (
    crowd,
    drain,
    flat_memory,
    handoff,
    idle_crowd,
    interruptions,
    kills,
    mixed,
    races,
    repetitions,
    start,
)
from tests.scenarios.report import Report

Scenario = Callable[[Path], Coroutine[None, None, Report]]

SCENARIOS: dict[str, Scenario] = {
    "start": partial(start.run, starts=6),
    "drain": drain.run,
    "drain-of-workers": partial(drain.run, workers=2),
    "flat-memory": partial(flat_memory.run, size=500_000_000),
    "flat-memory-5gb": partial(flat_memory.run, size=5_000_000_000),
    "crowd": partial(crowd.run, count=1000),
    "idle-crowd": partial(idle_crowd.run, count=10_000),
    "kills": partial(kills.run, rounds=50),
    "kills-of-workers": partial(kills.run_workers, rounds=50),
    "repetitions": partial(repetitions.run, rounds=50),
    "handoff-under-kills": partial(handoff.run, rounds=50),
    "interruptions": partial(interruptions.run, rounds=200),
    "mixed": partial(mixed.run, seconds=600),
    "races": partial(races.run, rounds=200, starts=5),
}


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Run scenarios at full size.")
    parser.add_argument("scenario", nargs="*", choices=(*SCENARIOS, []), help="all of them, if none is named")
    parser.add_argument("--rounds", type=int, help="of scenarios that have rounds, instead of their usual number")
    parser.add_argument("--folder", type=Path, help="where the data goes while it runs; 5.1 GB must fit")
    chosen = parser.parse_args(arguments)
    reports = list(_run(chosen.scenario or SCENARIOS, chosen.folder, chosen.rounds))
    return 1 if any(report.violations for report in reports) else 0


def _run(names: Iterable[str], folder: Path | None, rounds: int | None) -> Iterator[Report]:
    for name in names:
        with tempfile.TemporaryDirectory(prefix="soak-", dir=folder) as made:
            report = asyncio.run(_scenario(name, rounds)(Path(made, "data")))
        sys.stdout.write(f"{report}\n\n")
        sys.stdout.flush()
        yield report


def _scenario(name: str, rounds: int | None) -> Scenario:
    """The scenario of that name; `rounds` counts only where there are some."""
    scenario = SCENARIOS[name]
    if rounds is not None and isinstance(scenario, partial) and "rounds" in scenario.keywords:
        return partial(scenario, rounds=rounds)
    return scenario


if __name__ == "__main__":
    sys.exit(main())
