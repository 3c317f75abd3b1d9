"""How much may be received at once, given what all connections together hold unread.

As long as there is room, whoever has bytes to give gets them in with few receipts; a thousand uploads that all come to
life do not, and receive in small pieces what they can hold until their turn to write.
"""

from __future__ import annotations

from typing import Protocol

BUDGET = 8 * 1024 * 1024
"""Bytes received that no upload has done with, of all connections of all workers."""

LARGEST, MIDDLE, SMALLEST = 262_144, 65_536, 8_192
"""Bytes of one receipt."""

HELD_RECEIPTS = 3
"""Receipts that one connection may hold, what its upload has in its hands included;
where they are the smallest, one."""


class Receiver(Protocol):
    """A connection."""

    def limit_receiving(self) -> None:
        """Receive no more at once than its `Share.receipt`, and say by `Share.receives` how much that is."""
        ...


class Unread:
    """Bytes of all connections that no upload has done with. When `receipt` shrinks, whoever receives more hears it at
    once. That it has grown, everybody finds out at their next receipt: telling 5,000 connections takes 3 ms, and there
    may be hundreds of changes a second."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._held = 0
        self._above: dict[int, set[Share]] = {MIDDLE: set(), SMALLEST: set()}
        """Who receives more than this at once."""
        self.receipt = LARGEST
        """Bytes that may be received at once."""

    def add(self, size: int) -> None:
        """So many more; fewer, where it is negative."""
        self._held += size
        before, self.receipt = self.receipt, self._affordable()
        if self.receipt < before:
            for share in tuple(self._above[self.receipt]):
                share.shrink()

    def receives(self, share: Share, size: int) -> None:
        """From now on it receives up to `size` bytes at once."""
        for limit, shares in self._above.items():
            if size > limit:
                shares.add(share)
            else:
                shares.discard(share)

    def _affordable(self) -> int:
        if self._held <= self._budget // 4:
            return LARGEST
        return MIDDLE if self._held <= self._budget * 3 // 4 else SMALLEST


class Share:
    """What one connection holds of it."""

    def __init__(self, unread: Unread, receiver: Receiver) -> None:
        self._unread = unread
        self._receiver = receiver
        self._held = 0
        self._taken = 0
        """Of what is held, what the upload has in its hands."""
        self._asked = False
        """Whether the upload waits, with nothing that it could read."""
        self._tasted = False
        """Whether it got little when it last waited."""

    @property
    def is_used_up(self) -> bool:
        """Whether the connection should receive no more."""
        receipt = self._unread.receipt
        return self._held >= (receipt if receipt == SMALLEST else HELD_RECEIPTS * receipt)

    @property
    def receipt(self) -> int:
        """Bytes that may be received at once. An upload that waits again after little has come has a place to gather
        more: were it to go on in the smallest receipts, it would take eight for the least block there is."""
        return max(self._unread.receipt, MIDDLE) if self._asked and self._tasted else self._unread.receipt

    def receives(self, size: int) -> None:
        """From now on the connection receives up to `size` bytes at once."""
        self._unread.receives(self, size)

    def add(self, size: int) -> None:
        """So many bytes came."""
        self._hold(size)
        if self._asked:
            self._asked, self._tasted = False, not self._tasted

    def take(self) -> None:
        """The upload has all of them in its hands."""
        self._taken = self._held

    def ask(self) -> None:
        """The upload has done with those, and waits for more."""
        self._hold(-self._taken)
        self._taken = 0
        self._asked = not self._held

    def drop(self) -> None:
        """Nobody will read what is there."""
        self._hold(-self._held)
        self._taken = 0

    def give_up(self) -> None:
        """The connection receives nothing any more."""
        self.drop()
        self.receives(0)

    def shrink(self) -> None:
        """There is less room than the connection counts on. Many may have waited for long: all of them begin anew."""
        self._tasted = False
        self._receiver.limit_receiving()

    def _hold(self, size: int) -> None:
        self._held += size
        self._unread.add(size)
