"""One append, as worker threads see it: blocks are written, taken off the promise of room, and passed on to the disk
before there are too many of them."""

from __future__ import annotations

from collections.abc import Callable

from maie_aiohttp.interfaces import Chunk
from maie_aiohttp.limits.ledger import Claim
from maie_aiohttp.stores.part import PartFile

PASS_ON_EVERY = 8 * 1024 * 1024
"""Bytes after which the disk is given what was written, so that little is left to do before the answer; and the free
space is looked at, for uploads that did not say how long they would be."""

PASS_ON_AFTER = 10.0
"""Seconds after which bytes that come slowly are passed on all the same, where somebody wants to hear of it: at
16 kB/s, 8 MiB would take nine minutes."""


class Append:
    """`write` and `finish` raise OSError, and what the checks raise; `write` also what `leave_free` does where so many
    bytes are not free."""

    def __init__(
        self, part: PartFile, claim: Claim, *, full_block: int, is_heard: bool, leave_free: Callable[[int], None]
    ) -> None:
        """`full_block` bytes come at once where they come fast. With `is_heard`, somebody wants to hear what is
        durable."""
        self._part = part
        self._claim = claim
        self._full_block = full_block
        self._is_heard = is_heard
        self._leave_free = leave_free

    def write(self, block: Chunk) -> int | None:
        """Write it. Returns the size in bytes where it has been made durable for somebody who wants to hear of it."""
        must_leave = self._claim.must_leave
        self._part.write(block)
        self._claim.spend(len(block))
        return self._pass_on(must_leave) if self._is_due(block) else None

    def finish(self, block: Chunk) -> int:
        """Write the last one, and make everything durable. Returns the size in bytes."""
        size = self._part.finish(block)
        self._claim.spend(len(block))
        return size

    def _is_due(self, block: Chunk) -> bool:
        comes_slowly = self._is_heard and len(block) < self._full_block
        return self._part.pending >= PASS_ON_EVERY or (comes_slowly and self._part.pending_for >= PASS_ON_AFTER)

    def _pass_on(self, must_leave: int) -> int | None:
        self._leave_free(must_leave)
        if self._is_heard:
            return self._part.sync()
        self._part.begin_sync()
        return None
