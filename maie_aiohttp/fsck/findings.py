"""What was found, one line each, and how many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from maie_aiohttp.errors import IntakeError
from maie_aiohttp.fsck.mending import Mender
from maie_aiohttp.units import MIB

Fix = Callable[[Mender], Awaitable[None]]


class Kind(StrEnum):
    """The first word of a line."""

    CATALOG = "catalog"
    """The catalog's file, as a whole."""
    RECORD = "record"
    """A record says what no record of this server says."""
    LOCATOR = "locator"
    """A record names another file than its own."""
    DAMAGED = "damaged"
    """A stored file is not what its record says."""
    WHOLE = "whole"
    """A recording that was damaged is not any more."""
    FORMAT = "format"
    """A file is not of the format that its record says, although it has not changed."""
    MODE = "mode"
    """Who may read or write something."""
    PART = "part"
    """Bytes of an unfinished upload are missing."""
    UNKNOWN = "unknown"
    """A stored file of which no record speaks."""
    FOREIGN = "foreign"
    """Something that this server did not put there."""
    OUTBOX = "outbox"
    """Not one entry for each stored upload."""
    LEFTOVER = "leftover"
    """What the next start, or the next request, clears up by itself."""
    ORPHANS = "orphans"
    """Files that were put aside."""


NOTES = frozenset({Kind.LEFTOVER, Kind.ORPHANS})
"""Worth a line, but nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line."""

    kind: Kind
    subject: str
    """An upload's id, a place below the data folder, or the catalog's file."""
    text: str
    fix: Fix | None = None
    """What can be done about it."""

    def __str__(self) -> str:
        """Names may hold line ends and terminal controls."""
        text = f"{self.kind} {self.subject}: {self.text}"
        return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


@dataclass(slots=True)
class Report:
    """Tells every finding at once; with a `mender`, what can be put right is put right."""

    say: Callable[[str], None]
    mender: Mender | None = None
    findings: int = 0
    notes: int = 0
    repaired: int = 0
    records: int = 0
    files: int = 0
    hashed: int = 0
    """Bytes."""

    async def add(self, finding: Finding) -> None:
        """Tell it."""
        if finding.kind in NOTES:
            self.notes += 1
        else:
            self.findings += 1
        self.say(f"{finding}{await self._outcome(finding.fix)}")

    def close(self) -> None:
        """Tell how many there were."""
        looked_at = f"{_many(self.records, 'record')}, {_many(self.files, 'file')}, {self.hashed / MIB:.1f} MiB read"
        found = f"{_many(self.findings, 'finding')}, {_many(self.notes, 'note')}, {self.repaired} repaired"
        self.say(f"{looked_at}; {found}")

    async def _outcome(self, fix: Fix | None) -> str:
        if self.mender is None or fix is None:
            return ""
        try:
            await fix(self.mender)
        except (IntakeError, OSError) as error:
            return f" - not repaired: {error}"
        self.repaired += 1
        return " - repaired"


def _many(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
