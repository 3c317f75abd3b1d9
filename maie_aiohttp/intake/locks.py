"""One writer an upload, between the tasks of one process and between the processes of one machine.

In a process, all who want an upload stand in line. The first takes one byte of a common file, with a POSIX record lock:
the kernel gives it back when the process ends, however it ends, so nothing is left to clear up. Who finds the byte
taken puts a shared lock on another, far behind it: the upload is wanted. Holders look there now and then, by asking the
kernel what would be in the way (F_GETLK). That takes nothing and overlooks the locks of the process itself: nobody's
look is another's wish, and a process that looks keeps its own wishes.

A third byte, farther behind, says that a process works on the upload although nobody could want it yet, or at all. It
is never waited for, and nobody is asked to give it up.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import UUID

from maie_aiohttp.errors import IntakeError, Locked, Superseded

Interrupt = Callable[[IntakeError], None]

PATIENCE = 10.0
"""Seconds that a newcomer waits for the upload."""

WATCH_EVERY = 0.05
"""Seconds between two looks at what other processes want."""

RETRY_EVERY = 0.025
"""Seconds between two attempts at an upload that another process holds."""

PLACES = 1 << 61
"""So many bytes can be held; the next so many say which of them are wanted, and the next which are owned."""

_OWNED = 2 * PLACES


class Locks:
    """The uploads held by this process. There must not be two for one file in a process: they would not see each
    other's locks, and closing one, or any descriptor of the file, gives up those of both."""

    def __init__(self, file: Path, *, patience: float = PATIENCE) -> None:
        """`file` is made if it is missing; it stays empty. Raises OSError."""
        self._bytes = _Bytes(file)
        self._patience = patience
        self._lines: dict[UUID, list[asyncio.Event]] = {}
        """Who holds or wants an upload, in the order they came; the event of the first is set."""
        self._held: dict[UUID, Interrupt] = {}
        self._owned: set[UUID] = set()
        self._watching = False

    def close(self) -> None:
        """For when nobody holds or waits any more."""
        self._bytes.close()

    @asynccontextmanager
    async def hold(self, id: UUID, interrupt: Interrupt) -> AsyncIterator[None]:
        """Ask whoever holds the upload to let go, and hold it then. When somebody else wants it, perhaps at once,
        `interrupt` is called with `Superseded`, and only once. Raises `Locked` when patience ends."""
        with self._in_line(id) as turn:
            self._supersede(id)
            try:
                async with asyncio.timeout(self._patience):
                    await turn.wait()
                    await self._bytes.take_patiently(_place(id))
            except TimeoutError:
                raise _locked() from None
            with self._holding(id, interrupt):
                yield

    @contextmanager
    def try_hold(self, id: UUID) -> Iterator[None]:
        """Hold the upload if nobody else does. Raises `Locked`, at once and without disturbing the holder."""
        if id in self._lines or not self._bytes.take(_place(id)):
            raise _locked()
        with self._in_line(id), self._holding(id, uninterruptible):
            yield

    @contextmanager
    def own(self, id: UUID) -> Iterator[None]:
        """Say, as long as this process lives, that it works on something. Raises `Locked` if anybody else does."""
        if id in self._owned or not self._bytes.take(_OWNED + _place(id)):
            raise _locked()
        self._owned.add(id)
        try:
            yield
        finally:
            self._owned.discard(id)
            self._bytes.give_back(_OWNED + _place(id))

    def is_owned(self, id: UUID) -> bool:
        """Whether a living process says that it works on it."""
        return id in self._owned or self._bytes.taken(_OWNED + _place(id))

    @contextmanager
    def vacant(self, id: UUID) -> Iterator[None]:
        """Hold the upload if no living process works on it. Raises `Locked`, at once and without disturbing it."""
        with self.own(id), self.try_hold(id):
            yield

    @contextmanager
    def _in_line(self, id: UUID) -> Iterator[asyncio.Event]:
        """From joining the line to leaving it. The event is set when nobody stands before."""
        turn = asyncio.Event()
        line = self._lines.setdefault(id, [])
        line.append(turn)
        line[0].set()
        try:
            yield turn
        finally:
            line.remove(turn)
            if line:
                line[0].set()
            else:
                del self._lines[id]

    @contextmanager
    def _holding(self, id: UUID, interrupt: Interrupt) -> Iterator[None]:
        """From when the byte was taken until it is given back."""
        self._held[id] = interrupt
        try:
            if len(self._lines[id]) > 1:
                self._supersede(id)
            if not self._watching:
                self._watch()
            yield
        finally:
            del self._held[id]
            self._bytes.give_back(_place(id))

    def _watch(self) -> None:
        """Pass on what other processes want, as long as anything is held."""
        self._watching = bool(self._held)
        if self._watching:
            asyncio.get_running_loop().call_later(WATCH_EVERY, self._watch)
            if self._bytes.wanted(0, PLACES - 1):
                for id in self._wanted(sorted(self._held, key=_place)):
                    self._supersede(id)

    def _wanted(self, held: Sequence[UUID]) -> Iterator[UUID]:
        """Those that another process wants. `held` is in the order of the places, so that one look tells of a half in
        which nobody wants anything."""
        if not self._bytes.wanted(_place(held[0]), _place(held[-1])):
            return
        if middle := len(held) // 2:
            yield from self._wanted(held[:middle])
            yield from self._wanted(held[middle:])
        else:
            yield held[0]

    def _supersede(self, id: UUID) -> None:
        """Ask whoever holds the upload in this process to let go."""
        if interrupt := self._held.get(id):
            self._held[id] = uninterruptible
            interrupt(Superseded("Another request has taken the upload over."))


class _Bytes:
    """The record locks of this process. No call waits, for another process or for the disk."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def close(self) -> None:
        os.close(self._file)

    async def take_patiently(self, place: int) -> None:
        """Take the byte when it is free, and tell other processes of the wish until then."""
        with self._wanting(place):
            if self.wanted(place, place):
                await asyncio.sleep(RETRY_EVERY)  # in which the other process tries too: it came first
            while not self.take(place):  # noqa: ASYNC110 - another process cannot set an event
                await asyncio.sleep(RETRY_EVERY)

    def take(self, place: int) -> bool:
        """Whether this process holds the byte now."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):  # POSIX leaves the choice to the system
            return False
        return True

    def give_back(self, place: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def wanted(self, first: int, last: int) -> bool:
        """Whether another process wants a byte from `first` to `last`."""
        return self.taken(PLACES + first, PLACES + last)

    def taken(self, first: int, last: int | None = None) -> bool:
        """Whether another process has the byte, or one up to `last`."""
        length = 1 if last is None else last - first + 1
        question, nobody = _flock(fcntl.F_WRLCK, first, length), _flock(fcntl.F_UNLCK, first, length)
        return fcntl.fcntl(self._file, fcntl.F_GETLK, question) != nobody

    @contextmanager
    def _wanting(self, place: int) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, PLACES + place)
        try:
            yield
        finally:
            self.give_back(PLACES + place)


def _place(id: UUID) -> int:
    """The byte of an upload: of 61 random bits, which no two uploads share."""
    return id.int % PLACES


def _flock(kind: int, start: int, length: int) -> bytes:
    """`struct flock`, as the system lays it out."""
    if sys.platform == "darwin":
        return struct.pack("qqihh", start, length, 0, kind, os.SEEK_SET)
    return struct.pack("hhqqi", kind, os.SEEK_SET, start, length, 0)


def uninterruptible(_: IntakeError) -> None:
    """For holders that were asked already, or are done before long."""


def _locked() -> Locked:
    return Locked("Another request holds the upload and does not let go.")
