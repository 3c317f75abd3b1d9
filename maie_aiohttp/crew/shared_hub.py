"""The hub of one worker: its listeners hear of what happens in the others, too, and the others' listeners of its own.

Whoever listens here again after nobody did, or where something may have been missed, begins anew: the others were not
heard meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from uuid import UUID

from maie_aiohttp.credentials import WITHOUT_KEY, Caller
from maie_aiohttp.crew.siblings import Answer, Forgotten, Question, Siblings, Successor, Told, UnderWay, Word
from maie_aiohttp.model import Status, Upload
from maie_aiohttp.progress.events import Count, Counts, Listener
from maie_aiohttp.progress.hub import Hub

PATIENCE = 0.5
"""Seconds that the others have to answer."""


class SharedHub(Hub):
    """See `Hub`. It works between `open` and `close`."""

    def __init__(self, siblings: Siblings) -> None:
        super().__init__(workers=len(siblings.others) + 1)
        self._siblings = siblings
        self._elsewhere: set[UUID] = set()
        """Those of `unrecorded` that another worker receives."""
        self._unanswered: set[int] = set()
        self._answered = asyncio.Event()

    def open(self, *, is_successor: bool) -> None:
        """Begin to hear of the others."""
        self._siblings.attend(self._hear)
        if is_successor:
            self._siblings.tell([Successor()])

    def close(self) -> None:
        """Hear nothing more of them."""
        self._siblings.leave()

    def forget(self, id: UUID) -> None:
        super().forget(id)
        self._siblings.tell([Forgotten(id)])

    @asynccontextmanager
    async def listen(self, about: UUID | None, caller: Caller = WITHOUT_KEY) -> AsyncIterator[Listener]:
        if not self._listeners:
            self._begin_anew()
        try:
            async with super().listen(about, caller) as listener:
                await self._answers()
                listener.changes.clear()  # what the stream begins with is newer
                yield listener
        finally:
            self._siblings.listen(wanted=bool(self._listeners))

    @property
    def _is_heard(self) -> bool:
        return super()._is_heard or self._siblings.are_listening

    def _announce(self, name: str, upload: Upload) -> None:
        super()._announce(name, upload)
        self._siblings.tell([Told(name, upload)])

    def _spread(self, counts: Counts) -> None:
        if self._siblings.has_missed():
            self._send_all_away()
        super()._spread(counts)
        self._siblings.tell(map(_slight, counts))

    async def _answers(self) -> None:
        """Wait until the others have said what they receive."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._answered.wait()

    def _begin_anew(self) -> None:
        """Whatever was heard before is of no use any more."""
        for id in self._elsewhere:
            self.unrecorded.pop(id, None)
        self._elsewhere.clear()
        self._begin_run()
        self._unanswered = set(self._siblings.others)
        self._answered.clear()
        self._siblings.listen(wanted=True)
        self._siblings.ask()

    def _send_all_away(self) -> None:
        """They come back and begin anew."""
        self._begin_anew()
        for listener in self._listeners:
            listener.end()

    def _hear(self, words: Sequence[Word]) -> None:
        super()._spread(Counts.of(word for word in words if isinstance(word, Count)))
        for word in words:
            match word:
                case Told():
                    self._hear_of(word.name, word.upload)
                case UnderWay():
                    self._keep_in_mind(word.upload)
                case Forgotten():
                    self._elsewhere.discard(word.id)
                    super().forget(word.id)
                case Question():
                    self._answer()
                case Answer():
                    self._note_answer(word.of)
                case Successor():
                    self._send_all_away()

    def _hear_of(self, name: str, upload: Upload) -> None:
        self._tell(name, upload)
        self._elsewhere.discard(upload.id)
        if upload.terms is None and name == Status.RECEIVING:
            self._keep_in_mind(upload)

    def _keep_in_mind(self, upload: Upload) -> None:
        self._elsewhere.add(upload.id)
        self.unrecorded[upload.id] = upload

    def _note_answer(self, of: int) -> None:
        self._unanswered.discard(of)
        if not self._unanswered:
            self._answered.set()

    def _answer(self) -> None:
        own = [upload for id, upload in self.unrecorded.items() if id not in self._elsewhere]
        counts = [_slight(reception.told) for reception in self.receiving.values() if reception.told is not None]
        self._siblings.tell([*map(UnderWay, own), *counts, Answer(self._siblings.number)])
        if not self._looking:
            self._look()


def _slight(count: Count) -> Count:
    """Without what may be large."""
    return replace(count, upload=replace(count.upload, metadata={}))
