"""TLS, where no proxy does it: the certificate, and its exchange while connections go on."""

from __future__ import annotations

import asyncio
import signal
import ssl
from asyncio import sslproto
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import structlog

from maie_aiohttp.settings import ConfigurationError, Server
from maie_aiohttp.web.connection import RECEIVE_SIZE

NOTICE = timedelta(days=14)
"""How long before its end a certificate is warned of; one with less than 70 days in all, in its last fifth. Programs
that renew have done it by then: certbot does in the last third."""

DAY = 86_400.0
"""Seconds between two warnings."""

log = structlog.get_logger()


class Unusable(Exception):
    """Certificate and key cannot be used. Says why, beginning with the name of the setting."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A certificate with its key."""

    context: ssl.SSLContext
    begins: datetime
    ends: datetime


class Certificate:
    """What the server proves itself with."""

    def __init__(self, file: Path, key: Path | None) -> None:
        """Read it; `key` is in the same file, if there is none. Raises `Unusable`."""
        self._file, self._key = file, key
        self._loaded = _load(file, key)
        self.context = _context()
        """What to listen with. Each connection gets, as it begins, the certificate of that moment."""
        self.context.sni_callback = self._present

    def renew(self) -> None:
        """Take the one that is there now, for connections to come. Raises `Unusable`, and goes on with the old one."""
        self._loaded = _load(self._file, self._key)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Meanwhile, exchange it on SIGHUP, and tell every day if it is about to end."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._exchange)
        telling = asyncio.create_task(self._tell_daily())
        try:
            yield
        finally:
            telling.cancel()

    def _present(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._loaded.context

    def _exchange(self) -> None:
        try:
            self.renew()
        except Unusable as error:
            log.error("certificate not renewed", reason=str(error))  # noqa: TRY400 - says it all
        else:
            log.info("certificate renewed", ends=self._loaded.ends.isoformat())
        self._tell()

    async def _tell_daily(self) -> NoReturn:
        while True:
            self._tell()
            await asyncio.sleep(DAY)

    def _tell(self) -> None:
        loaded, now = self._loaded, datetime.now(UTC)
        if loaded.ends <= now:
            log.error("certificate has ended", ended=loaded.ends.isoformat())
        elif now < loaded.begins:
            log.error("certificate is not valid yet", begins=loaded.begins.isoformat())
        elif loaded.ends - now < min(NOTICE, (loaded.ends - loaded.begins) / 5):
            log.warning("certificate ends soon", ends=loaded.ends.isoformat())


def configured(server: Server) -> Certificate | None:
    """None where the server does not speak TLS. Raises `ConfigurationError`."""
    if server.tls_certificate is None:
        return None
    sslproto.SSLProtocol.max_size = RECEIVE_SIZE  # of its buffer, one a connection, which it hands on as a whole
    try:
        return Certificate(server.tls_certificate, server.tls_key)
    except Unusable as error:
        raise ConfigurationError(str(error)) from None


def _context() -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with the cipher suites that Python chooses: forward secrecy, authenticated encryption."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(file: Path, key: Path | None) -> _Loaded:
    _check_readable("server.tls_certificate", file)
    if key is not None:
        _check_readable("server.tls_key", key)
    context = _context()
    try:
        context.load_cert_chain(file, key, password=_none)
        dates = ssl._ssl._test_decode_cert(str(file))  # type: ignore[attr-defined] # noqa: SLF001 - no public way
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise Unusable(
            f"server.tls_certificate, server.tls_key: no certificate and its key, without passphrase, in PEM: {reason}"
        ) from None
    begins, ends = (
        datetime.fromtimestamp(ssl.cert_time_to_seconds(dates[end]), UTC) for end in ("notBefore", "notAfter")
    )
    return _Loaded(context, begins, ends)


def _check_readable(setting: str, file: Path) -> None:
    try:
        file.read_bytes()
    except OSError as error:
        raise Unusable(f"{setting}: cannot read {file}: {error.strerror}") from None


def _none() -> str:
    """The passphrase. Without this, OpenSSL would ask for it on the terminal."""
    return ""
