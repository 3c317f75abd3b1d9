"""Those who read uploads while they arrive: how many there may be, and how they hear how far each upload is recorded.

They ask the catalog, and not the hub: it knows what other processes did, what became of an upload whose process died,
and nothing that is not durable. However many ask, it is one question at a time for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from maie_aiohttp.errors import Busy
from maie_aiohttp.interfaces import Catalog
from maie_aiohttp.model import Upload

BEAT = 0.25
"""Seconds between two questions."""

FOLLOWERS = 128
"""How many there may be at once: each keeps a file open, and 320 KiB of it waiting to be sent, 40 MiB in all."""

_Answer = asyncio.Future[Upload | None]


class Followers:
    """Those of one process, which has its share of what all may have."""

    def __init__(self, catalog: Catalog, *, workers: int = 1) -> None:
        self._catalog = catalog
        self._free = max(1, FOLLOWERS // workers)
        self._waiting: list[tuple[UUID, _Answer]] = []
        self._asking: asyncio.Task[None] | None = None

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """For as long as somebody follows. Raises `Busy` if they are too many."""
        if not self._free:
            raise Busy("Too many clients read uploads while they arrive.")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def look(self, id: UUID) -> Upload | None:
        """The upload as it is recorded in a moment; None if it is not any more. Raises what the catalog raises."""
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._waiting.append((id, answer))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())
        return await answer

    async def _ask_all(self) -> None:
        """Ask as long as there is anybody who waits."""
        while self._waiting:
            await asyncio.sleep(BEAT)
            waiting, self._waiting = [(id, answer) for id, answer in self._waiting if not answer.done()], []
            await self._ask(waiting)
        self._asking = None

    async def _ask(self, waiting: Sequence[tuple[UUID, _Answer]]) -> None:
        try:
            found = await self._catalog.find(_ids(waiting))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
            return
        for id, answer in waiting:
            if not answer.done():
                answer.set_result(found.get(id))


def _ids(waiting: Sequence[tuple[UUID, _Answer]]) -> Collection[UUID]:
    return {id for id, _ in waiting}
