"""Hands stored uploads on: takes letters out of the outbox, and delivers each until it is acknowledged or given up.

At least once. A letter is filed as delivered after its target has acknowledged it; whatever dies in between delivers it
again, with the same event id. One process relays at a time (see `leadership`), so nobody has to claim a letter.
Each target has a relay of its own, and no letter waits for another's outcome.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import structlog

from maie_aiohttp.errors import IntakeError, Undeliverable, Undelivered
from maie_aiohttp.interfaces import Handoff, Outbox
from maie_aiohttp.model import Event, Letter

PAGE = 200
"""Letters taken out of the outbox at a time, of those never tried and of those tried before."""

PATIENCE = 0.5
"""Seconds that a page has to be delivered, before it is filed as it stands and the next one is taken."""

GATHERING = 0.25
"""Seconds between two looks into the outbox while uploads keep coming: a look for each would slow them down."""

HEARTBEAT = 60.0
"""Seconds after which the outbox is looked into, although nobody rang."""

PAUSE_AFTER_FAILURE = 5.0
"""Seconds until the catalog is asked again that failed."""

GRACE = 5.0
"""Seconds that deliveries under way have to end when the server stops."""

LONGEST_REASON = 300
"""Characters."""

LONGEST_WISH = 86_400.0
"""Seconds that a target may have us wait."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often a letter is tried."""

    attempts: int
    """After so many it is given up."""
    first_pause: float
    """Seconds; each pause is twice as long as the one before."""
    longest_pause: float
    """Seconds."""

    def pause(self, attempts: int) -> timedelta:
        """After so many attempts that failed: random, from half of it on, so that letters that failed together do not
        come back together."""
        longest = min(self.longest_pause, self.first_pause * 2 ** min(attempts - 1, 60))
        return timedelta(seconds=random.uniform(longest / 2, longest))  # noqa: S311 - no secret

    def longest(self) -> timedelta:
        """No letter is due later than that, but for a clock that was set back."""
        return timedelta(seconds=max(self.longest_pause, LONGEST_WISH))


@dataclass(slots=True)
class _Attempt:
    """A letter on its way."""

    letter: Letter
    """As it is filed; not yet, if nothing says when it is due."""
    task: asyncio.Task[Letter]
    """Returns how it stands then."""

    def outcome(self) -> Letter:
        """How it stands when the task has ended; as before, if that was cut off."""
        return _pending(self.letter) if self.task.cancelled() else self.task.result()


