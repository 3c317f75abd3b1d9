"""What keeps the bytes of uploads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from maie_aiohttp.limits.ledger import Claim

Chunk = bytes | bytearray

Observe = Callable[[Chunk], None]
"""Sees every byte of an upload, in order, in pieces of any size; may raise `errors.Rejected`."""

HEAD = 65_536
"""Bytes on which the verdict on the type falls: a store shows these to `Observe` without gathering more."""


class Content(Protocol):
    """The bytes of an upload that is complete but not yet accepted."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def read(self, start: int, size: int) -> bytes:
        """Those from `start` (not negative) on: `size` bytes, or fewer where the upload ends."""
        ...


Conclude = Callable[[Content], None]
"""Sees an upload once more when it is complete; may raise `errors.Rejected`."""


Advance = Callable[[int], Awaitable[None]]
"""Hears the offset up to which an upload is durable."""


Read = Callable[[int, int], AsyncGenerator[bytes, None]]
"""The bytes from one place up to another. Raises `errors.Damaged` if they end before."""


Taken = Callable[[], None]
"""Hears that bytes have been taken in."""


def nobody_waits() -> None:
    """To take them in."""


def nothing(_: Content) -> None:
    """The conclusion from bytes that are not the last."""


async def unheard(_: int) -> None:
    """Nobody waits for offsets."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is known of bytes before they come."""

    at_most: int | None = None
    """How many can come at all."""
    claim: Claim | None = None
    """The room they were promised."""
    taken: Taken = nobody_waits
    """Hears that the store holds what was pulled, and nobody else needs to."""


UNKNOWN = Ahead()


class Store(Protocol):
    """Keeps bytes, and knows nothing of HTTP, formats or states.

    Raises `errors.StorageFull` where there is no room and `errors.StorageFailed` where the medium fails. Locators are
    strings only the store understands.
    """

    async def admit(self, size: int) -> Claim:
        """Promise `size` bytes beside the reserve. Raises `errors.StorageFull` where they are not there, or promised to
        others. Whoever is given the claim gives back what is left of it."""
        ...

    async def confirm(self, claim: Claim) -> None:
        """Raises `errors.StorageFull` where the promise cannot be kept any more."""
        ...

    def promise(self, size: int) -> Claim:
        """Promise without asking, as was done in another life of this process."""
        ...

    async def probe(self) -> None:
        """Raise what an upload would meet now, if it would fail: after a failure, by trying to write."""
        ...

    def locator_of(self, id: UUID) -> str:
        """Where the bytes of this upload stand until they are published; there need not be any yet."""
        ...

    async def begin(self, locator: str) -> None:
        """Make the place for bytes that will come in several appends: a durable one, still empty."""
        ...

    async def replay(self, locator: str, stop: int, observe: Observe) -> None:
        """Show `observe` the bytes before `stop` once more, in a worker thread, and with turns for other uploads.
        Raises `errors.Damaged` if there are fewer, and what `observe` raises."""
        ...

    async def append(
        self,
        locator: str,
        offset: int,
        chunks: AsyncIterator[bytes],
        observe: Observe,
        conclude: Conclude = nothing,
        *,
        advance: Advance | None = None,
        ahead: Ahead = UNKNOWN,
    ) -> int:
        """Pull `chunks` to the end, show them to `observe` in a worker thread, and write them from `offset` on, over
        whatever stood behind it; at the end, and before anything is flushed, call `conclude` there. Returns the new
        size in bytes, which is durable. On the way, `advance` hears now and then what is durable, and is waited for;
        without it, nothing need be before the end. What is written is taken off the claim that `ahead` has. A `publish`
        that a crash or a failing catalog left behind is undone first. What `chunks`, `observe` or `conclude` raise
        passes through; of the bytes behind the last `advance` nothing is promised then."""
        ...

    async def publish(self, locator: str, id: UUID, extension: str) -> str:
        """Give durable bytes their final name, durably and without overwriting; returns the final locator. The first
        locator stays valid, as the mark of an upload that may not be in the catalog yet, until `discard`. Where this
        raises, there is no final name."""
        ...

    async def retract(self, locator: str, published: str) -> None:
        """Undo `publish`: the bytes are at `locator` only."""
        ...

    async def discard(self, locator: str) -> None:
        """Forget the unpublished bytes, or the mark; it is no error if there are none."""
        ...

    async def size(self, locator: str) -> int | None:
        """How many bytes are there; None if there is nothing, or nothing that could be read."""
        ...

    def path(self, locator: str) -> Path:
        """The bytes as a file of this machine, for the inspector."""
        ...

    def read(self, locator: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to `stop`. Raises `errors.Damaged` if they end before."""
        ...

    def opened(self, locator: str) -> AbstractAsyncContextManager[Read | None]:
        """What is there now, to be read whatever becomes of its name. None if there is nothing."""
        ...

    async def unfinished(self) -> Sequence[UUID]:
        """Uploads that `discard` has not ended: all of them, after a crash."""
        ...

    async def published(self, ids: Collection[UUID]) -> Mapping[UUID, str]:
        """The final locators of those uploads that were published."""
        ...

    def all_published(self) -> AsyncGenerator[Sequence[tuple[UUID, str]], None]:
        """Every published upload that is older than a grace period, in batches."""
        ...

    async def quarantine(self, locator: str) -> None:
        """Put aside bytes that no record speaks of; they are kept for a person to look at."""
        ...
