"""What is made of a benchmark's samples. `benchmark_results.json` are those of a real, short run."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from benchmarks import readme
from benchmarks.cache import Cache
from benchmarks.chart import svg
from benchmarks.contenders import CONTENDERS, OURS, ROOT
from benchmarks.failures import Failed
from benchmarks.folders import Folders
from benchmarks.measurements import start
from benchmarks.metrics import START, Sample
from benchmarks.results import Results
from benchmarks.run import outcomes
from benchmarks.table import markdown
from benchmarks.targets import TARGETS, TWO_WORKERS, Target, verdicts
from benchmarks.workloads import FULL, Workload, workloads

STORED = Path(__file__).with_name("benchmark_results.json")
LATEST = ROOT / "benchmarks/results/latest.json"


def stored() -> Results:
    return Results.from_json(STORED.read_text())


def test_results_are_read_back_as_they_were_written() -> None:
    results = stored()
    again = Results.from_json(results.as_json())
    assert again == results
    assert markdown(again) == markdown(results)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_target_names_what_is_measured(target: Target) -> None:
    measured = {workload.name: workload for workload in workloads(FULL)}
    place = measured[target.at or target.workload]
    assert target.metric in measured[target.workload].metrics
    assert target.metric in place.metrics
    assert target.peer is None or any(each.name == target.peer and place.takes(each) for each in CONTENDERS)
    assert target.ours in (OURS, TWO_WORKERS)


def test_targets_are_judged_by_the_results() -> None:
    judged = [" | ".join(verdict.cells()) for verdict in verdicts(stored())]
    assert judged == [
        "`form-500mb` | MB/s ≥ 1.2x go | 0.97x | missed",
        "`form-500mb` | CPU s/GB ≤ 1x go | 0.96x | met",
        "`form-500mb` | MB/s ≥ 4x fastapi | 1.59x | missed",
        "`form-500mb` | MB/s ≥ 3x litestar | not measured | ",
        "`raw-500mb` | MB/s ≥ 0.7x go | 0.73x | met",
        "`raw-500mb` | MB/s ≥ 0.5x nginx | not measured | ",
        "`tus-500mb` | MB/s ≥ 0.7x go at raw-500mb | 0.33x | missed",
        "`tus-500mb` | MB/s ≥ 2x tus-node | 0.70x | missed",
        "`tus-500mb` | MB/s ≥ 1.3x tuspyserver | not measured | ",
        "`form-held` | PSS each while held, KiB ≤ 64 | 34.0 | met",
        "`form-held` | MB/s ≥ 2.5x naive | 0.25x | missed",
        "`memory` | difference, MiB < 4 | 1.18 | met",
        "`start` | start, ms < 1000 | 399 | met",
        "`start` | idle RSS of the main process, MB < 90 | 74.6 | met",
    ]


def test_readme_gets_the_figures_and_keeps_the_rest() -> None:
    text = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"
    filled = readme.filled(text, STORED)
    assert filled.startswith(f"before\n{readme.BEGIN}\n![")
    assert filled.endswith(f"|\n{readme.END}\nafter\n")
    assert "old" not in filled
    assert readme.filled(filled, STORED) == filled


def test_readme_has_a_place_for_the_figures() -> None:
    assert readme.filled(readme.README.read_text(), STORED) != readme.README.read_text()


@pytest.mark.skipif(not LATEST.exists(), reason="there is no run to compare with")
def test_readme_shows_the_latest_run() -> None:
    text = readme.README.read_text()
    assert readme.filled(text, LATEST) == text
    assert LATEST.with_suffix(".svg").read_text() == svg(Results.from_json(LATEST.read_text()))


async def test_each_round_begins_with_another_one(tmp_path: Path) -> None:
    turns: list[str] = []

    async def take_turn(_: Folders, name: str) -> Sample:
        turns.append(name)
        if name == "D":
            raise Failed("it gave up")
        return {START.key: float(len(turns))}

    lanes = {name: partial(take_turn, name=name) for name in "ABDC"}
    workload = Workload("turns", "Turns", None, start, (START,), needs=(), beside=lanes)
    run = outcomes([workload], [], Folders(tmp_path, tmp_path), Cache(tmp_path), rounds=3)
    (outcome,) = [outcome async for outcome in run]
    assert "".join(turns) == "ABDCBCACAB"
    assert outcome.notes == ["D failed: it gave up"]
    assert outcome.figures(START)["A"].median == 7