class Relay:
    """Of one target."""

    def __init__(
        self,
        outbox: Outbox,
        target: Handoff,
        locate: Callable[[str], Path],
        schedule: Schedule,
        *,
        concurrency: int,
    ) -> None:
        """`locate` says where on this machine the bytes at a locator are."""
        self._outbox = outbox
        self._target = target
        self._locate = locate
        self._schedule = schedule
        self._slots = asyncio.Semaphore(concurrency)
        self._under_way: dict[UUID, _Attempt] = {}
        """By upload."""
        self._unfiled: list[Letter] = []
        """In the order in which they came to stand so."""
        self._dues: list[datetime] = []
        """When letters are due that are not under way."""
        self._news = asyncio.Event()
        self._is_ending = False

    def wake(self) -> None:
        """There may be something in the outbox."""
        self._news.set()

    async def run(self) -> NoReturn:
        """Deliver what there is, and what comes. Cancelled, it takes no more, and gives what is under way a moment to
        end."""
        try:
            while True:
                self._news.clear()
                pause = await self._try_page()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._news.wait()
        finally:
            await self._end()

    async def deliver_page(self) -> float:
        """Deliver a page, and file what became of it, and of what was still under way. Returns after how many seconds
        there is more to do, unless somebody wakes it."""
        taken, is_full = await self._take(PAGE - len(self._under_way))
        if taken:
            _, late = await asyncio.wait(map(self._begin, taken), timeout=PATIENCE)
            for task in late:
                task.add_done_callback(lambda _: self.wake())
        await self._file()
        return 0 if is_full else self._pause()

    def _begin(self, letter: Letter) -> asyncio.Task[Letter]:
        task = asyncio.create_task(self._attempt(letter))
        self._under_way[letter.upload.id] = _Attempt(letter, task)
        return task

    async def _try_page(self) -> float:
        try:
            return await self.deliver_page()
        except Exception:
            log.exception("letters not delivered", target=self._target.name)
            return PAUSE_AFTER_FAILURE

    async def _take(self, room: int) -> tuple[Sequence[Letter], bool]:
        """Letters that are due, and whether there may be more. Neither the new nor the old take all of the room from
        the others."""
        half = (room + 1) // 2
        fresh = await self._outbox.fresh(self._target.name, half)
        waiting = await self._outbox.waiting(self._target.name, room - len(fresh), besides=self._under_way.keys())
        now = datetime.now(UTC)
        due = [letter for letter in waiting if self._is_due(letter, now)]
        self._dues = [letter.due_at for letter in waiting if letter.due_at and not self._is_due(letter, now)]
        taken = [*fresh, *due]
        return taken, bool(taken) and (len(fresh) == half or len(taken) == room)

    def _pause(self) -> float:
        """Seconds until a letter is due."""
        soonest = min(self._dues, default=None)
        return HEARTBEAT if soonest is None else min(HEARTBEAT, (soonest - datetime.now(UTC)).total_seconds())

    def _is_due(self, letter: Letter, now: datetime) -> bool:
        """One that seems to be due far in the future was filed before the clock was set back."""
        return letter.due_at is None or not now < letter.due_at <= now + self._schedule.longest()

    async def _attempt(self, letter: Letter) -> Letter:
        """Returns how the letter stands then. Whatever the target does, this does not raise."""
        async with self._slots:
            if self._is_ending:
                return _pending(letter)
            try:
                await self._deliver(letter)
            except Undeliverable as error:
                return self._give_up(letter, _one_line(error))
            except Undelivered as error:
                return self._put_off(letter, _one_line(error), error.retry_after)
        log.debug("event delivered", **_described(letter))
        return replace(letter, attempts=letter.attempts + 1, error=None, due_at=None, delivered_at=datetime.now(UTC))

    async def _deliver(self, letter: Letter) -> None:
        """Raises `Undelivered` and `Undeliverable`, also for bugs in the target."""
        try:
            await self._target.deliver(self._event(letter))
        except (Undelivered, Undeliverable):
            raise
        except (Exception, asyncio.CancelledError) as error:
            if self._is_ending and isinstance(error, asyncio.CancelledError):
                raise
            log.exception("hand-off failed", **_described(letter))
            raise Undelivered("The hand-off itself failed; the server's log says how.") from error

    def _event(self, letter: Letter) -> Event:
        upload = letter.upload
        assert upload.stored is not None, "only stored uploads are announced"  # noqa: S101 - a slip of ours
        return Event(str(upload.id), letter.event, letter.at, upload, self._locate(upload.stored.locator))

    def _put_off(self, letter: Letter, reason: str, wish: float | None = None) -> Letter:
        """Try again later, unless that was the last time. A target that says when is asked no earlier."""
        attempts = letter.attempts + 1
        if attempts >= self._schedule.attempts:
            return self._give_up(letter, reason)
        pause = max(self._schedule.pause(attempts), timedelta(seconds=min(wish or 0.0, LONGEST_WISH)))
        say = log.warning if attempts == 1 else log.debug
        say("event not delivered", **_described(letter), reason=reason, again_in=round(pause.total_seconds(), 1))
        return replace(letter, attempts=attempts, error=reason, due_at=datetime.now(UTC) + pause)

    def _give_up(self, letter: Letter, reason: str) -> Letter:
        log.error("event given up", **_described(letter), reason=reason)
        return replace(letter, attempts=letter.attempts + 1, error=reason, due_at=None, died_at=datetime.now(UTC))

    async def _file(self) -> None:
        """Have the outbox know of every letter that has ended, and of each that it does not know. All at once: with a
        letter must come those before it. Tries until it succeeds: else the targets would be told again."""
        self._gather()
        while self._unfiled:
            try:
                await self._outbox.file(self._unfiled)
            except Exception:
                log.exception("letters not filed", target=self._target.name)
                await asyncio.sleep(PAUSE_AFTER_FAILURE)
            else:
                self._unfiled = []

    def _gather(self) -> None:
        for id, attempt in tuple(self._under_way.items()):
            if attempt.task.done():
                letter = attempt.outcome()
                del self._under_way[id]
                self._unfiled.append(letter)
                self._dues += [letter.due_at] if letter.due_at else []
            elif attempt.letter.due_at is None:
                attempt.letter = _pending(attempt.letter)
                self._unfiled.append(attempt.letter)

    async def _end(self) -> None:
        """What is not acknowledged by the end of it is delivered again after the next start."""
        self._is_ending = True
        tasks = [attempt.task for attempt in self._under_way.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        self._gather()
        with suppress(IntakeError):
            await self._outbox.file(self._unfiled)


async def relay(relays: Sequence[Relay], heard: Callable[[], Awaitable[None]]) -> NoReturn:
    """Run them all; they are woken when something was `heard`."""
    async with asyncio.TaskGroup() as group:
        for one in relays:
            group.create_task(one.run())
        while True:
            await heard()
            for one in relays:
                one.wake()
            await asyncio.sleep(GATHERING)


def _pending(letter: Letter) -> Letter:
    """Due now, unless it is said when."""
    return replace(letter, due_at=letter.due_at or datetime.now(UTC))


def _one_line(error: Exception) -> str:
    """What a target says may have come from elsewhere."""
    return "".join(mark if mark.isprintable() else " " for mark in str(error)[:LONGEST_REASON])


def _described(letter: Letter) -> dict[str, object]:
    """For the log: the letter, and which attempt this is."""
    return {"target": letter.target, "upload": str(letter.upload.id), "attempt": letter.attempts + 1}
