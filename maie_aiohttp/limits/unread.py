"""How much may be received at once, given what all connections together hold unread.

As long as there is room, whoever has bytes to give gets them in with few receipts; a thousand uploads that all come to
life do not, and receive in small pieces what they can hold until their turn to write.
"""

from __future__ import annotations

from typing import Protocol

BUDGET = 8 * 1024 * 1024
"""Bytes received and not yet read by an upload, of all connections of all workers."""

LARGEST, MIDDLE, SMALLEST = 262_144, 65_536, 8_192
"""Bytes of one receipt."""


class Receiver(Protocol):
    """A connection."""

    def limit_receiving(self) -> None:
        """Receive no more than `Unread.receipt` at once, and say by `Unread.receives` how much that is."""
        ...


class Unread:
    """Bytes of all connections that no upload has read yet. When `receipt` shrinks, whoever receives more hears it at
    once. That it has grown, everybody finds out at their next receipt: telling 5,000 connections takes 3 ms, and there
    may be hundreds of changes a second."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._held = 0
        self._above: dict[int, set[Receiver]] = {MIDDLE: set(), SMALLEST: set()}
        """Who receives more than this at once."""
        self.receipt = LARGEST
        """Bytes that may be received at once."""

    def add(self, size: int) -> None:
        """So many more; fewer, where it is negative."""
        self._held += size
        before, self.receipt = self.receipt, self._affordable()
        if self.receipt < before:
            for receiver in tuple(self._above[self.receipt]):
                receiver.limit_receiving()

    def receives(self, receiver: Receiver, size: int) -> None:
        """From now on it receives up to `size` bytes at once."""
        for limit, receivers in self._above.items():
            if size > limit:
                receivers.add(receiver)
            else:
                receivers.discard(receiver)

    def forget(self, receiver: Receiver) -> None:
        """It receives nothing any more."""
        self.receives(receiver, 0)

    def _affordable(self) -> int:
        if self._held <= self._budget // 4:
            return LARGEST
        return MIDDLE if self._held <= self._budget * 3 // 4 else SMALLEST
