"""How long the bytes of a body are waited for. What counts is the time in which the client is waited for, not that in
which it waits for this server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeVar

from maie_aiohttp.errors import IntakeError, TooSlow

Result = TypeVar("Result", bound=bytes)

SILENT = "No byte came for too long."
SLOW = "The bytes came too slowly."
LATE = "The body took too long."


class Pace:
    """What one client has used up of three limits: seconds without a byte, a rate, and seconds in all. It has no clock.

    The rate is kept with a credit of seconds: waiting takes from it, each byte gives back what it may take, and there
    are never more than `window`, which is also what there is at the beginning.
    """

    def __init__(self, *, idle: float, rate: int, window: float, total: float) -> None:
        self._idle = idle
        self._byte = 1 / rate if rate else 0.0
        self._window = self._credit = window if rate else inf
        self._left = total

    def spend(self, seconds: float, size: int) -> None:
        """The client was waited for, and then brought `size` bytes."""
        self._left -= seconds
        self._credit = min(self._window, self._credit - seconds + size * self._byte)

    @property
    def patience(self) -> tuple[float, str]:
        """Seconds that may pass until the next byte, and what is to be said once they have."""
        return min((self._idle, SILENT), (self._credit, SLOW), (self._left, LATE))


class Patience:
    """Waits for a client at its `Pace`, with one timer at a time however many waits there are: the moment at which
    patience ends never moves forward, so a timer that goes off too early is set again."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[object] | None = None
        self._since = 0.0
        self._woken = False
        self.interruption: IntakeError | None = None
        """What ended the waiting, or ends the next."""

    async def wait(self, arrival: Callable[[], Awaitable[Result]]) -> Result:
        """What arrives next. Raises `TooSlow`, and the interruption."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - handlers are tasks
        cancelling = task.cancelling()
        self._since = self._loop.time()
        self._waiting = task
        if self._timer is None:
            self._set_timer(self._pace.patience[0])
        try:
            arrived = await arrival()
        except asyncio.CancelledError:
            if self._woken and self.interruption is not None and task.uncancel() <= cancelling:
                raise self.interruption from None
            raise
        finally:
            self._waiting = None
        self._pace.spend(self._loop.time() - self._since, len(arrived))
        return arrived

    def interrupt(self, error: IntakeError) -> None:
        """Let the wait that goes on raise `error`, unless it was interrupted before; of other waits, those decide who
        begin them."""
        self.interruption = self.interruption or error
        if self._waiting is not None and not self._woken:
            self._woken = True
            self._waiting.cancel()

    def end(self) -> None:
        """Nothing is waited for any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        patience, complaint = self._pace.patience
        left = self._since + patience - self._loop.time()
        if left > 0:
            self._set_timer(left)
        else:
            self.interrupt(TooSlow(complaint))
