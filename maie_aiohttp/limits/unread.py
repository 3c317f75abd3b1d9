"""How much may be received at once, given what all connections together hold unread.

As long as there is room, whoever has bytes to give gets them in with few receipts. When a thousand uploads all come to
life, each receives a little and stops; what else is there comes once the upload has a place for it, with few receipts
again.
"""

from __future__ import annotations

from typing import Protocol

BUDGET = 8 * 1024 * 1024
"""Bytes received that no upload has done with, of all connections of all workers."""

LARGEST, MIDDLE, SMALLEST = 524_288, 65_536, 8_192
"""Bytes of one receipt; the largest fills a block for the disk."""

FLOOD = 3
"""Times the budget: up to here, those whose uploads can take much receive the most at once."""

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
        self._flowing: set[Share] = set()
        """Who receives the most, although there is little room, until the upload has done with it."""
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

    def flows(self, share: Share) -> bool:
        """Whether it receives the most at once, however little room there is."""
        return share in self._flowing

    def let_flow(self, share: Share) -> None:
        """From now on, if all who do can be afforded."""
        if self._held + len(self._flowing) * LARGEST < FLOOD * self._budget:
            self._flowing.add(share)

    def stop_flow(self, share: Share) -> None:
        """Not any more."""
        self._flowing.discard(share)

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
        self._is_asked = False
        """Whether an upload reads, and says when it has done with what it took."""
        self._size = LARGEST
        """Bytes that are received at once."""
        self._fills_receipts = False
        """Whether as much came as could be received at once: there is more."""

    @property
    def is_used_up(self) -> bool:
        """Whether the connection should receive no more."""
        receipt = self._unread.receipt
        return self._held >= (receipt if receipt == SMALLEST else HELD_RECEIPTS * receipt)

    @property
    def receipt(self) -> int:
        """Bytes that may be received at once."""
        return LARGEST if self._unread.flows(self) else self._unread.receipt

    def receives(self, size: int) -> None:
        """From now on the connection receives up to `size` bytes at once."""
        self._size = size
        self._unread.receives(self, size)

    def add(self, size: int) -> None:
        """So many bytes came."""
        self._hold(size)
        self._fills_receipts = size >= self._size

    def take(self) -> None:
        """All of them were read: an upload has them in its hands now, everybody else drops them."""
        if self._is_asked:
            self._taken = self._held
        else:
            self._hold(-self._held)

    def done(self) -> None:
        """The upload has nothing of those in its hands any more."""
        self._hold(-self._taken)
        self._taken = 0
        self._unread.stop_flow(self)

    def ask(self) -> None:
        """The upload has done with those, and waits for more. Where there is more, it can take much."""
        self._is_asked = True
        self.done()
        if self._fills_receipts and not self._held:
            self._unread.let_flow(self)

    def drop(self) -> None:
        """No upload reads any more."""
        self._hold(-self._held)
        self._taken = 0
        self._is_asked = False
        self._unread.stop_flow(self)

    def give_up(self) -> None:
        """The connection receives nothing any more."""
        self.drop()
        self.receives(0)

    def shrink(self) -> None:
        """There is less room than the connection counts on."""
        self._receiver.limit_receiving()

    def _hold(self, size: int) -> None:
        self._held += size
        self._unread.add(size)
