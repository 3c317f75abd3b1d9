"""Who was promised how much of the free space: promises are kept, however many are given at once.

What is free is measured now and then. In between it is what was measured, less what was written since; and nobody is
promised what others were. Bytes written while it is measured may count twice, until the next time: the error is always
on the side of too little room. Numbers are bytes.
"""

from __future__ import annotations

from threading import Lock

from maie_aiohttp.errors import StorageFull


class Ledger:
    """One for each process and file system: what other processes promise is not in it, only what they wrote by the
    time of the last measurement."""

    def __init__(self) -> None:
        self._lock = Lock()
        """Claims are spent in worker threads."""
        self._free = 0
        self._spent = 0
        """Since that was measured."""
        self._promised = 0

    @property
    def promised(self) -> int:
        """To all claims together, and not yet written."""
        return self._promised

    @property
    def spent(self) -> int:
        """To be asked before a measurement, and to be handed in with it."""
        return self._spent

    def measured(self, free: int, spent: int) -> None:
        """So much was free, after `spent` had been written."""
        with self._lock:
            self._free = free
            self._spent -= spent

    def claim(self, size: int) -> Claim:
        """Promise `size` bytes. Raises `StorageFull` where they are not there, or are promised to others."""
        with self._lock:
            self._check(size + self._promised)
        return self.promise(size)

    def promise(self, size: int) -> Claim:
        """The same without asking."""
        claim = Claim(self, size)
        claim.resize(size)
        return claim

    def confirm(self, claim: Claim) -> None:
        """Raises `StorageFull` where the promise cannot be kept any more: others have filled the disk."""
        self._check(claim.left)

    def change(self, claim: Claim, size: int, *, spent: int = 0) -> None:
        """Let the claim be for `size` bytes from now on, and count what was written."""
        with self._lock:
            self._promised += size - claim.left
            self._spent += spent
            claim.left = size

    def _check(self, size: int) -> None:
        if size > self._free - self._spent:
            raise StorageFull("There is no room for this upload.")


class Claim:
    """What one upload was promised and has not written yet."""

    __slots__ = ("_ledger", "left", "promised")

    def __init__(self, ledger: Ledger, promised: int) -> None:
        self._ledger = ledger
        self.promised = promised
        """At first."""
        self.left = 0
        """None of it where nobody knows how long the upload will be."""

    @property
    def must_leave(self) -> int:
        """Bytes that must stay free for others when it writes on: who has no claim yields to those who have."""
        return 0 if self.left else self._ledger.promised

    def spend(self, size: int) -> None:
        """So much was written; it may be more than was claimed."""
        self._ledger.change(self, max(0, self.left - size), spent=size)

    def resize(self, size: int) -> None:
        """So much is still to come."""
        self._ledger.change(self, size)

    def release(self) -> None:
        """Nothing more is written. A second call does nothing."""
        self.resize(0)
