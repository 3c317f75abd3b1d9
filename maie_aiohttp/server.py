"""aiohttp's server with its protective settings nailed down.

aiohttp drops *all* keywords of a connection, with a warning, if one of them is unknown to it, puts the bytes of a
request it cannot parse into its answer, and lets an upload wait for the rest of a body whose framing is broken. Here
the first is an error, the second a problem document, and the third ends the upload.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from maie_aiohttp import settings
from maie_aiohttp.problems import http_answer

READ_BUFFER = 65_536
"""Bytes after which a connection stops reading until its upload catches up (at twice as many)."""


class _Unparsed(web.Response):
    """Answers what never became a request: the application's hook, which takes the banner off, does not see it."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


class Connection(web.RequestHandler):
    """One client's connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take no more from the socket at once than is wanted: asyncio's 256 KiB in chunks of one byte take 90 ms."""
        if hasattr(transport, "max_size"):
            transport.max_size = READ_BUFFER
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came. If it is no HTTP, no body under way will ever end."""
        super().data_received(data)
        if self._messages and not isinstance(self._messages[-1][0], RawRequestMessage):
            bodies = [body for _, body in self._messages]
            if self._current_request is not None:
                bodies.append(self._current_request.content)
            for body in bodies:
                if not body.is_eof():
                    body.set_exception(web.RequestPayloadError("The framing of the body is broken."))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer. Those of aiohttp's own that no middleware saw become problem documents."""
        if isinstance(resp, web.HTTPException):
            resp = http_answer(request, resp.status)
        return await super().finish_response(request, resp, start_time)

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
        known = http_answer(request, status)
        response = _Unparsed(status=status, body=known.body, headers=known.headers)
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
