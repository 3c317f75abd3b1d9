"""How much may be received at once, given what all connections together hold unread.

As long as there is room, whoever has bytes to give gets them in with few receipts; a thousand uploads that all come to
life do not, and receive in small pieces what they can hold until their turn to write.
"""

from __future__ import annotations

from collections.abc import Callable

BUDGET = 8 * 1024 * 1024
"""Bytes received and not yet read by an upload, of all connections of all workers."""

LARGEST, MIDDLE, SMALLEST = 262_144, 65_536, 8_192
"""Bytes of one receipt."""


class Unread:
    """Bytes of all connections that no upload has read yet; `changed` is called when `receipt` has another value."""

    def __init__(self, budget: int, changed: Callable[[], None]) -> None:
        self._budget = budget
        self._changed = changed
        self._held = 0
        self.receipt = LARGEST
        """Bytes that may be received at once."""

    def add(self, size: int) -> None:
        """So many more; fewer, where it is negative."""
        self._held += size
        if self.receipt != (receipt := self._affordable()):
            self.receipt = receipt
            self._changed()

    def _affordable(self) -> int:
        if self._held <= self._budget // 4:
            return LARGEST
        return MIDDLE if self._held <= self._budget * 3 // 4 else SMALLEST
