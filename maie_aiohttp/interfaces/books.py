"""What the catalog keeps beside uploads: keys, quotas, tokens, hand-offs, facts and outlines."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from maie_aiohttp.credentials import Key, Token
from maie_aiohttp.limits.quota import Need, Quota, Usage
from maie_aiohttp.model import (
    Backlog,
    Facts,
    Handed,
    Letter,
    Outline,
    Place,
    Upload,
)


class Keyring(Protocol):
    """Keeps the API keys. Raises what a catalog raises."""

    async def version(self) -> object:
        """Equal to an earlier one only if no key was added or revoked since. Costs next to nothing."""
        ...

    async def all(self) -> Sequence[Key]:
        """Every key that was ever made, the oldest first."""
        ...

    async def add(self, key: Key) -> bool:
        """Keep a new key. Returns whether that was done: no name is ever used twice."""
        ...

    async def revoke(self, name: str, moment: datetime) -> bool:
        """Let a key open nothing any more. Returns whether there was such a key, not yet revoked."""
        ...


class QuotaBook(Protocol):
    """Keeps what owners use of their quotas; None is whoever has no key. Raises what a catalog raises."""

    async def reserve(self, id: UUID, owner: str | None, quota: Quota, need: Need, moment: datetime) -> int | None:
        """Take one file, and bytes from what is left at that moment: the most, or all there are. Returns how many; None
        if not even the least is there. Of any number that try at once, in any number of processes, all together get no
        more than the quota."""
        ...

    async def add_file(self, id: UUID, owner: str | None, quota: Quota, moment: datetime) -> bool:
        """Take another file under the same id. Returns whether one was left."""
        ...

    async def give_back(self, ids: Collection[UUID]) -> None:
        """Reserve nothing any more under these ids, unless there are records of uploads with them."""
        ...

    async def unrecorded(self) -> Sequence[UUID]:
        """Ids under which something is reserved, without a record of an upload."""
        ...

    async def usage(self, owner: str | None, since: datetime) -> Usage:
        """What is reserved, and what was used since then."""
        ...

    async def forget(self, before: datetime) -> None:
        """Forget what was used before that moment."""
        ...


class TokenBook(Protocol):
    """Keeps which upload tokens were used. Raises what a catalog raises."""

    async def take(self, token: Token, holder: UUID) -> UUID:
        """Let the token be the holder's, if it is nobody's. Returns whose it is. Of any number that try at once, in any
        number of processes, one is the first."""
        ...

    async def take_over(self, token: Token, holder: UUID, before: UUID) -> bool:
        """The same if it was that one's before. Returns whether that is so: not if something was stored with it, or if
        the one before is an upload that may go on."""
        ...

    async def forget(self, before: datetime) -> None:
        """Forget tokens that expired before that moment."""
        ...


class Outbox(Protocol):
    """Keeps what others are to be told, and what became of that. Raises what a catalog raises."""

    async def fresh(self, target: str, limit: int) -> Sequence[Letter]:
        """Up to `limit` letters that were never filed, the oldest first."""
        ...

    async def waiting(self, target: str, limit: int, *, besides: Collection[UUID] = ()) -> Sequence[Letter]:
        """Up to `limit` letters that were filed and are to be delivered, the first due first; none about the uploads
        `besides`."""
        ...

    async def file(self, letters: Sequence[Letter]) -> None:
        """Remember how these letters stand; those whose upload is gone are passed over. With a fresh one, all older
        ones to the same target have to be filed, or have been."""
        ...

    async def replay(self, moment: datetime, *, id: UUID | None = None, dead: bool = False) -> int:
        """Let filed letters be due at that moment, as if they had never been tried: those about one upload, or only the
        dead ones, or both. Returns how many."""
        ...

    async def of(self, id: UUID) -> Sequence[Letter]:
        """All letters about an upload that were filed, by target."""
        ...

    async def list(self, limit: int, *, status: Handed | None = None, after: Place | None = None) -> Sequence[Letter]:
        """Up to `limit` letters that were filed, the newest first, behind `after`."""
        ...

    async def backlog(self, target: str) -> Backlog:
        """What the target does not know yet, filed or not."""
        ...


class FactsBook(Protocol):
    """Keeps what recordings are. Raises what a catalog raises."""

    async def pending(self, limit: int) -> Sequence[Upload]:
        """At most `limit` stored uploads whose facts are still to be found, those first that wait for the longest."""
        ...

    async def record(self, facts: Mapping[UUID, Facts]) -> Collection[UUID]:
        """Of these uploads nobody need find any more. Returns those of them that are still there."""
        ...

    async def forgo(self) -> None:
        """Let none wait for facts any more."""
        ...


class Waveforms(Protocol):
    """Keeps the outlines of recordings, as long as their records. Raises what a catalog raises."""

    async def find(self, id: UUID) -> tuple[Outline | None, ...]:
        """Nothing if it was never drawn, else what came of that: None where it cannot be."""
        ...

    async def keep(self, id: UUID, outline: Outline | None) -> None:
        """Of an upload that is still there; what was kept first stays."""
        ...
