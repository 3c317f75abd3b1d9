"""Results as an SVG picture: a panel of bars for each charted metric, two panels a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape

from benchmarks.contenders import OURS
from benchmarks.metrics import Metric
from benchmarks.results import Figure, Outcome, Results

COLUMNS = 2
PANEL, GAP, MARGIN = 390, 26, 18
LABEL, VALUE = 116, 48
"""Pixels left and right of the bars."""
HEADER, ROW, BAR = 42, 18, 12

STYLE = """
.back { fill: #ffffff } text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 } .unit, .value { fill: #57606a } .label { text-anchor: end }
.peer { fill: #a8b3bf } .ours { fill: #1f6feb } .name-ours { font-weight: 600 }
.spread { stroke: #57606a; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  .back { fill: #0d1117 } text { fill: #e6edf3 } .unit, .value { fill: #9198a1 }
  .peer { fill: #57606a } .ours { fill: #4493f8 } .spread { stroke: #c9d1d9 }
}
"""


def svg(results: Results) -> str:
    """The whole picture."""
    panels = [
        (outcome, metric) for outcome in results.outcomes for metric in outcome.charted if outcome.figures(metric)
    ]
    elements: list[str] = []
    top = MARGIN
    for row in (panels[first : first + COLUMNS] for first in range(0, len(panels), COLUMNS)):
        for column, (outcome, metric) in enumerate(row):
            elements += _panel(MARGIN + column * (PANEL + GAP), top, outcome, metric)
        top += max(HEADER + ROW * len(outcome.figures(metric)) for outcome, metric in row) + GAP
    return _document(2 * MARGIN + COLUMNS * PANEL + GAP, top, elements)


def _document(width: int, height: int, elements: Iterable[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            "<title>Speed and memory beside other servers</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="back" width="{width}" height="{height}" rx="8"/>',
            *elements,
            "</svg>\n",
        ]
    )


def _panel(left: int, top: int, outcome: Outcome, metric: Metric) -> Iterator[str]:
    figures = outcome.figures(metric)
    better = "more" if metric.more_is_better else "less"
    yield _text(left, top + 12, "title", outcome.title)
    yield _text(left, top + 30, "unit", f"{metric.title}, {better} is better")
    scale = (PANEL - LABEL - VALUE) / (max(figure.high for figure in figures.values()) or 1)
    best_first = sorted(figures, key=lambda name: figures[name].median, reverse=metric.more_is_better)
    for place, name in enumerate(best_first):
        kind = "ours" if name.startswith(OURS) else "peer"
        height = top + HEADER + place * ROW
        yield _text(left + LABEL - 8, height + BAR - 2, f"label name-{kind}", name)
        yield from _bar(left + LABEL, height, kind, figures[name], metric, scale)


def _bar(left: int, top: int, kind: str, figure: Figure, metric: Metric, scale: float) -> Iterator[str]:
    width, low, high = (max(value, 0) * scale for value in (figure.median, figure.low, figure.high))
    yield f'<rect class="{kind}" x="{left}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2"/>'
    if high > low:
        middle = top + BAR / 2
        yield f'<path class="spread" d="M{left + low:.1f} {middle}H{left + high:.1f}"/>'
    yield _text(left + max(width, high) + 6, top + BAR - 2, "value", metric.text(figure.median))


def _text(x: float, y: float, kind: str, content: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y}">{escape(content)}</text>'
