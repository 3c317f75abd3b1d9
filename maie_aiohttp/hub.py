"""Where it is told what becomes of uploads, while it happens. Nobody who tells waits for those who listen.

The newest changes are remembered for listeners who were away: a change's id, `<run>-<number>`, says where to go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from uuid import UUID, uuid4

from maie_aiohttp.checks import Progress
from maie_aiohttp.errors import IntakeError, Rejected
from maie_aiohttp.events import DELETED, KEPT, Change, Listener, Reception
from maie_aiohttp.model import Status, Upload

SAMPLE = 0.25
"""Seconds between two looks at how far uploads have come."""


class Hub:
    """Between those who change uploads and those who want to know."""

    def __init__(self) -> None:
        self.receiving: dict[UUID, Reception] = {}
        """Uploads whose bytes are on their way."""
        self.unrecorded: dict[UUID, Upload] = {}
        """Uploads that come in one request, and that the catalog does not know yet."""
        self._paused: dict[UUID, Reception] = {}
        """Those whose bytes stopped coming since the last look."""
        self._run = uuid4().hex[:8]
        self._number = 0
        self._recent: deque[Change] = deque(maxlen=KEPT)
        self._listeners: set[Listener] = set()
        self._looking = False

    def publish(self, upload: Upload) -> None:
        """Tell of the state that an upload has come into."""
        self._tell(upload.status.value, upload)

    def deleted(self, upload: Upload) -> None:
        """Tell that there is no such upload any more."""
        self._tell(DELETED, upload)

    def begun(self, upload: Upload) -> None:
        """Tell of an upload without a record."""
        self.publish(upload)
        self.unrecorded[upload.id] = upload

    def given_up(self, id: UUID, error: object) -> None:
        """Tell of an upload that ends without a record, if it has none by now: refused, or else just gone."""
        upload = self.unrecorded.get(id)
        if upload is None:
            return
        upload = replace(upload, reason=str(error) if isinstance(error, IntakeError) else None)
        if isinstance(error, Rejected):
            self.publish(replace(upload, status=Status.REJECTED))
        else:
            self.deleted(upload)

    def forget(self, id: UUID) -> None:
        """Say no more of an upload without a record: nobody knows what became of it."""
        self.unrecorded.pop(id, None)

    @contextmanager
    def reception(self, upload: Upload, progress: Progress) -> Iterator[None]:
        """For as long as bytes of the upload are on their way."""
        self.receiving[upload.id] = Reception(upload, progress)
        try:
            yield
        finally:
            reception = self.receiving.pop(upload.id)
            if self._looking:
                self._paused[upload.id] = reception

    @asynccontextmanager
    async def listen(self, about: UUID | None) -> AsyncIterator[Listener]:
        """Hear of one upload, or of all. Raises TimeoutError when the listener is sent away."""
        async with asyncio.timeout(None) as lifetime:
            listener = Listener(about, self._id(self._number), lifetime)
            self._listeners.add(listener)
            try:
                for reception in self.receiving.values():
                    listener.watch(reception)
                if not self._looking:
                    self._look()
                yield listener
            finally:
                self._listeners.discard(listener)

    def since(self, id: str | None, listener: Listener) -> Sequence[Change] | None:
        """What happened to the listener's uploads after the change with this id; None if nobody remembers."""
        ids = [self._id(number) for number in range(self._number - len(self._recent), self._number + 1)]
        if id not in ids:
            return None
        return [change for change in list(self._recent)[ids.index(id) :] if listener.is_concerned(change.upload)]

    def _id(self, number: int) -> str:
        return f"{self._run}-{number}"

    def _tell(self, name: str, upload: Upload) -> None:
        self._number += 1
        change = Change(name, upload, self._id(self._number))
        self._recent.append(change)
        self.unrecorded.pop(upload.id, None)
        self._paused.pop(upload.id, None)
        for listener in self._listeners:
            listener.hear(change)

    def _look(self) -> None:
        """Show how far uploads have come, now and then, as long as anybody listens."""
        self._looking = bool(self._listeners)
        if self._looking:
            asyncio.get_running_loop().call_later(SAMPLE, self._look)
        for reception in (*self._paused.values(), *self.receiving.values()):
            if reception.told != reception.received:
                reception.told = reception.received
                for listener in self._listeners:
                    listener.watch(reception)
        self._paused.clear()
