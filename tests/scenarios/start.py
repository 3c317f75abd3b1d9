"""From the command to the first answer, and what the process gives itself meanwhile."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter

from tests.scenarios.process import serving
from tests.scenarios.report import Report

LIMIT = 1.0
"""Seconds until the server is ready."""


async def run(folder: Path, *, starts: int, limit: float = LIMIT) -> Report:
    """Start on an empty folder, then again and again on the same one."""
    seconds, violations = [], []
    for _ in range(starts):
        begun = perf_counter()
        async with serving(folder) as server:
            seconds.append(perf_counter() - begun)
            soft, hard = server.descriptor_limits()
            if soft != hard:
                violations.append(f"the server may open {soft} descriptors of {hard}")
    again = median(seconds[1:])
    if max(seconds[0], again) >= limit:
        violations.append("the server was not ready in time")
    figures = {
        "ready on an empty folder": f"{seconds[0]:.2f} s of {limit:.0f} allowed",
        "ready again, median": f"{again:.2f} s, of {starts - 1} starts",
    }
    return Report("start", figures, violations)
