"""Whose turn it is to write to SQLite, among the processes of one server.

SQLite itself lets one write at a time, but whoever finds it busy sleeps, longer every time, up to a tenth of a second,
while others come and go. With four busy writers on a disk, one write in a hundred then took 250 ms; so it takes 90.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 5.0
"""Seconds until a writer goes on without its turn: who has it may hang, and SQLite says whether it is still busy."""

RETRY_EVERY = 0.0003
"""Seconds; a transaction takes about one millisecond."""


class Turn:
    """Held by one process at a time, for one transaction. The kernel gives it back where a process ends."""

    def __init__(self, file: Path) -> None:
        """`file` is made if it is missing; it stays empty. Raises OSError."""
        self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def close(self) -> None:
        """For when nobody writes any more."""
        os.close(self._file)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for it, in a thread that may wait."""
        deadline = time.monotonic() + PATIENCE
        while not self._take() and time.monotonic() < deadline:
            time.sleep(RETRY_EVERY)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _take(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
