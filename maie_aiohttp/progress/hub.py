"""Where it is told what becomes of uploads, while it happens. Nobody who tells waits for those who listen.

The newest changes are remembered for listeners who were away: a change's id, `<run>-<number>`, says where to go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from uuid import UUID, uuid4
from weakref import WeakValueDictionary

from maie_aiohttp.credentials import WITHOUT_KEY, Caller
from maie_aiohttp.errors import Busy, IntakeError, Rejected
from maie_aiohttp.inspection.checks import Progress
from maie_aiohttp.model import Status, Upload
from maie_aiohttp.progress.events import DELETED, EXAMINED, KEPT, Change, Counts, Listener, Reception

SAMPLE = 0.25
"""Seconds between two looks at how far uploads have come."""

CROWDED_SAMPLE = 1.0
"""The same while there is much to tell."""

CROWD = 10_000
"""Much to tell: counts, one for each upload and listener, in one look."""

LISTENERS = 256
"""How many are listened to at once; each may keep 150 KB waiting to be sent."""


class Hub:
    """Between those who change uploads and those who want to know."""

    def __init__(self, *, workers: int = 1) -> None:
        """One of as many as there are workers, which share what is bounded."""
        self._workers = workers
        self.receiving: dict[UUID, Reception] = {}
        """Uploads whose bytes are on their way."""
        self.unrecorded: dict[UUID, Upload] = {}
        """Uploads that come in one request, and that the catalog does not know yet."""
        self._paused: dict[UUID, Reception] = {}
        """Those whose bytes stopped coming since the last look."""
        self._recent: deque[Change] = deque(maxlen=KEPT)
        self._begin_run()
        self._states: WeakValueDictionary[UUID, Change] = WeakValueDictionary()
        """What listeners began with and have not been told yet."""
        self._listeners: set[Listener] = set()
        self._looking = False

    def publish(self, upload: Upload) -> None:
        """Tell of the state that an upload has come into."""
        self._announce(upload.status.value, upload)

    def deleted(self, upload: Upload) -> None:
        """Tell that there is no such upload any more."""
        self._announce(DELETED, upload)

    def examined(self, upload: Upload) -> None:
        """Tell what was found out about a stored upload."""
        self._announce(EXAMINED, upload)

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
    async def listen(self, about: UUID | None, caller: Caller = WITHOUT_KEY) -> AsyncIterator[Listener]:
        """Hear of one upload, or of all, within the caller's reach. Raises `Busy`, and TimeoutError when the listener
        is sent away."""
        if len(self._listeners) >= LISTENERS // self._workers:
            raise Busy("Too many clients follow uploads.")
        async with asyncio.timeout(None) as lifetime:
            listener = Listener(about, caller, self._id(self._number), lifetime)
            self._listeners.add(listener)
            try:
                _show(Counts.of(reception.told for reception in self.receiving.values()), [listener])
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

    def snapshot(self, uploads: Sequence[Upload], listener: Listener) -> Sequence[Change]:
        """The states that uploads are in. Only the last has an id: whoever does not get so far begins anew."""
        states = [self._state(upload) for upload in uploads]
        return [*states[:-1], *(replace(last, id=listener.position) for last in states[-1:])]

    def _state(self, upload: Upload) -> Change:
        """One object for all listeners, while the upload stays as it is: those who read slowly hold no more."""
        state = self._states.get(upload.id)
        if state is None or state.upload != upload:
            state = self._states[upload.id] = Change.of(upload)
        return state

    @property
    def _is_heard(self) -> bool:
        """Whether anybody wants to know."""
        return bool(self._listeners)

    def _begin_run(self) -> None:
        """Remember no change; no id given out so far means anything from now on."""
        self._run = uuid4().hex[:8]
        self._number = 0
        self._recent.clear()

    def _announce(self, name: str, upload: Upload) -> None:
        """Tell, wherever somebody listens, of what happened here."""
        self._tell(name, upload)

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
        self._looking = self._is_heard
        if self._looking:
            asyncio.get_running_loop().call_later(self._interval(), self._look)
        receptions = (*self._paused.values(), *self.receiving.values())
        self._paused.clear()
        self._spread(Counts.of(reception.tell() for reception in receptions))

    def _interval(self) -> float:
        """Seconds to the next look."""
        of_all = sum(listener.about is None for listener in self._listeners)
        return CROWDED_SAMPLE if of_all * len(self.receiving) > CROWD else SAMPLE

    def _spread(self, counts: Counts) -> None:
        """Show how far uploads of this process have come, wherever somebody listens."""
        _show(counts, self._listeners)


def _show(counts: Counts, listeners: Iterable[Listener]) -> None:
    """Show how far uploads have come; the same object to all who listen to all."""
    whole = counts.whole()
    for listener in listeners:
        listener.watch(counts.only(listener.about) if listener.about else whole)
