"""What a scenario found out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Report:
    """Figures for people, and what must never happen: there is something wrong wherever `violations` is not empty."""

    title: str
    figures: Mapping[str, str]
    violations: Sequence[str]

    def __str__(self) -> str:
        width = max(map(len, self.figures))
        lines = [f"  {name:<{width}}  {value}" for name, value in self.figures.items()]
        lines += [f"  VIOLATION: {violation}" for violation in self.violations]
        return "\n".join([self.title, *lines])
