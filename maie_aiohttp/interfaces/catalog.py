"""What keeps one record an upload."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from maie_aiohttp.interfaces.books import FactsBook, Keyring, Outbox, QuotaBook, TokenBook, Waveforms
from maie_aiohttp.model import (
    ANY_FACTS,
    NO_CHARGE,
    Charge,
    KeyUse,
    Position,
    Settled,
    Sought,
    Status,
    Upload,
)


class Catalog(Protocol):
    """Keeps one record an upload. What it acknowledges survives a power cut.

    Raises `errors.StorageFull`, `errors.Busy` and `errors.StorageFailed`; after the first two, nothing was written.
    """

    @property
    def keyring(self) -> Keyring:
        """The API keys, which stand in the same place."""
        ...

    @property
    def quotas(self) -> QuotaBook:
        """What owners use of their quotas, which stands there too."""
        ...

    @property
    def tokens(self) -> TokenBook:
        """Which upload tokens were used."""
        ...

    @property
    def outbox(self) -> Outbox:
        """What others are to be told of stored uploads; it stands in the same place, too."""
        ...

    @property
    def facts(self) -> FactsBook:
        """What recordings are."""
        ...

    @property
    def waveforms(self) -> Waveforms:
        """Their outlines."""
        ...

    async def probe(self) -> None:
        """Raise what a record would meet now, if it would fail: after a failure, by trying to write."""
        ...

    async def verify(self) -> None:
        """Look at all of it. Raises `errors.StorageFailed` where it contradicts itself; `probe` does so from then
        on."""
        ...

    async def create(self, upload: Upload) -> None:
        """Record an upload that is still receiving."""
        ...

    async def advance(self, upload: Upload) -> None:
        """Record how far an upload came that is still receiving: offset, size and expiry."""
        ...

    async def settle(
        self,
        uploads: Sequence[Upload],
        use: KeyUse | None = None,
        charge: Charge = NO_CHARGE,
        stand_ins: Mapping[UUID, Upload] = ...,
    ) -> Settled:
        """Record stored uploads of one owner, one outbox entry for each, the use of a key, what they used of a quota in
        place of the reservation for it, and that their token is used up: all of it, or nothing. Those with terms have a
        record already, which this one replaces. Each is recorded with the first stored upload of its owner that has the
        same bytes; where that is one of `stand_ins`, it stands for it, and nothing is recorded. If others have used the
        key, nothing is recorded: of any number of requests with one key, in any number of processes, one is recorded.
        Raises `errors.NotFound` if an upload with terms was given up."""
        ...

    async def firsts(self, uploads: Sequence[Upload]) -> Mapping[UUID, Upload]:
        """For those that have one: the first stored upload of the same owner with the same bytes."""
        ...

    async def forget_keys(self, before: datetime, limit: int) -> int:
        """Forget at most `limit` keys that were used before a moment. Returns how many there were."""
        ...

    async def get(self, id: UUID) -> Upload:
        """Raises `errors.NotFound`."""
        ...

    async def list(
        self,
        limit: int,
        *,
        status: Status | None,
        after: Position | None,
        owner: str | None = None,
        sha256: str | None = None,
        sought: Sought = ANY_FACTS,
    ) -> Sequence[Upload]:
        """At most `limit` uploads, of that owner or of all, with those bytes or any, with these facts, newest first,
        behind `after`; partial ones are left out."""
        ...

    async def receiving(self, limit: int, *, after: Position | None) -> Sequence[Upload]:
        """At most `limit` uploads that are receiving, partial ones too, newest first, behind `after`."""
        ...

    async def overdue(self, moment: datetime, limit: int) -> Sequence[Upload]:
        """Up to `limit` uploads that were to expire by `moment`, the oldest first."""
        ...

    async def find(self, ids: Collection[UUID]) -> Mapping[UUID, Upload]:
        """Those of `ids` that have a record."""
        ...

    async def known(self, ids: Collection[UUID]) -> frozenset[UUID]:
        """Those of `ids` that are recorded as stored, damaged ones included."""
        ...

    async def move(
        self, id: UUID, status: Status, *, reason: str | None = None, expires_at: datetime | None = None
    ) -> None:
        """Change the status, and what goes with it, if `model.TRANSITIONS` allows it from where it stands; otherwise
        leave it. What comes to an end has nothing reserved any more."""
        ...

    async def remove(self, id: UUID) -> None:
        """Forget the upload, its outbox entry, and what is reserved for it. Raises `errors.NotFound`."""
        ...
