"""What Linux says of a process and all its descendants. One that ends meanwhile counts for nothing."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
KIB = 1024
TICKS = os.sysconf("SC_CLK_TCK")
FORGET_PEAK = "5"
"""See proc_pid_clear_refs(5): VmHWM starts again from what is resident now."""

GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True, slots=True)
class Family:
    """A process and its descendants."""

    pid: int

    def members(self) -> Iterator[int]:
        """Their ids, the first one's before all others."""
        children = _children()
        pending = [self.pid]
        while pending:
            pid = pending.pop()
            yield pid
            pending += children[pid]

    def cpu(self) -> float:
        """Seconds of user and system time so far, with those of members that have ended."""
        ticks = 0
        for pid in self.members():
            with suppress(*GONE):
                ticks += sum(map(int, _stat(pid)[11:15]))
        return ticks / TICKS

    def pss(self) -> int:
        """Bytes resident; what members share is counted once."""
        return self._total("smaps_rollup", "Pss")

    def main_rss(self) -> int:
        """Bytes resident of the first process alone."""
        return _kibibytes(self.pid, "status", "VmRSS") * KIB

    def rss(self) -> int:
        """Bytes resident, added up like `peak_rss`."""
        return self._total("status", "VmRSS")

    def peak_rss(self) -> int:
        """Bytes resident at most since `forget_peak`, which the kernel never misses; of each member there is, added up,
        so that what they share counts for each."""
        return self._total("status", "VmHWM")

    def forget_peak(self) -> None:
        """Let `peak_rss` begin anew."""
        for pid in self.members():
            with suppress(*GONE):
                (PROC / str(pid) / "clear_refs").write_text(FORGET_PEAK)

    def _total(self, file: str, name: str) -> int:
        return sum(_kibibytes(pid, file, name) for pid in self.members()) * KIB


def _children() -> defaultdict[int, list[int]]:
    """By the parent's id."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for pid in (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()):
        with suppress(*GONE):
            children[int(_stat(pid)[1])].append(pid)
    return children


def _stat(pid: int) -> list[str]:
    """See proc_pid_stat(5), from the third field on: the second may contain anything."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _kibibytes(pid: int, file: str, name: str) -> int:
    with suppress(*GONE):
        for line in (PROC / str(pid) / file).read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0
