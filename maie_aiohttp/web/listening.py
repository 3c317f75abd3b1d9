"""Where clients come in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from maie_aiohttp.settings import Server
from maie_aiohttp.web import unix
from maie_aiohttp.web.server import Runner
from maie_aiohttp.web.tls import Certificate

BACKLOG = 1024
"""Clients that may wait to be accepted."""


async def bind(server: Server) -> Sequence[socket.socket]:
    """Sockets on the configured address. Raises OSError and `ConfigurationError`."""
    if server.unix_socket is not None:
        return [unix.listen(server.unix_socket, server.unix_socket_mode, BACKLOG)]
    loop = asyncio.get_running_loop()
    bound = await loop.create_server(asyncio.Protocol, server.host, server.port, start_serving=False)
    sockets = [one.dup() for one in bound.sockets]
    bound.close()
    return sockets


def clear_away(server: Server) -> None:
    """Leave nothing behind, once the sockets are closed."""
    if server.unix_socket is not None:
        unix.remove(server.unix_socket)


class Site(web.SockSite):
    """Serves those who come in by one socket."""

    def __init__(
        self,
        runner: Runner,
        bound: socket.socket,
        certificate: Certificate | None,
        server: Server,
        backlog: int = BACKLOG,
    ) -> None:
        context = None if certificate is None else certificate.context
        super().__init__(runner, bound, ssl_context=context, backlog=backlog)
        if server.unix_socket is not None:
            self._name = f"unix:{server.unix_socket}"
        self._tls: dict[str, Any] = {}
        """What aiohttp does not pass on: how long the beginning and the end of TLS may take."""
        if context is not None:
            self._tls = {
                "ssl": context,
                "ssl_handshake_timeout": server.header_timeout,
                "ssl_shutdown_timeout": max(server.linger, 1.0),
            }

    async def start(self) -> None:
        """Let clients in."""
        await web.BaseSite.start(self)
        serve = self._runner.server
        assert serve is not None  # noqa: S101 - the runner is set up
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(serve, sock=self._sock, backlog=self._backlog, **self._tls)
