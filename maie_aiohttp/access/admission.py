"""Who may come in: decided in memory, from a copy of the keys that is never older than a moment."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import NoReturn
from uuid import uuid4

import structlog

from maie_aiohttp.access.signing import Signer
from maie_aiohttp.addresses import is_loopback, web_host
from maie_aiohttp.credentials import WITHOUT_KEY, Caller, Key, Scope, Token, digest_of
from maie_aiohttp.interfaces import Keyring
from maie_aiohttp.limits.quota import UNLIMITED, Quota
from maie_aiohttp.settings import ConfigurationError, Server, WithoutKeys

REFRESH = 0.5
"""Seconds between two looks at the keys: so much later a new one opens, and one that is revoked does not."""

TOKEN_SCOPES = frozenset({Scope.UPLOAD, Scope.DELETE})
"""Of who has an upload token; only on the upload that began with it."""

log = structlog.get_logger()


class Access:
    """The keys, and what goes on for those who came in."""

    def __init__(self, keyring: Keyring, signer: Signer, without_keys: WithoutKeys, quota: Quota = UNLIMITED) -> None:
        """`quota` is for those who have none of their own."""
        self._keyring = keyring
        self._signer = signer
        self._without_keys = without_keys
        self._quota = quota
        self._nobody = replace(WITHOUT_KEY, quota=quota)
        self._keys: Mapping[str, Key] = {}
        """By digest."""
        self._version: object = None
        self._streams: set[tuple[Caller, Callable[[], None]]] = set()

    def check(self, server: Server) -> None:
        """Raises `ConfigurationError` where others than this machine's users could come in without a key."""
        if self._keys or self._without_keys != "loopback" or not _is_exposed(server):
            return
        raise ConfigurationError(
            "access.without_keys: there is no API key yet, and others than this machine can reach the server (by "
            "server.host, server.unix_socket, server.public_url or server.trusted_proxies). Make a key: python -m "
            "maie_aiohttp keys create NAME --scope admin. Or write here who may come in until there is one: "
            '"anybody" or "nobody".'
        )

    async def refresh(self) -> None:
        """Read the keys again if they have changed, and end what goes on for those who may not come in any more. Raises
        what the keyring raises."""
        version = await self._keyring.version()
        if version != self._version:
            self._keys = {key.digest: key for key in await self._keyring.all()}
            self._version = version
        if self._streams:
            self._end_streams()

    async def keep_current(self) -> NoReturn:
        """Do so again and again. While the keys cannot be read, those known before go on to count."""
        readable = True
        while True:
            await asyncio.sleep(REFRESH)
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not be the last look
                if readable:
                    log.warning("keys not read", reason=str(error))
                readable = False
            else:
                readable = True

    def with_key(self, secret: str) -> Caller | None:
        """Whoever has this key; None if it is none, or none any more. It is found by its digest, of which nobody can
        choose a single bit, so the time of the search tells nothing."""
        digest = digest_of(secret)
        key = self._keys.get(digest)
        if key is None or not hmac.compare_digest(key.digest, digest) or not key.is_valid(datetime.now(UTC)):
            return None
        return Caller(key.name, key.owner, key.scopes, key.quota or self._quota)

    def with_token(self, text: str) -> Caller | None:
        """Whoever has this upload token, also when its time is over; None if it is none, or if its key opens nothing
        any more."""
        token = self._signer.read(text)
        if token is None:
            return None
        if token.key is None:
            is_outdated = token.owner is None and self._keys  # it was made when nobody needed a key
            return None if is_outdated else Caller(None, token.owner, TOKEN_SCOPES, self._quota, token)
        key = next((key for key in self._keys.values() if key.name == token.key), None)
        if key is None or not key.is_valid(datetime.now(UTC)):
            return None
        return Caller(key.name, token.owner, TOKEN_SCOPES, key.quota or self._quota, token)

    def token_for(self, caller: Caller, max_size: int | None, expires_at: datetime) -> str:
        """A new upload token, which lets its holder send one upload for the caller."""
        return self._signer.sign(Token(uuid4(), caller.key, caller.owner, max_size, expires_at))

    def without_key(self, *, is_local: bool) -> Caller | None:
        """Whoever has none; None if they must not come in."""
        if self._keys or self._without_keys == "nobody":
            return None
        return self._nobody if is_local or self._without_keys == "anybody" else None

    @contextmanager
    def stream(self, caller: Caller, end: Callable[[], None]) -> Iterator[None]:
        """Something that goes on until `end` is called, which happens when the caller may not come in any more."""
        entry = caller, end
        self._streams.add(entry)
        try:
            yield
        finally:
            self._streams.discard(entry)

    def _end_streams(self) -> None:
        """Those of callers whose key is not valid any more, or who have none where there are keys now."""
        now = datetime.now(UTC)
        welcome = {key.name for key in self._keys.values() if key.is_valid(now)} if self._keys else {None}
        for caller, end in tuple(self._streams):
            if caller.key not in welcome:
                end()


def _is_exposed(server: Server) -> bool:
    """Whether it is meant to be reached from elsewhere. A proxy on this machine makes everybody look like a user of
    it, and a Unix socket is there for one."""
    if server.unix_socket is not None:
        return True
    public = server.public_url is not None and not is_loopback(web_host(server.public_url))
    return not is_loopback(server.host) or public or bool(server.trusted_proxies)
