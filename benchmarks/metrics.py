"""What is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure. Samples hold it in seconds, bytes or uploads, undivided."""

    key: str
    title: str
    unit: float
    """What one of the title's units is."""
    more_is_better: bool = False
    has_ratios: bool = True
    """A difference has none: it may be nothing, or negative."""

    def text(self, value: float) -> str:
        """Three digits, in the title's unit."""
        shown = value / self.unit
        digits = 0 if abs(shown) >= 100 else 1 if abs(shown) >= 10 else 2
        return f"{shown:,.{digits}f}"


Sample = Mapping[str, float]
"""Figures of one measurement, by the key of the metric."""

RATE = Metric("bytes_per_second", "MB/s", 1e6, more_is_better=True)
CPU_PER_GB = Metric("cpu_seconds_per_gb", "CPU s/GB", 1)
UPLOADS = Metric("uploads_per_second", "uploads/s", 1, more_is_better=True)
CPU_EACH = Metric("cpu_seconds_each", "CPU ms each", 1e-3)
P99 = Metric("p99_seconds", "99th percentile, ms", 1e-3)
PEAK_PSS = Metric("peak_pss", "peak PSS, MiB", MIB)
PEAK_RSS = Metric("peak_rss", "peak RSS, MiB", MIB)
PEAK_MEDIUM = Metric("peak_rss_medium", "peak RSS with the small one, MiB", MIB)
PEAK_HUGE = Metric("peak_rss_huge", "peak RSS with the large one, MiB", MIB)
GROWTH = Metric("peak_rss_growth", "difference, MiB", MIB, has_ratios=False)
HELD_EACH = Metric("held_pss_each", "PSS each while held, KiB", KIB)
START = Metric("start_seconds", "start, ms", 1e-3)
IDLE = Metric("idle_pss", "idle PSS, MiB", MIB)
MAIN_RSS = Metric("main_rss", "idle RSS of the main process, MB", 1e6)
OF_DD = Metric("of_dd", "of dd's rate, %", 0.01, more_is_better=True)
CORE = Metric("core", "CPU, % of a core", 0.01)
