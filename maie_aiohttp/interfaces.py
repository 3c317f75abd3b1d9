"""The waist: what intake asks of checks, stores and catalogs, and the relay of hand-offs. Contracts stand here once;
implementations point here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

from maie_aiohttp.credentials import Key, Token
from maie_aiohttp.limits.ledger import Claim
from maie_aiohttp.limits.quota import Need, Quota, Usage
from maie_aiohttp.model import (
    ANY_FACTS,
    NO_CHARGE,
    Backlog,
    Charge,
    Event,
    Facts,
    Handed,
    KeyUse,
    Letter,
    Metadata,
    Outline,
    Place,
    Position,
    Settled,
    Sought,
    Status,
    Upload,
)

Chunk = bytes | bytearray

Observe = Callable[[Chunk], None]
"""Sees every byte of an upload, in order, in pieces of any size; may raise `errors.Rejected`."""

HEAD = 65_536
"""Bytes on which the verdict on the type falls: a store shows these to `Observe` without gathering more."""


Begin = Callable[[], Awaitable[None]]
"""Hears that a scan begins."""


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


class Scanner(Protocol):
    """Looks through finished files for malware. Raises `errors.Busy` while it cannot."""

    @property
    def has_a_say(self) -> bool:
        """Whether files wait for its verdict, or nobody looks."""
        ...

    async def admit(self) -> None:
        """Raise what an upload would meet, if the last one met it and it is still so."""
        ...

    async def probe(self) -> None:
        """Raise what an upload would meet now."""
        ...

    async def scan(self, chunks: AsyncGenerator[bytes, None], begin: Begin) -> None:
        """Look through a file, and let `begin` know before that. Raises `errors.Infected`; `errors.TooLarge` if it is
        more than the scanner looks through; `errors.Draining` when the scanner stops; and what `chunks` and `begin`
        raise."""
        ...

    async def stop(self) -> None:
        """End all scans, and begin no more."""
        ...


class Handoff(Protocol):
    """Tells one target of events. An event may come again that was delivered already, with the same id; those of one
    upload come in their order, and those of several at once."""

    @property
    def name(self) -> str:
        """By which settings, records and the log know the target."""
        ...

    async def deliver(self, event: Event) -> None:
        """Returns when the target has acknowledged the event: it is not told of it again. Ends within a time of its
        own; whoever cancels it does not know whether the target has the event. Raises `errors.Undelivered` where the
        target may take it later, and `errors.Undeliverable` where it never will. Anything else that it raises is a bug,
        and counts as `Undelivered`."""
        ...

    async def close(self) -> None:
        """End the connections. Nothing is being delivered any more."""
        ...


class Pipeline(Protocol):
    """Makes something of stored recordings, and is asked for it by clients. Where there is none, everything raises
    `errors.NotConfigured`."""

    async def admit(self) -> None:
        """Raises `errors.QueueFull` while more waits for it than is to wait."""
        ...

    def check(self, wishes: Metadata) -> None:
        """Raises `errors.InvalidTask` for what cannot become a task, whatever else is still said."""
        ...

    def accept(self, wishes: Metadata) -> None:
        """Raises `errors.InvalidTask` for what is no task."""
        ...

    async def outcome(self, upload: Upload) -> Mapping[str, object]:
        """What has become of the task of a stored upload so far, in the words of the pipeline. Raises `errors.NotFound`
        if that is forgotten, and `errors.Busy` while nobody can tell."""
        ...
