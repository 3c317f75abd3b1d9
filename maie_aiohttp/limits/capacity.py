"""How many connections there may be, and who goes where there are too many."""

from __future__ import annotations

import heapq
import resource
from operator import attrgetter
from time import monotonic
from typing import Protocol

OTHER_DESCRIPTORS = 200
"""What is open besides connections and their files: the catalog, the inspector, what is just being accepted."""

MOST = 10_000
"""Connections, unless more are configured."""

SEARCH_INTERVAL = 0.05
"""Seconds after a search for idle connections that found none; of 10,000, it takes about 2 ms."""


def connections_by_descriptors() -> int:
    """As many as can hold a file each, and at least one."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MOST
    return max(1, min(MOST, (descriptors - OTHER_DESCRIPTORS) // 2))


class Connection(Protocol):
    """What there are too many of."""

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request."""
        ...

    @property
    def closes_at(self) -> float:
        """When it is closed if it stays idle."""
        ...

    def force_close(self) -> None:
        """Close it now."""
        ...


class Held:
    """The connections that are open and not being closed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._connections: set[Connection] = set()
        self._next_search = 0.0

    @property
    def is_full(self) -> bool:
        """Whether there are more than there should be."""
        return len(self._connections) > self._most

    def add(self, connection: Connection) -> bool:
        """One more. Where there are too many, some are closed that wait for a request; if that does not help for long,
        the answer is False: this one has no place."""
        self._connections.add(connection)
        if self.is_full and monotonic() >= self._next_search and not self._close_idle(1 + self._most // 16):
            self._next_search = monotonic() + SEARCH_INTERVAL
        return len(self._connections) <= self._most + max(8, self._most // 8)

    def remove(self, connection: Connection) -> None:
        """It is closed."""
        self._connections.discard(connection)

    def _close_idle(self, count: int) -> bool:
        """Close those that would be closed next anyway. Whether there were any."""
        idle = heapq.nsmallest(count, filter(attrgetter("is_idle"), self._connections), key=attrgetter("closes_at"))
        for connection in idle:
            connection.force_close()
        self._connections.difference_update(idle)
        return bool(idle)
