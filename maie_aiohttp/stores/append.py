"""One append, as worker threads see it: blocks are written, taken off the promise of room, and made durable before
there are too many of them."""

from __future__ import annotations

from collections.abc import Callable

from maie_aiohttp.interfaces import Chunk
from maie_aiohttp.limits.ledger import Claim
from maie_aiohttp.stores.part import PartFile

PASS_ON_EVERY = 5 * 1024 * 1024
"""Bytes after which the disk is given what was written, so that little is left to do before the answer; and the free
space is looked at, for uploads that did not say how long they would be. A crash costs twice as many and what is under
way."""

PASS_ON_AFTER = 10.0
"""Seconds after which bytes that come slowly are passed on all the same, where somebody wants to hear of it: at
16 kB/s, 5 MiB would take more than five minutes."""


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

    def write(self, block: Chunk) -> bool:
        """Write it. Returns whether it is time for `flush`, for somebody who wants to hear of it."""
        must_leave = self._claim.must_leave
        self._part.write(block)
        self._claim.spend(len(block))
        is_due = self._is_due(block)
        if is_due:
            self._leave_free(must_leave)
            self._part.begin_sync()
        return is_due and self._is_heard

    def flush(self) -> int:
        """Make durable what is written; blocks may be written meanwhile. Returns the size in bytes. Raises OSError."""
        return self._part.sync()

    def finish(self, block: Chunk) -> int:
        """Write the last one, and make everything durable. Returns the size in bytes."""
        size = self._part.finish(block)
        self._claim.spend(len(block))
        return size

    def _is_due(self, block: Chunk) -> bool:
        comes_slowly = self._is_heard and len(block) < self._full_block
        return self._part.pending >= PASS_ON_EVERY or (comes_slowly and self._part.pending_for >= PASS_ON_AFTER)
