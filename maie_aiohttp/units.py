"""Quantities as people write them: "500 MiB", "30 s", "5 %". A bare number is refused: nobody can tell its unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

_QUANTITY = re.compile(r"(?P<number>\d{1,18}(\.\d{1,6})?)\s*(?P<unit>[A-Za-z]+|%)", re.ASCII)

KIB, MIB, GIB, TIB = (2**power for power in (10, 20, 30, 40))


@dataclass(frozen=True, slots=True)
class Scale:
    """Units of one quantity, each counted in whole steps, the smallest unit first."""

    units: Mapping[str, int]
    example: str

    def steps(self, value: object) -> int:
        """`value` in steps. Raises ValueError unless it is a text with one of the units."""
        match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
        if match:
            for unit, steps in self.units.items():
                if unit.casefold() == match["unit"].casefold():
                    return int(Decimal(match["number"]) * steps)
        raise ValueError(f'give a unit, such as "{self.example}" ({", ".join(self.units)})')

    def text(self, steps: int) -> str:
        """`steps` in the largest unit that holds them as a whole number, else in the smallest one."""
        whole = [unit for unit, size in self.units.items() if steps >= size and steps % size == 0]
        unit = whole[-1] if whole else next(iter(self.units))
        return f"{Decimal(steps) / self.units[unit]:f} {unit}"


SIZES = Scale(
    {
        "B": 1,
        "kB": 10**3,
        "KiB": KIB,
        "MB": 10**6,
        "MiB": MIB,
        "GB": 10**9,
        "GiB": GIB,
        "TB": 10**12,
        "TiB": TIB,
    },
    example="500 MiB",
)
DURATIONS = Scale({"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}, example="30 s")
LIFETIMES = Scale({"min": 60, "h": 3_600, "d": 86_400}, example="90 d")
"""In seconds."""
_RATIOS = Scale({"%": 100}, example="5 %")


def _seconds(value: object) -> float:
    return DURATIONS.steps(value) / 1_000


def _seconds_text(seconds: float) -> str:
    return DURATIONS.text(round(seconds * 1_000))


def _ratio(value: object) -> float:
    return _RATIOS.steps(value) / 10_000


def _ratio_text(ratio: float) -> str:
    return _RATIOS.text(round(ratio * 10_000))


def _rate(value: object) -> int:
    size = value.strip().removesuffix("/s") if isinstance(value, str) else ""
    if size == value or not size:
        raise ValueError('give bytes a second, such as "500 B/s"')
    return SIZES.steps(size)


def _rate_text(rate: int) -> str:
    return f"{SIZES.text(rate)}/s"


def within(low: int, high: int) -> AfterValidator:
    """Bounds for a `Size`, both inclusive, in bytes."""

    def check(size: int) -> int:
        if not low <= size <= high:
            raise ValueError(f"must be between {SIZES.text(low)} and {SIZES.text(high)}")
        return size

    return AfterValidator(check)


Size = Annotated[int, BeforeValidator(SIZES.steps), PlainSerializer(SIZES.text, when_used="json")]
"""Bytes, written with a unit."""
Duration = Annotated[float, BeforeValidator(_seconds), PlainSerializer(_seconds_text, when_used="json")]
"""Seconds to the millisecond, written with a unit."""
Ratio = Annotated[float, BeforeValidator(_ratio), Field(le=1), PlainSerializer(_ratio_text, when_used="json")]
"""From 0 to 1 in ten thousandths, written in percent."""
Rate = Annotated[int, BeforeValidator(_rate), PlainSerializer(_rate_text, when_used="json")]
"""Bytes a second, written with a unit and "/s"."""
