"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.metrics import Metric
from benchmarks.results import Figure, Outcome, Results


def markdown(results: Results) -> str:
    """One table for each workload: the median, the lowest and highest of all rounds, and the median's ratio to ours."""
    return "\n".join(
        [*_heading(results), *(line for outcome in results.outcomes for line in _section(outcome, results))]
    )


def _heading(results: Results) -> Iterator[str]:
    machine = ", ".join(f"{name}: {value}" for name, value in results.machine.items())
    yield f"Begun {results.begun}; rounds: {results.rounds}; {machine}."
    yield ""
    yield f"Versions: {', '.join(results.versions)}."
    yield ""
    yield "Each cell: median (lowest to highest), and the median as a multiple of ours."
    if results.notes:
        yield from ("", *(f"- {note}" for note in results.notes))


def _section(outcome: Outcome, results: Results) -> Iterator[str]:
    yield from ("", f"### {outcome.title}", "", f"`{outcome.name}`")
    if outcome.samples:
        yield from ("", *_rows(outcome, results))
    if outcome.notes:
        yield from ("", *(f"- {note}" for note in outcome.notes))


def _rows(outcome: Outcome, results: Results) -> Iterator[str]:
    yield _row(["Server", *(metric.title for metric in outcome.metrics)])
    yield _row(["---", *("---:" for _ in outcome.metrics)])
    for name in outcome.samples:
        label = results.labels.get(name, name)
        yield _row([label, *(_cell(outcome, metric, name) for metric in outcome.metrics)])


def _cell(outcome: Outcome, metric: Metric, name: str) -> str:
    figure = outcome.figures(metric).get(name)
    if figure is None:
        return ""
    ratio = outcome.ratios(metric).get(name)
    return _spread(metric, figure) + (f", {ratio:.2f}x" if ratio is not None else "")


def _spread(metric: Metric, figure: Figure) -> str:
    middle, low, high = map(metric.text, (figure.median, figure.low, figure.high))
    return middle if low == high else f"{middle} ({low} to {high})"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
