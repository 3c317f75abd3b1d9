"""The faults of `docs/reliability.md`, and the tests it names for each."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/reliability.md"

_ROW = re.compile(r"\| (\d+) \| [^|]+ \| ([^|]+) \| (.+) \|")
_TEST = re.compile(r"\[`(\w+)`\]\(\.\./([\w/]+\.py)\)")


@cache
def cases() -> dict[int, tuple[str, frozenset[str]]]:
    """By number: what is promised, and the tests, as pytest names them."""
    rows = filter(None, map(_ROW.fullmatch, DOCUMENT.read_text().splitlines()))
    return {int(row[1]): (row[2], frozenset(f"{file}::{test}" for test, file in _TEST.findall(row[3]))) for row in rows}


def numbers_of(test: str) -> list[int]:
    """Of the faults for which a test is named."""
    return [number for number, (_, tests) in cases().items() if test in tests]
