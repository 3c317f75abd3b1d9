"""Uploads, and what goes with them: frozen values, and the states as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from maie_aiohttp.model.facts import Facts

Metadata = Mapping[str, str | tuple[str, ...]]
"""Text the client sent along; a tuple only where one name was sent more than once."""


class Status(StrEnum):
    """Where an upload stands. The values are part of the HTTP interface."""

    RECEIVING = "receiving"
    SCANNING = "scanning"
    STORED = "stored"
    REJECTED = "rejected"
    EXPIRED = "expired"
    DAMAGED = "damaged"


TRANSITIONS: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        Status.RECEIVING: frozenset({Status.SCANNING, Status.STORED, Status.REJECTED, Status.EXPIRED}),
        Status.SCANNING: frozenset({Status.RECEIVING, Status.STORED, Status.REJECTED, Status.EXPIRED}),
        Status.STORED: frozenset({Status.DAMAGED}),
        Status.REJECTED: frozenset(),
        Status.EXPIRED: frozenset(),
        Status.DAMAGED: frozenset({Status.STORED}),
    }
)
"""What each state may become. A form or raw upload enters the catalog as `stored`: its bytes came in one request,
so nobody could have asked about it before. A resumable one enters as `receiving`."""


UNDECIDED = frozenset({Status.RECEIVING, Status.SCANNING})
"""In which a resumable upload may still be continued, settled, refused, or given up."""


def sources(status: Status) -> frozenset[Status]:
    """The states from which an upload may become `status`."""
    return frozenset(source for source, targets in TRANSITIONS.items() if status in targets)


@dataclass(frozen=True, slots=True)
class Declared:
    """What a client says of a file before sending it. None of it is believed: names are for display, types and
    digests are checked, sizes are limits."""

    filename: str | None = None
    media_type: str | None = None
    at_most: int | None = None
    """Bytes; no more can come, because the request is not longer, or because a resumable upload is to have so many.
    None when the length is not known."""
    digests: Mapping[str, bytes] = field(default_factory=dict)
    """By `hashlib` name: what the whole file must hash to (RFC 9530)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed with the client of a resumable upload when it began."""

    media_type: str | None = None
    """As declared."""
    digests: Mapping[str, bytes] = field(default_factory=dict)
    """By `hashlib` name: what the whole file must hash to."""
    echo: Mapping[str, str] = field(default_factory=dict)
    """Header fields of the creation that its protocol wants back byte for byte."""
    partial: bool = False
    """Whether it is a piece for a later concatenation, and never a recording of its own."""
    final: bool = False
    """Whether it is made of such pieces, and takes no bytes from a client."""
    reserved: int | None = None
    """Bytes of its owner's quota; None where there was none."""
    token: UUID | None = None
    """With which it began, if it was one."""
    max_size: int | None = None
    """Bytes that the token allows; None for what the server accepts."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of a recording once it cannot be lost."""

    size: int
    """Bytes."""
    media_type: str
    format: str
    sha256: str
    """Hexadecimal."""
    locator: str
    """Where the store keeps the bytes; a name only the store understands."""
    at: datetime
    facts_pending: bool = False
    """Whether its facts are still to be found; until then, it is not handed off."""
    facts: Facts | None = None
    """None also where nobody looks for any."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What the uploads of one request use up when they are stored."""

    reservation: UUID | None = None
    """Of a quota."""
    token: UUID | None = None


NO_CHARGE = Charge()


@dataclass(frozen=True, slots=True)
class Upload:
    """One row of the catalog."""

    id: UUID
    status: Status
    filename: str | None
    size: int | None
    """Bytes; None while nobody has said how long the upload will be."""
    offset: int
    """Bytes known to be durable."""
    created_at: datetime
    metadata: Metadata
    stored: Stored | None = None
    """From the moment it is stored."""
    terms: Terms | None = None
    """Of a resumable upload."""
    expires_at: datetime | None = None
    """When this state ends by itself: an upload nobody continues expires, a refusal is forgotten."""
    reason: str | None = None
    """Why it was refused."""
    owner: str | None = None
    """Within whose reach it is; None for what came without an API key."""
    duplicate_of: UUID | None = None
    """The first stored upload of the owner that had the same bytes, and had not lost them, when this one was stored."""

    @property
    def reserved(self) -> int | None:
        """Bytes of its owner's quota; None where there was none."""
        return None if self.terms is None else self.terms.reserved

    @property
    def token(self) -> UUID | None:
        """With which it began, if it was one."""
        return None if self.terms is None else self.terms.token

    @property
    def charge(self) -> Charge:
        """What it uses up when it is stored."""
        return Charge(None if self.reserved is None else self.id, self.token)

    def limited(self, max_size: int) -> int:
        """Bytes it may have, where the server accepts so many."""
        own = None if self.terms is None else self.terms.max_size
        return max_size if own is None else min(own, max_size)

    @property
    def is_partial(self) -> bool:
        """Whether it is a piece for a later concatenation."""
        return self.terms is not None and self.terms.partial

    @property
    def is_final(self) -> bool:
        """Whether it is made of partial uploads."""
        return self.terms is not None and self.terms.final

    @property
    def is_whole(self) -> bool:
        """Whether it takes no more bytes: it is stored, or a piece that has its length."""
        return self.stored is not None or (self.is_partial and self.offset == self.size)


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What an idempotency key was used for, and what came of it."""

    key: str
    fingerprint: str
    """Hexadecimal; differs where the request does."""
    uploads: tuple[UUID, ...]
    """In the order of the request's files."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of uploads that were to be recorded."""

    uploads: Sequence[Upload] = ()
    """As they are recorded; or, for those that are not, others that stand for them."""
    earlier: KeyUse | None = None
    """What others have used the key for: then nothing is recorded."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the list of uploads, newest first: just behind the upload with these two values."""

    created_at: datetime
    id: UUID
