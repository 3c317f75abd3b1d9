"""What there is to tell of uploads, and those who listen: changes of state, and how far each upload has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from maie_aiohttp.credentials import Caller
from maie_aiohttp.inspection.checks import Progress
from maie_aiohttp.model import Status, Upload

KEPT = 256
"""Changes that are remembered, and that may wait for one listener: with 20 KB of metadata each, 5 MB."""

DELETED = "deleted"
EXAMINED = "examined"
ENDS = frozenset({Status.STORED.value, Status.REJECTED.value, Status.EXPIRED.value, DELETED})

Publish = Callable[[Upload], None]
"""Hears the state that an upload has come into."""


def unpublished(_: Upload) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Change:
    """An upload that came into a state, or was deleted in one. Listeners share it, and what is made of it."""

    name: str
    """A status, `deleted` or `examined`."""
    upload: Upload
    id: str | None = None

    @classmethod
    def of(cls, upload: Upload) -> Change:
        """The change that brought the upload where it is."""
        return cls(upload.status.value, upload)

    @property
    def is_end(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.name in ENDS


@dataclass(slots=True)
class Reception:
    """An upload whose bytes are on their way."""

    upload: Upload
    progress: Progress
    told: Count | None = None
    """What was last told."""

    @property
    def received(self) -> int:
        """Bytes that have arrived, durable or not."""
        return self.progress.received

    def tell(self) -> Count | None:
        """How far the upload is, if that has not been told."""
        now = Count(self.upload, self.received)
        if now == self.told:
            return None
        self.told = now
        return now


@dataclass(frozen=True, slots=True)
class Count:
    """How far an upload was at one moment."""

    upload: Upload
    received: int
    """Bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """How far uploads were at one moment. Listeners share it, and what is made of it."""

    by_id: Mapping[UUID, Count]

    @classmethod
    def of(cls, counts: Iterable[Count | None]) -> Self:
        """Those that there are, one for each upload."""
        return cls({count.upload.id: count for count in counts if count is not None})

    def __iter__(self) -> Iterator[Count]:
        return iter(self.by_id.values())

    def __len__(self) -> int:
        return len(self.by_id)

    def whole(self) -> Counts:
        """Those of uploads that are no pieces."""
        return Counts.of(count for count in self if not count.upload.is_partial)

    def only(self, id: UUID) -> Counts:
        """That of one upload, if it is here."""
        return Counts.of([self.by_id.get(id)])

    def within(self, caller: Caller) -> Counts:
        """Those of uploads within the caller's reach."""
        return self if caller.reach is None else Counts.of(count for count in self if caller.sees(count.upload.owner))

    def without(self, id: UUID) -> Counts:
        """All but that of one upload."""
        return Counts.of(count for count in self if count.upload.id != id) if id in self.by_id else self

    def then(self, newer: Counts) -> Counts:
        """The newest of each upload."""
        return Counts({**self.by_id, **newer.by_id}) if self else newer


NOTHING = Counts({})


class Listener:
    """Gathers what happens to one upload, or to all but partial ones, until there is time to tell it; only of uploads
    within its caller's reach."""

    def __init__(self, about: UUID | None, caller: Caller, position: str, lifetime: asyncio.Timeout) -> None:
        self.about = about
        self._caller = caller
        self.position = position
        """The id of the last change before those that this listener hears of."""
        self.changes: list[Change] = []
        self._counts = NOTHING
        self._news = asyncio.Event()
        self._lifetime = lifetime

    def is_concerned(self, upload: Upload) -> bool:
        """Whether the upload is one of its own."""
        asked = upload.id == self.about if self.about else not upload.is_partial
        return asked and self._caller.sees(upload.owner)

    def hear(self, change: Change) -> None:
        """Gather a change. Whoever lets too many gather is sent away."""
        if not self.is_concerned(change.upload):
            return
        self.changes.append(change)
        self._counts = self._counts.without(change.upload.id)
        self._news.set()
        if len(self.changes) > KEPT:
            self.end()

    def watch(self, counts: Counts) -> None:
        """Gather how far uploads have come, if they are its own."""
        counts = counts.within(self._caller)
        if counts:
            self._counts = self._counts.then(counts)
            self._news.set()

    async def news(self, patience: float) -> tuple[list[Change], Counts]:
        """What has gathered, as soon as there is something; nothing after `patience` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._news.wait()
        self._news.clear()
        changes, self.changes = self.changes, []
        counts, self._counts = self._counts, NOTHING
        return changes, counts

    def end(self) -> None:
        """Send the listener away, whatever it waits for."""
        if not self._lifetime.expired():
            self._lifetime.reschedule(0)
