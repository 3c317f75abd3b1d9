"""aiohttp's server with its protective settings nailed down.

aiohttp drops *all* keywords of a connection, with a warning, if one of them is unknown to it, and puts the bytes of a
request it cannot parse into its answer. Here the first is an error, and the second is a problem document.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from maie_aiohttp import settings
from maie_aiohttp.problems import http_answer

READ_BUFFER = 65_536
"""Bytes after which a connection stops reading until its upload catches up (at twice as many)."""


class Connection(web.RequestHandler):
    """One client's connection."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it echoes the request
    ) -> web.StreamResponse:
        """Answer what could not even be parsed."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log_exception("Error handling request", exc_info=exc)
        response = http_answer(request, status)
        response.force_close()
        return response


class Server(web.Server):
    """Makes connections. An unknown keyword is a TypeError on the first one."""

    def __call__(self) -> Connection:
        """A connection with every keyword in force."""
        return Connection(self, loop=asyncio.get_running_loop(), **self._kwargs)


class Runner(web.AppRunner):
    """Runs the application on `Server`."""

    def __init__(self, app: web.Application, configured: settings.Server) -> None:
        check_parser()
        super().__init__(
            app,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=configured.keepalive_timeout,
            lingering_time=configured.linger,
            read_bufsize=READ_BUFFER,
            shutdown_timeout=configured.linger,
        )

    async def _make_server(self) -> Server:
        made = await super()._make_server()
        server = Server(made.request_handler, request_factory=made.request_factory, **self._kwargs)
        server().force_close()  # finds out, at start, whether aiohttp still knows every keyword
        return server


def check_parser() -> None:
    """Raises RuntimeError where aiohttp runs without its C parser, or Python without assertions: both switch off
    checks of what clients send."""
    if not __debug__:
        raise RuntimeError("Do not run this server with python -O: aiohttp's checks are assertions.")
    if HttpRequestParser is HttpRequestParserPy:
        raise RuntimeError("aiohttp's C parser is missing; install aiohttp from a wheel, or with a compiler.")
