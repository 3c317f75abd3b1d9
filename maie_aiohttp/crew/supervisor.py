"""Several processes that do the same work: forked, replaced where one dies, stopped together.

The supervisor has one thread, does nothing but wait for signals, and writes no log: what there is to say of a death,
the successor is told and says. Whatever stands in its memory before the first fork, the workers share.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

BRIEF = 1.0
"""Seconds. Who lives no longer is not replaced at once: it may be what waits for its successor as well."""

_PAUSE = 1
"""Whole seconds until it is, as `signal.alarm` wants them."""

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM})


@dataclass(frozen=True, slots=True)
class Death:
    """How a worker ended."""

    pid: int
    status: int
    """Its exit status, negative after a signal."""

    def __str__(self) -> str:
        return signal.Signals(-self.status).name if self.status < 0 else f"exit status {self.status}"


@dataclass(frozen=True, slots=True)
class Start:
    """What a new worker is told."""

    number: int
    """Its place among the workers, from 0."""
    lifeline: int
    """A descriptor that comes to its end when the supervisor does."""
    predecessor: Death | None
    """Who had the place before."""


@dataclass(frozen=True, slots=True)
class _Worker:
    number: int
    begun: float


Work = Callable[[Start], int]
"""What a worker does. It begins with all of `SIGNALS` blocked. Returns the exit status."""


class Supervisor:
    """Keeps `count` workers at `work`. `close` gives up what new clients would come through; `renew` reads again what
    workers to come inherit."""

    def __init__(self, count: int, work: Work, close: Callable[[], None], renew: Callable[[], None]) -> None:
        self._work = work
        self._close = close
        self._renew = renew
        self._lifeline, self._held = os.pipe()
        self._workers: dict[int, _Worker] = {}
        """By process id."""
        self._vacant: dict[int, Death | None] = dict.fromkeys(range(count))
        """Places without a worker, and who had them."""
        self._stopping = False
        self._status = 0

    def run(self) -> int:
        """Returns the exit status after SIGTERM or SIGINT, once all workers have ended. SIGHUP is passed on."""
        for number in (signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, _unheard)  # where nobody asks for it, macOS drops it
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._fill()
        while self._workers or not self._stopping:
            self._heed(signal.sigwait(SIGNALS))
        return self._status

    def _heed(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._bury()
        elif number == signal.SIGALRM:
            self._fill()
        elif number == signal.SIGHUP:
            self._renew()
            self._signal(signal.SIGHUP)
        elif self._stopping:
            self._signal(signal.SIGKILL)
            os._exit(128 + number)
        else:
            self._stop()

    def _stop(self) -> None:
        self._stopping = True
        self._vacant.clear()
        self._close()
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)  # who has ended is there until it is buried

    def _bury(self) -> None:
        """Take note of all who ended; also of strangers, whose parent a container's first process becomes."""
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if worker := self._workers.pop(pid, None):
                self._replace(worker, Death(pid, os.waitstatus_to_exitcode(status)))

    def _replace(self, worker: _Worker, death: Death) -> None:
        if self._stopping:
            self._status = self._status or int(death.status != 0)
            return
        self._vacant[worker.number] = death
        if time.monotonic() - worker.begun > BRIEF:
            self._fill()
        else:
            signal.alarm(_PAUSE)

    def _fill(self) -> None:
        """Put a worker in every vacant place; if the system has no room for it, later."""
        try:
            while self._vacant:
                number, predecessor = next(iter(self._vacant.items()))
                self._start(number, predecessor)
                del self._vacant[number]
        except OSError:
            signal.alarm(_PAUSE)

    def _start(self, number: int, predecessor: Death | None) -> None:
        worker = _Worker(number, time.monotonic())
        if pid := os.fork():
            self._workers[pid] = worker
        else:
            self._become_worker(Start(number, self._lifeline, predecessor))

    def _become_worker(self, start: Start) -> NoReturn:
        """In a session of its own: Ctrl-C in the terminal is the supervisor's business."""
        status = 1
        try:
            os.setsid()
            os.close(self._held)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            status = self._work(start)
        except BaseException:  # noqa: BLE001 - nothing may come back to where the supervisor was forked
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)


def _unheard(_number: int, _frame: object) -> None:
    """The signal is waited for, not handled."""
