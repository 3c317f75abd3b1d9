"""Upload tokens as text: signed, so that nothing has to be looked up to know that they are genuine."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from itsdangerous import BadData, URLSafeSerializer

from maie_aiohttp.credentials import TOKEN_PREFIX, Token
from maie_aiohttp.errors import StorageFailed

SECRET_SIZE = 32
"""Bytes."""


class Signer:
    """Signs with a secret (HMAC-SHA-256), and knows again what it signed."""

    def __init__(self, secret: bytes) -> None:
        kind = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
        self._serializer = URLSafeSerializer(secret, salt="upload token", signer_kwargs=kind)

    def sign(self, token: Token) -> str:
        """As whoever uploads gets it."""
        fields = {
            "id": token.id.hex,
            "key": token.key,
            "owner": token.owner,
            "max_size": token.max_size,
            "expires_at": int(token.expires_at.timestamp()),
        }
        return TOKEN_PREFIX + str(self._serializer.dumps(fields))

    def read(self, text: str) -> Token | None:
        """None if it was not signed with this secret. Whether its time is over is for others to ask."""
        if not text.isascii():
            return None
        try:
            return _token(self._serializer.loads(text.removeprefix(TOKEN_PREFIX)))
        except (BadData, KeyError, TypeError, ValueError):  # perhaps another version signed it
            return None


def secret_in(file: Path) -> bytes:
    """What the file holds. It is made if it is missing, for the eyes of its owner only; of several processes that do so
    at once, all get the same. Raises `StorageFailed`."""
    try:
        if not file.exists():
            _make(file)
        secret = _read(file)
    except OSError as error:
        raise StorageFailed(f"{file}: {error.strerror}.") from error
    if len(secret) < SECRET_SIZE:
        raise StorageFailed(f"{file} is damaged. Without it a new one is made, and tokens of before do not count.")
    return secret


def _make(file: Path) -> None:
    new = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(secrets.token_bytes(SECRET_SIZE))
            opened.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            file.hardlink_to(new)
    finally:
        new.unlink()


def _read(file: Path) -> bytes:
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as opened:
        return opened.read()


def _token(fields: Mapping[str, Any]) -> Token:
    return Token(
        id=UUID(hex=fields["id"]),
        key=fields["key"],
        owner=fields["owner"],
        max_size=fields["max_size"],
        expires_at=datetime.fromtimestamp(fields["expires_at"], UTC),
    )
