"""aiohttp's server with its protective settings nailed down.

aiohttp drops *all* keywords of a connection, with a warning, if one of them is unknown to it. Here that is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from maie_aiohttp import settings
from maie_aiohttp.limits.capacity import Held, connections_by_descriptors
from maie_aiohttp.limits.unread import BUDGET, Unread
from maie_aiohttp.web.connection import Bounds, Connection

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Server(web.Server):
    """Makes connections. An unknown keyword is a TypeError on the first one."""

    def __init__(self, handler: _Handler, bounds: Bounds, **options: Any) -> None:
        super().__init__(handler, **options)
        self.bounds = bounds

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """There is one more; perhaps one too many."""
        super().connection_made(handler, transport)
        if isinstance(handler, Connection) and not self.bounds.held.add(handler):
            self._loop.call_soon(transport.abort)  # once aiohttp has begun with it

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """There is one less."""
        super().connection_lost(handler, exc)
        if isinstance(handler, Connection):
            self.bounds.held.remove(handler)

    def close_idle(self) -> None:
        """Let those go that only wait for their next request."""
        for connection in self.connections:
            if isinstance(connection, Connection) and connection.is_idle:
                connection.force_close()

    def __call__(self) -> Connection:
        """A connection with every keyword in force."""
        return Connection(self, self.bounds, loop=asyncio.get_running_loop(), **self._kwargs)


class Runner(web.AppRunner):
    """Runs the application on `Server`."""

    def __init__(self, app: web.Application, configured: settings.Server) -> None:
        check_parser()
        self._configured = configured
        super().__init__(
            app,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=configured.keepalive_timeout,
            lingering_time=configured.linger,
            read_bufsize=1,  # ask at every receipt whether to stop; see `Connection.pause_reading`
            shutdown_timeout=configured.linger,
        )

    def close_idle(self) -> None:
        """Close connections without a request; the others end with theirs."""
        if isinstance(self.server, Server):
            self.server.close_idle()

    async def _make_server(self) -> Server:
        made = await super()._make_server()
        server = Server(
            made.request_handler, _bounds(self._configured), request_factory=made.request_factory, **self._kwargs
        )
        server().force_close()  # finds out, at start, whether aiohttp still knows every keyword
        return server


def _bounds(configured: settings.Server) -> Bounds:
    return Bounds(
        header_timeout=configured.header_timeout,
        send_timeout=configured.send_timeout,
        held=Held(configured.max_connections or connections_by_descriptors()),
        unread=Unread(BUDGET // configured.workers),
    )


def check_parser() -> None:
    """Raises RuntimeError where aiohttp runs without its C parser, or Python without assertions: both switch off
    checks of what clients send."""
    if not __debug__:
        raise RuntimeError("Do not run this server with python -O: aiohttp's checks are assertions.")
    if HttpRequestParser is HttpRequestParserPy:
        raise RuntimeError("aiohttp's C parser is missing; install aiohttp from a wheel, or with a compiler.")
