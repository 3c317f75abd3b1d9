"""Gathering of one upload's chunks into blocks, which are written while the next one gathers."""

from __future__ import annotations

from typing import Self

from maie_aiohttp.interfaces import HEAD, Chunk
from maie_aiohttp.stores.blocks import BlockBudget
from maie_aiohttp.stores.writer import Writer

SMALL = 256 * 1024
"""Bytes; an upload known to be no larger is written in one hop, verdict included."""


class Gatherer:
    """One upload's block: filled here, then passed on to the `writer`."""

    def __init__(self, budget: BlockBudget, writer: Writer, *, at_most: int | None) -> None:
        self._budget = budget
        self._writer = writer
        self._block: Chunk = b""
        small = min(SMALL, budget.block_size)
        self._goal = at_most + 1 if at_most is not None and at_most <= small else HEAD
        self._first = True
        self._placed = False
        self._old = False
        self._seen = 0
        """How large the block was when it was last looked whether it grows."""

    async def __aenter__(self) -> Self:
        self._budget.enter(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._budget.leave(self)
        if self._placed:
            self._budget.give_place()

    async def add(self, chunk: bytes) -> None:
        """Take a chunk. Raises what writing the blocks before it raised, also to clients too slow to fill one."""
        self._writer.check()
        if not self._placed and len(self._block) + len(chunk) > self._budget.crumb:
            await self._take_place(len(chunk))
        self._block = _joined(self._block, chunk)

    async def make_room(self) -> None:
        """Have a block that is full written, and wait for a place for the next one. Nobody should have a chunk in their
        hands meanwhile. Raises what writing raised."""
        if len(self._block) < self._goal:
            return
        await self._writer.room()
        if self._first:
            await self._write_head()
        else:
            self._pass_on()
        self._goal = self._budget.block_size
        if not self._placed:
            await self._take_place()

    async def _write_head(self) -> None:
        """Have the first block seen by the checks before there is more; its place is kept for the next one."""
        self._first = False
        head, self._block, self._seen = self._block, b"", -1
        self._writer.put(head, _nothing)
        await self._writer.written()

    async def rest(self) -> Chunk:
        """The end of the upload: what is left to write, once everything before it is written. The place for it is kept
        until it is, too."""
        await self._writer.written()
        self._budget.leave(self)
        rest, self._block = self._block, b""
        return rest

    def write_if_old(self) -> None:
        """Begin to write a block that was begun before the last call and is not full yet."""
        if self._old and self._writer.keeps_up:
            self._pass_on()
        self._old = self._placed or bool(self._block)

    def write_if_still(self) -> None:
        """Begin to write a block that has not grown since the last call, or give back the place for it."""
        if self._seen == len(self._block) and self._writer.keeps_up:
            self._pass_on()
        self._seen = len(self._block)

    async def _take_place(self, in_hand: int = 0) -> None:
        await self._budget.take_place(self, in_hand)
        self._placed = True
        self._seen = -1

    def _pass_on(self) -> None:
        self._budget.filled(self)
        release = self._budget.give_place if self._placed else _nothing
        if self._block:
            self._writer.put(self._block, release)
        else:
            release()
        self._block, self._placed, self._old = b"", False, False


def _joined(block: Chunk, chunk: bytes) -> Chunk:
    """A large upload's chunks fill a block each, and need not be copied."""
    if not block:
        return chunk
    if isinstance(block, bytes):
        block = bytearray(block)
    block += chunk
    return block


def _nothing() -> None:
    """A crumb has no place to give back."""
