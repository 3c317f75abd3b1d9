"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

from benchmarks.metrics import Metric
from benchmarks.results import Figure, Outcome, Results
from benchmarks.targets import verdicts


def markdown(results: Results) -> str:
    """What is to be reached, and one table for each workload: the median, the lowest and highest of all rounds, and the
    median's ratio to ours."""
    sections = (line for outcome in results.outcomes for line in _section(outcome, results))
    return "\n".join([*_heading(results), *_targets(results), *sections])


def _heading(results: Results) -> Iterator[str]:
    machine = ", ".join(f"{name}: {value}" for name, value in results.machine.items())
    yield f"Begun {results.begun}; rounds: {results.rounds} at most; {machine}."
    yield ""
    yield f"Versions: {', '.join(results.versions)}."
    yield ""
    yield "Each cell: median (lowest to highest), and the median as a multiple of ours."
    if results.notes:
        yield from ("", *(f"- {note}" for note in results.notes))


def _targets(results: Results) -> Iterator[str]:
    reached = list(verdicts(results))
    if reached:
        yield from ("", "### Targets", "")
        yield from table(["Workload", "Target", "Reached", ""], (verdict.cells() for verdict in reached), numbers=[2])


def _section(outcome: Outcome, results: Results) -> Iterator[str]:
    yield from ("", f"### {outcome.title}", "", f"`{outcome.name}`")
    if outcome.samples:
        yield from ("", *_rows(outcome, results))
    if outcome.notes:
        yield from ("", *(f"- {note}" for note in outcome.notes))


def _rows(outcome: Outcome, results: Results) -> Iterator[str]:
    rows = (
        [results.labels.get(name, name), *(_cell(outcome, metric, name) for metric in outcome.metrics)]
        for name in outcome.samples
    )
    titles = [metric.title for metric in outcome.metrics]
    return table(["", *titles], rows, numbers=range(1, 1 + len(titles)))


def _cell(outcome: Outcome, metric: Metric, name: str) -> str:
    figure = outcome.figures(metric).get(name)
    if figure is None:
        return ""
    ratio = outcome.ratios(metric).get(name)
    return _spread(metric, figure) + (f", {ratio:.2f}x" if ratio is not None else "")


def _spread(metric: Metric, figure: Figure) -> str:
    middle, low, high = map(metric.text, (figure.median, figure.low, figure.high))
    return middle if low == high else f"{middle} ({low} to {high})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Container[int]) -> Iterator[str]:
    """The lines; `numbers` are the columns that stand to the right."""
    yield _row(head)
    yield _row(["---:" if place in numbers else "---" for place in range(len(head))])
    yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
