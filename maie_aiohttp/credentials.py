"""API keys, what they allow, and whoever asks with one or without."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from maie_aiohttp.limits.quota import UNLIMITED, Quota

PREFIX = "maie_"
"""What every key begins with, so that people and secret scanners know one when they see it."""

TOKEN_PREFIX = "maieup_"  # noqa: S105 - every token begins so
"""The same of upload tokens."""

NAME = re.compile(rf"(?!{PREFIX}|{TOKEN_PREFIX})[\w.@+-]{{1,64}}", re.ASCII)
"""Of a key or an owner. No key is one, should somebody take them for each other."""


class Scope(StrEnum):
    """What a key allows. `admin` is all of it, on the uploads of all owners."""

    UPLOAD = "upload"
    READ = "read"
    DELETE = "delete"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of an API key: everything but the key."""

    name: str
    digest: str
    """SHA-256 of the key, hexadecimal. A key has 256 random bits: nobody finds them by trying, so nothing has to make
    trying slow."""
    owner: str
    """Whose uploads are within its reach. Several keys may have one owner."""
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    quota: Quota | None = None
    """In place of the server's, for what comes with this key."""

    def is_valid(self, moment: datetime) -> bool:
        """Whether it opens anything at that moment."""
        return self.revoked_at is None and (self.expires_at is None or moment < self.expires_at)


@dataclass(frozen=True, slots=True)
class Token:
    """Lets somebody without a key send one upload."""

    id: UUID
    key: str | None
    """The name of the key with which it was made, and without which it opens nothing; None if it was made without."""
    owner: str | None
    """Of the upload."""
    max_size: int | None
    """Bytes; None for what the server accepts."""
    expires_at: datetime
    """Until then the upload can begin. What has begun may go on."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what that allows."""

    key: str | None
    """The name of the key; None without one."""
    owner: str | None
    scopes: frozenset[Scope]
    quota: Quota = UNLIMITED
    """What the owner may use, by all of their keys together, for this one to be taken."""
    token: Token | None = None
    """With which they come instead of a key."""

    @property
    def token_id(self) -> UUID | None:
        """Of that token."""
        return None if self.token is None else self.token.id

    @property
    def max_size(self) -> int | None:
        """Bytes of an upload; None for what the server accepts."""
        return None if self.token is None else self.token.max_size

    def may(self, scope: Scope) -> bool:
        """Whether it is among what is allowed."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def reach(self) -> str | None:
        """The owner whose uploads these are all that there are for this caller; None for those of all."""
        return None if Scope.ADMIN in self.scopes else self.owner

    def sees(self, owner: str | None) -> bool:
        """Whether there are, for this caller, uploads of that owner."""
        return Scope.ADMIN in self.scopes or owner == self.owner


WITHOUT_KEY = Caller(None, None, frozenset({Scope.ADMIN}))
"""Where no key is needed, everything is allowed."""


def new_secret() -> str:
    """A key as its owner gets it."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """What is kept of a key. Text that is no key has one as well."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
