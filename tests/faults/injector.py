"""Counts the calls by which the product reaches disk and catalog, and lets one of them, or all from it on, go wrong."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine, event

from maie_aiohttp.stores import fsio
from tests.faults.kinds import CALLS, COMMIT, STATEMENT, SYNCING, Call, Fault


class Injector:
    """Every call passes through here; nothing happens to it unless a fault is armed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._fault: Fault | None = None
        self._place = 0
        self._counted = 0
        self.struck: Counter[str] = Counter()
        """Calls that went wrong since `arm`."""
        self.descriptors = Descriptors()

    def arm(self, fault: Fault, place: int) -> None:
        """Let the call with this number go wrong, counted from 1 and from now on."""
        with self._lock:
            self._fault, self._place, self._counted = fault, place, 0
            self.struck.clear()

    def disarm(self) -> bool:
        """Let everything go well again. Returns whether anything went wrong."""
        with self._lock:
            self._fault = None
            return bool(self.struck)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let all calls of this process pass through here."""
        with ExitStack() as stack:
            for name in CALLS:
                stack.enter_context(patch.object(fsio, name, self._watched(name, getattr(fsio, name))))
            event.listen(Engine, "do_connect", self._connect)
            stack.callback(event.remove, Engine, "do_connect", self._connect)
            yield

    def pass_on(self, call: Call) -> Any:
        """Make a call, unless it is its turn to go wrong."""
        with self._lock:
            fault = self._due(call.name)
        return call.make() if fault is None else fault.strike(call)

    def _due(self, name: str) -> Fault | None:
        fault = self._fault
        if fault is None or name not in fault.calls:
            return None
        self._counted += 1
        if self._counted < self._place or (self._counted > self._place and not fault.lasting):
            return None
        self.struck[name] += 1
        return fault

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            call = Call(name, partial(function, **kwargs), args)
            with self.descriptors.watching(call) as came_of_it:
                return came_of_it(self.pass_on(call))

        return watched

    def _connect(self, _dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> None:
        """For SQLAlchemy's `do_connect`: connections that pass through here."""
        parameters["factory"] = partial(_Connection, self)


class _Cursor(sqlite3.Cursor):
    def __init__(self, injector: Injector, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._injector = injector

    def execute(self, *args: Any) -> Any:
        return self._injector.pass_on(Call(STATEMENT, super().execute, args))

    def executemany(self, *args: Any) -> Any:
        return self._injector.pass_on(Call(STATEMENT, super().executemany, args))


class _Connection(sqlite3.Connection):
    def __init__(self, injector: Injector, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._injector = injector

    def cursor(self, *_: Any) -> Any:
        return super().cursor(partial(_Cursor, self._injector))

    def commit(self) -> None:
        self._injector.pass_on(Call(COMMIT, super().commit, ()))


class Descriptors:
    """What is open, and how much of it is flushed. After a flush that fails, the kernel forgets what it could not
    write, and says that the next one went well; so does this."""

    def __init__(self) -> None:
        self._open: dict[int, str] = {}
        self._flushed: dict[int, int] = {}
        """Bytes, by inode."""
        self._broken: set[int] = set()
        """Files of which a flush failed."""
        self._violations: list[str] = []

    def take_violations(self) -> list[str]:
        """What was done since the last time that must not be; by now, nothing may be open."""
        violations = [*self._violations, *(f"{name} is still open" for name in self._open.values())]
        self.__init__()  # type: ignore[misc]  # begins anew
        return violations

    @contextmanager
    def watching(self, call: Call) -> Iterator[Callable[[Any], Any]]:
        """Follow what a call does, however it ends."""
        descriptor = call.args[0] if call.args and isinstance(call.args[0], int) else None
        if call.name == "close" and descriptor is not None:
            self._close(descriptor)
        if call.name in SYNCING and descriptor in self._broken:
            self._violations.append(f"{self._open.get(descriptor)} is flushed again after that failed")
        try:
            yield partial(self._came, call)
        except OSError:
            if call.name in SYNCING and descriptor is not None:
                self._lose(descriptor)
            raise

    def _came(self, call: Call, result: Any) -> Any:
        if call.name == "open":
            self._opened(result, str(call.args[0]))
        elif call.name in SYNCING:
            found = os.fstat(call.args[0])
            self._flushed[found.st_ino] = found.st_size
        elif call.name == "ftruncate":
            inode = os.fstat(call.args[0]).st_ino
            self._flushed[inode] = min(self._flushed.get(inode, 0), call.args[1])
        return result

    def _opened(self, descriptor: int, name: str) -> None:
        self._open[descriptor] = name
        found = os.fstat(descriptor)
        if found.st_size == 0:  # the inode may have been another file's
            self._flushed[found.st_ino] = 0
        self._flushed.setdefault(found.st_ino, found.st_size)

    def _close(self, descriptor: int) -> None:
        if self._open.pop(descriptor, None) is None:
            self._violations.append(f"descriptor {descriptor} is closed twice")
        self._broken.discard(descriptor)

    def _lose(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            self._broken.add(descriptor)
            start = self._flushed.get(found.st_ino, 0)
            with suppress(OSError):  # not open for writing
                os.pwrite(descriptor, bytes(found.st_size - start), start)


def open_files() -> set[str]:
    """What this process has open, by the names the system gives."""
    return {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.exists()}
