"""What becomes of uploads, told while it happens: every change of state, and a few times a second how far each has come.

Nobody who tells waits for who listens. Changes are laid down for each listener, and one who lets too many lie is sent
away. The newest are kept for listeners who were away: the id of a change, `<run>-<number>`, says where to go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

from maie_aiohttp.checks import Progress
from maie_aiohttp.errors import IntakeError, Rejected, TooSlow, Truncated
from maie_aiohttp.model import Status, Upload

SAMPLE = 0.25
"""Seconds between two looks at how far uploads have come."""

KEPT = 256
"""Changes that are kept, and that may wait for one listener. At 20 KB of metadata each, 5 MB at the most."""

DELETED = "deleted"
ENDS = frozenset({Status.STORED.value, Status.REJECTED.value, Status.EXPIRED.value, DELETED})
"""Changes after which there is nothing to wait for."""

Publish = Callable[[Upload], None]
"""Hears the state that an upload is in now."""


def unpublished(_: Upload) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Change:
    """An upload that came into a state, or was deleted in it."""

    name: str
    """A status, or `deleted`."""
    upload: Upload
    id: str | None = None

    @property
    def is_end(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.name in ENDS


@dataclass(slots=True)
class Reception:
    """An upload whose bytes are on their way."""

    upload: Upload
    progress: Progress
    told: int | None = None
    """Bytes, at the last look."""

    @property
    def received(self) -> int:
        """Bytes that have arrived, durable or not."""
        return self.progress.received


class Listener:
    """Gathers what there is to tell of one upload, or of all but partial ones, until somebody has time for it."""

    def __init__(self, about: UUID | None, position: str, lifetime: asyncio.Timeout) -> None:
        self.about = about
        self.position = position
        """The id from which on this one hears of every change."""
        self.changes: list[Change] = []
        self._receptions: dict[UUID, Reception] = {}
        self._lifetime = lifetime
        self._news = asyncio.Event()

    def is_concerned(self, upload: Upload) -> bool:
        """Whether this is about that upload."""
        return upload.id == self.about if self.about else upload.terms is None or not upload.terms.partial

    def hear(self, change: Change) -> None:
        """Lay it down."""
        self.changes.append(change)
        self._news.set()
        if len(self.changes) > KEPT:
            self.end()

    def watch(self, reception: Reception) -> None:
        """Of how far an upload has come, only the newest counts."""
        self._receptions[reception.upload.id] = reception
        self._news.set()

    async def news(self, patience: float) -> tuple[Sequence[Change], Sequence[Reception]]:
        """What there is to tell, once there is something, or `patience` seconds have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._news.wait()
        self._news.clear()
        changes, self.changes = self.changes, []
        receptions, self._receptions = self._receptions, {}
        return changes, list(receptions.values())

    def end(self) -> None:
        """Send the listener away, whatever it is waiting for."""
        if not self._lifetime.expired():
            self._lifetime.reschedule(0)


class Hub:
    """Where everybody tells, and everybody listens."""

    def __init__(self) -> None:
        self.receiving: dict[UUID, Reception] = {}
        """Uploads whose bytes are on their way."""
        self.unrecorded: dict[UUID, Upload] = {}
        """Those that the catalog does not know yet, for they come in one request."""
        self._paused: dict[UUID, Reception] = {}
        self._run = uuid4().hex[:8]
        self._number = 0
        self._recent: deque[Change] = deque(maxlen=KEPT)
        self._listeners: set[Listener] = set()
        self._sampling = False

    def publish(self, upload: Upload) -> None:
        """Tell of the state that an upload is in now."""
        self._tell(upload.status.value, upload)

    def deleted(self, upload: Upload) -> None:
        """Tell of an upload that there is no more."""
        self._tell(DELETED, upload)

    def begun(self, upload: Upload) -> None:
        """Tell of an upload that has no record yet."""
        self.publish(upload)
        self.unrecorded[upload.id] = upload

    def given_up(self, id: UUID, error: object) -> None:
        """Tell why an upload never gets a record, if it has none by now: it was refused, or else is just gone."""
        upload = self.unrecorded.get(id)
        if upload is None:
            return
        reason = str(error) if isinstance(error, IntakeError) else None
        if isinstance(error, Rejected) and not isinstance(error, Truncated | TooSlow):
            self.publish(replace(upload, status=Status.REJECTED, reason=reason))
        else:
            self.deleted(replace(upload, reason=reason))

    @contextmanager
    def reception(self, upload: Upload, progress: Progress) -> Iterator[None]:
        """For as long as bytes of the upload are on their way."""
        reception = self.receiving[upload.id] = Reception(upload, progress)
        try:
            yield
        finally:
            self._paused[upload.id] = self.receiving.pop(upload.id, reception)

    @asynccontextmanager
    async def listen(self, about: UUID | None) -> AsyncIterator[Listener]:
        """Hear of one upload, or of all. Raises TimeoutError, inside, once the listener is sent away."""
        async with asyncio.timeout(None) as lifetime:
            listener = Listener(about, self._id(self._number), lifetime)
            self._listeners.add(listener)
            self._show(self.receiving.values(), [listener])
            if not self._sampling:
                self._sample()
            try:
                yield listener
            finally:
                self._listeners.discard(listener)

    def since(self, id: str | None, listener: Listener) -> Sequence[Change] | None:
        """What happened after the change with this id, as far as it concerns the listener; None if that cannot be
        told any more."""
        ids = [self._id(number) for number in range(self._number - len(self._recent), self._number + 1)]
        if id not in ids:
            return None
        return [change for change in list(self._recent)[ids.index(id) :] if listener.is_concerned(change.upload)]
