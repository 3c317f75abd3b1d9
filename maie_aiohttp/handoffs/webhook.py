"""A hand-off by HTTP: a CloudEvent in a signed POST (Standard Webhooks), acknowledged by any 2xx.

The receiver is not trusted. Where it is, is checked when the connection is made, after its name was looked up: a name
that leads elsewhere the next time does not get us to a private address. Redirects are not followed, nothing of the
answer's body is read, and all of it has an end.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address

from aiohttp import (
    AddrInfoType,
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from standardwebhooks import Webhook

from maie_aiohttp.addresses import is_public
from maie_aiohttp.errors import Undeliverable, Undelivered
from maie_aiohttp.handoffs.document import MEDIA_TYPE, render
from maie_aiohttp.model import Event
from maie_aiohttp.settings import Network
from maie_aiohttp.settings import Webhook as Configured

GONE = 410
"""Of Standard Webhooks: whoever answers so wants to hear no more."""


class WebhookHandoff:
    """See `interfaces.Handoff`. It is used in one event loop."""

    name = "webhook"

    def __init__(self, configured: Configured, root: str) -> None:
        """`root` is what stands before the paths of this server's uploads."""
        self._url = configured.url or ""
        self._root = root
        self._signers = [Webhook(secret) for secret in configured.secrets]
        self._doorman = _Doorman(configured.private_networks)
        self._session = ClientSession(
            connector=TCPConnector(socket_factory=self._doorman.open),
            timeout=ClientTimeout(total=configured.timeout),
            cookie_jar=DummyCookieJar(),
            headers={"Content-Type": MEDIA_TYPE, "User-Agent": "maie-aiohttp"},
            auto_decompress=False,
        )

    async def deliver(self, event: Event) -> None:
        body = render(event, self._root)
        try:
            async with self._session.post(
                self._url, data=body.encode(), headers=self._signed(event.id, body), allow_redirects=False
            ) as answer:
                status, retry_after = answer.status, answer.headers.get("Retry-After")
        except TimeoutError:
            raise Undelivered("The webhook did not answer in time.") from None
        except (ClientError, OSError, ValueError) as error:
            raise Undelivered(_explained(error)) from None
        if status == GONE:
            raise Undeliverable("The webhook answered 410: it is gone.")
        if not 200 <= status < 300:
            raise Undelivered(f"The webhook answered {status}.", retry_after=_seconds(retry_after))

    async def close(self) -> None:
        await self._session.close()

    def _signed(self, id: str, body: str) -> dict[str, str]:
        """The headers of Standard Webhooks. Each secret signs: while one is being replaced, there are two."""
        now = datetime.now(UTC)
        return {
            "webhook-id": id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signer.sign(id, now, body) for signer in self._signers),
        }


class _Doorman:
    """Opens sockets to addresses of the whole world, and to those private ones that are allowed."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed

    def open(self, to: AddrInfoType) -> socket.socket:
        """A socket for what a name was found to be, or what stood in the URL. Raises PermissionError."""
        family, kind, protocol, _, place = to
        address = ip_address(str(place[0]).partition("%")[0])
        if not is_public(address) and not any(address in network for network in self._allowed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return socket.socket(family, kind, protocol)


def _explained(error: Exception) -> str:
    if isinstance(error, ClientConnectorCertificateError | ClientConnectorSSLError):
        return "The webhook has no certificate that is trusted."
    if isinstance(error, ClientConnectorError):
        return f"The webhook cannot be reached: {_cause(error.os_error)}."
    return "The webhook broke off, or answered in something else than HTTP."


def _cause(error: OSError) -> str:
    """Without the address, which is none of the business of those who see a record."""
    if error.errno == errno.EACCES:
        return "it leads to a private address that is not allowed"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else "there is no such host"


def _seconds(retry_after: str | None) -> float | None:
    """Seconds from now; None for what is neither a number nor a date (RFC 9110, section 10.2.3)."""
    if retry_after is None:
        return None
    if re.fullmatch(r"\d{1,9}", retry_after, re.ASCII):
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
