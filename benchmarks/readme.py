"""Puts the figures of a run into the README: the chart, and a table of ratios.

python -m benchmarks.readme RESULTS.json
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import metrics
from benchmarks.contenders import CONTENDERS, OURS, ROOT
from benchmarks.metrics import Metric
from benchmarks.results import Outcome, Results
from benchmarks.table import table
from benchmarks.targets import TWO_WORKERS
from benchmarks.workloads import FEW_ROUNDS

README = ROOT / "README.md"
BEGIN, END = "<!-- figures: made by benchmarks.readme -->", "<!-- end of figures -->"
BETWEEN = re.compile(f"(?<={BEGIN}\n).*?(?={END})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table."""

    workload: str
    metric: Metric
    ours: str = OURS


LINES = (
    Line("form-500mb", metrics.RATE),
    Line("form-500mb", metrics.CPU_PER_GB),
    Line("raw-500mb", metrics.RATE),
    Line("tus-500mb", metrics.RATE),
    Line("form-100kib", metrics.UPLOADS),
    Line("form-100kib", metrics.UPLOADS, TWO_WORKERS),
    Line("form-held", metrics.HELD_EACH),
    Line("form-held", metrics.RATE),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__)
    parser.add_argument("results", type=Path, help="the JSON file; its chart stands beside it")
    source = parser.parse_args(arguments).results.resolve()
    README.write_text(filled(README.read_text(), source))


def filled(text: str, source: Path) -> str:
    """The README with the figures of a run."""
    lines = "\n".join(_figures(Results.from_json(source.read_text()), source.with_suffix(".svg")))
    return BETWEEN.sub(lambda _: f"{lines}\n", text)


def _figures(results: Results, chart: Path) -> Iterator[str]:
    machine = results.machine
    yield f"![Speed and memory beside other servers]({chart.relative_to(ROOT)})"
    yield ""
    yield f"{results.begun[:10]}; {machine['cpu']}, {machine['cores']} cores; Python {machine['python']}."
    rounds = f"{results.rounds} rounds, of held uploads {min(results.rounds, FEW_ROUNDS)}"
    yield f"Medians of {rounds}: this server's, then the multiple that it is of each other server's."
    yield "With ↑ more is better, with ↓ less."
    yield ""
    yield from _table(results)


def _table(results: Results) -> Iterator[str]:
    outcomes = {outcome.name: outcome for outcome in results.outcomes}
    shown = [(line, outcomes[line.workload]) for line in LINES if line.workload in outcomes]
    peers = [name for name in _others() if any(name in outcome.samples for _, outcome in shown)]
    rows = [row for line, outcome in shown if (row := _row(line, outcome, peers))]
    return table(["", "this server", *peers], rows, numbers=range(1, 2 + len(peers)))


def _others() -> Sequence[str]:
    return [contender.name for contender in CONTENDERS if contender.name not in (OURS, TWO_WORKERS)]


def _row(line: Line, outcome: Outcome, peers: Sequence[str]) -> Sequence[str]:
    """Nothing where ours was not measured."""
    figures = outcome.figures(line.metric)
    if line.ours not in figures:
        return ()
    ours = figures[line.ours].median
    ratios = [f"{ours / figures[peer].median:.2f}x" if peer in figures else "" for peer in peers]
    return [_title(line, outcome), line.metric.text(ours), *ratios]


def _title(line: Line, outcome: Outcome) -> str:
    workers = ", two workers" if line.ours == TWO_WORKERS else ""
    better = "↑" if line.metric.more_is_better else "↓"
    return f"{outcome.title}{workers}: {line.metric.title} {better}"


if __name__ == "__main__":
    main()
