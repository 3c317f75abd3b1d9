"""The ways in which a call to the file system or the catalog goes wrong."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

READING = frozenset({"fstat", "fstatvfs", "listdir", "lstat", "pread", "stat"})
SYNCING = frozenset({"fdatasync", "fsync"})
GROWING = frozenset({"link", "makedirs", "mkdir", "open", "replace", "write"})
CHANGING = frozenset({"chmod", "fchmod", "flock", "ftruncate", "lseek", "posix_fadvise", "unlink"})
CALLS = READING | SYNCING | GROWING | CHANGING | {"close"}
"""Of `fsio`."""

STATEMENT = "statement"
COMMIT = "commit"
CATALOG = frozenset({STATEMENT, COMMIT})

RESULTS = {sqlite3.SQLITE_BUSY: "SQLITE_BUSY", sqlite3.SQLITE_FULL: "SQLITE_FULL", sqlite3.SQLITE_IOERR: "SQLITE_IOERR"}


@dataclass(frozen=True, slots=True)
class Call:
    """One call, about to be made."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]

    def make(self) -> Any:
        """As it was meant."""
        return self.function(*self.args)

    def make_half(self) -> Any:
        """A write of half of its bytes."""
        descriptor, content = self.args
        return self.function(descriptor, content[: max(1, len(content) // 2)])


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to go wrong."""

    name: str
    calls: frozenset[str]
    """Which calls can go wrong in this way."""
    strike: Callable[[Call], Any]
    """In place of the call: raises what the system would, or returns it."""
    lasting: bool = False
    """Whether all such calls after it go wrong too."""


def failing(number: int, calls: frozenset[str], *, lasting: bool = False) -> Fault:
    """The system's error with this number."""
    return Fault(_named(errno.errorcode[number], lasting), calls, partial(_fail, number), lasting)


def refusing(result: int, *, lasting: bool = False) -> Fault:
    """SQLite's result code, for a statement or a commit of which nothing happens."""
    return Fault(_named(RESULTS[result], lasting), CATALOG, partial(_refuse, result), lasting)


def _named(name: str, lasting: bool) -> str:
    return f"{name} from there on" if lasting else name


def _fail(number: int, call: Call) -> None:
    if call.name == "close":  # the descriptor is given back all the same, in Linux
        call.make()
    raise OSError(number, os.strerror(number))


def _refuse(result: int, call: Call) -> None:
    if call.name == COMMIT and result != sqlite3.SQLITE_BUSY:  # of these SQLite rolls back itself
        call.function.__self__.rollback()  # type: ignore[attr-defined]  # a method of the connection
    error = sqlite3.OperationalError(RESULTS[result])
    error.sqlite_errorcode = result
    raise error


def _commit_in_doubt(call: Call) -> None:
    call.make()
    _refuse(sqlite3.SQLITE_IOERR, call)


def die(_: Call | None = None) -> None:
    """The process ends, as if by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


def _die_half_way(call: Call) -> None:
    call.make_half()
    die()


ERRORS = (
    failing(errno.EIO, CALLS),
    failing(errno.EIO, CALLS - {"close"}, lasting=True),
    failing(errno.ENOSPC, GROWING | SYNCING),
    failing(errno.ENOSPC, GROWING | SYNCING, lasting=True),
    failing(errno.EDQUOT, frozenset({"link", "write"})),
    failing(errno.EMFILE, frozenset({"open"})),
    failing(errno.EROFS, GROWING | CHANGING, lasting=True),
    Fault("short write", frozenset({"write"}), Call.make_half),
    refusing(sqlite3.SQLITE_BUSY),
    refusing(sqlite3.SQLITE_FULL),
    refusing(sqlite3.SQLITE_FULL, lasting=True),
    refusing(sqlite3.SQLITE_IOERR),
    refusing(sqlite3.SQLITE_IOERR, lasting=True),
    Fault("SQLITE_IOERR, but it is done", frozenset({COMMIT}), _commit_in_doubt),
)
DEATHS = (
    Fault("SIGKILL", CALLS | CATALOG, die),
    Fault("SIGKILL after half", frozenset({"write"}), _die_half_way),
)
