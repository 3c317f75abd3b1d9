"""How much one owner may send: what is allowed, what was used, and when enough of it is free again. Sizes are bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MINUTE = timedelta(minutes=1)
"""What is used counts from its minute on, and so long beyond the window at the most: a month is 44,640 numbers, however
many uploads it had."""

LONGEST = timedelta(days=31)
"""The longest window."""

LARGEST = 1 << 60
"""Of all numbers in a quota; databases hold so many and their sums."""

PATIENCE = 10
"""Seconds after which to ask again, where others hold what is missing: nobody knows when they are done."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Quota:
    """What an owner may use. None is without limit."""

    size: int | None = None
    """Within the window."""
    files: int | None = None
    """Within the window."""
    uploads: int | None = None
    """At a time: those that are received, and those that wait to be continued."""
    window: timedelta = timedelta(days=1)

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing has to be counted."""
        return self.size is None and self.files is None and self.uploads is None


UNLIMITED = Quota()


@dataclass(frozen=True, slots=True)
class Need:
    """What is known of the bytes of a file, or of a form, before they come."""

    least: int
    """So many, or it cannot be."""
    most: int
    """So many may come."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What was stored in one minute."""

    minute: int
    """Since the epoch."""
    size: int
    files: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What an owner uses at one moment."""

    size: int
    """Reserved for what is not finished."""
    files: int
    """The same."""
    uploads: int
    """Not finished."""
    spent: Sequence[Spent]
    """Within the window, the oldest first."""

    def left(self, quota: Quota) -> int | None:
        """Bytes; None where there is no limit."""
        return None if quota.size is None else max(0, -self._over(quota.size, 0))

    def seconds_until(self, quota: Quota, need: Need, now: datetime) -> int:
        """From `now` until the need can be met, at least one."""
        size = -1 if quota.size is None else self._over(quota.size, need.least)
        files = -1 if quota.files is None else self._files_over(quota.files)
        wait = float(PATIENCE if quota.uploads is not None and self.uploads >= quota.uploads else 1)
        for spent in self.spent:
            if size <= 0 and files <= 0:
                break
            size, files = size - spent.size, files - spent.files
            wait = max(wait, (end_of(spent.minute) + quota.window - now).total_seconds())
        return math.ceil(max(wait, PATIENCE) if size > 0 or files > 0 else wait)

    def _over(self, limit: int, more: int) -> int:
        return self.size + sum(spent.size for spent in self.spent) + more - limit

    def _files_over(self, limit: int) -> int:
        return self.files + sum(spent.files for spent in self.spent) + 1 - limit


def minute_of(moment: datetime) -> int:
    """In which minute since the epoch it is."""
    return (moment - EPOCH) // MINUTE


def end_of(minute: int) -> datetime:
    """When the next one begins."""
    return EPOCH + (minute + 1) * MINUTE
