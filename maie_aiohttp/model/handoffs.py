"""What others are told, and what has become of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from maie_aiohttp.model.uploads import Upload


@dataclass(frozen=True, slots=True)
class Event:
    """What others are told of an upload."""

    id: str
    """The same whenever this is told again, and that of no other event: who has seen it need not do anything."""
    type: str
    """`upload.stored`."""
    at: datetime
    upload: Upload
    """As its record is now."""
    file: Path
    """Where its bytes are on this machine, from the root on. Somebody may have deleted them since."""


class Handed(StrEnum):
    """How far a target knows of an event. The values are part of the HTTP interface."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Letter:
    """One event for one target, and what has become of that. Of the last three moments, one is known."""

    number: int
    """Of the event's entry in the outbox."""
    target: str
    event: str
    """Its type."""
    at: datetime
    """When it happened."""
    upload: Upload
    attempts: int = 0
    error: str | None = None
    """Why the last attempt failed."""
    due_at: datetime | None = None
    """Until it is delivered: when to try, or try again."""
    delivered_at: datetime | None = None
    died_at: datetime | None = None
    """When it was given up."""

    @property
    def status(self) -> Handed:
        """What follows from the moments."""
        if self.delivered_at is not None:
            return Handed.DELIVERED
        return Handed.PENDING if self.died_at is None else Handed.DEAD


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a target does not know yet."""

    waiting: int
    """Letters that are tried, or will be."""
    dead: int
    """Those that were given up."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the list of letters, newest first: just behind the letter with these two values."""

    number: int
    target: str
