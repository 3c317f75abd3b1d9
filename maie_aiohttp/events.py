"""What there is to tell of uploads, and those who listen: changes of state, and how far each upload has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import UUID

from maie_aiohttp.checks import Progress
from maie_aiohttp.model import Status, Upload

KEPT = 256
"""Changes that are remembered, and that may wait for one listener: with 20 KB of metadata each, 5 MB."""

DELETED = "deleted"
ENDS = frozenset({Status.STORED.value, Status.REJECTED.value, Status.EXPIRED.value, DELETED})

Publish = Callable[[Upload], None]
"""Hears the state that an upload has come into."""


def unpublished(_: Upload) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Change:
    """An upload that came into a state, or was deleted in one."""

    name: str
    """A status, or `deleted`."""
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


def snapshot(uploads: Sequence[Upload], position: str) -> Sequence[Change]:
    """The states that uploads are in. Only the last has an id: whoever does not get so far begins anew."""
    changes = [Change.of(upload) for upload in uploads]
    return [*changes[:-1], *(replace(last, id=position) for last in changes[-1:])]


@dataclass(slots=True)
class Reception:
    """An upload whose bytes are on their way."""

    upload: Upload
    progress: Progress
    told: int | None = None
    """Bytes, when they were last told."""

    @property
    def received(self) -> int:
        """Bytes that have arrived, durable or not."""
        return self.progress.received


class Listener:
    """Gathers what happens to one upload, or to all but partial ones, until there is time to tell it."""

    def __init__(self, about: UUID | None, position: str, lifetime: asyncio.Timeout) -> None:
        self.about = about
        self.position = position
        """The id of the last change before those that this listener hears of."""
        self.changes: list[Change] = []
        self._receptions: dict[UUID, Reception] = {}
        self._news = asyncio.Event()
        self._lifetime = lifetime

    def is_concerned(self, upload: Upload) -> bool:
        """Whether the upload is one of its own."""
        return upload.id == self.about if self.about else not upload.is_partial

    def hear(self, change: Change) -> None:
        """Gather a change. Whoever lets too many gather is sent away."""
        if not self.is_concerned(change.upload):
            return
        self.changes.append(change)
        self._receptions.pop(change.upload.id, None)
        self._news.set()
        if len(self.changes) > KEPT:
            self.end()

    def watch(self, reception: Reception) -> None:
        """Gather how far an upload has come; only the newest number counts."""
        if self.is_concerned(reception.upload):
            self._receptions[reception.upload.id] = reception
            self._news.set()

    async def news(self, patience: float) -> tuple[Sequence[Change], Sequence[Reception]]:
        """What has gathered, as soon as there is something; nothing after `patience` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._news.wait()
        self._news.clear()
        changes, self.changes = self.changes, []
        receptions, self._receptions = self._receptions, {}
        return changes, list(receptions.values())

    def end(self) -> None:
        """Send the listener away, whatever it waits for."""
        if not self._lifetime.expired():
            self._lifetime.reschedule(0)
