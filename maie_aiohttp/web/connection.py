"""One client's connection: what aiohttp makes of it, and what protects the others from it.

aiohttp puts the bytes of a request it cannot parse into its answer, and lets an upload wait for the rest of a body
whose framing is broken. Here the first is a problem document, and the second ends the upload.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import _ErrInfo

from maie_aiohttp.errors import Busy, IntakeError, TooSlow
from maie_aiohttp.limits.capacity import Held
from maie_aiohttp.limits.unread import Share, Unread
from maie_aiohttp.web.headers import PROTECTIVE
from maie_aiohttp.web.problems import answer, http_answer

RECEIVE_SIZE = 65_536
"""Bytes taken from a socket at once where they may have to be parsed: 256 KiB of one-byte chunks would take 90 ms.
Where all of them belong to a body whose length is known, there is nothing to parse, and it may be more."""

UPLOADING = ("POST", "PATCH")
"""Methods that bring bytes."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What all connections keep to."""

    header_timeout: float
    """Seconds for the head of a request."""
    send_timeout: float
    """Seconds in which a client takes nothing of what is sent to it."""
    held: Held
    unread: Unread


class _Unparsed(web.Response):
    """Answers what never became a request: the application's hook, which does the same for all others, does not see
    it."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.update(PROTECTIVE)
        self.headers.popall("Server", None)


class Connection(web.RequestHandler):
    """One client's connection."""

    _head_timed = False
    """Whether the timer for idle connections runs for the head of a request, or for its first byte."""
    _head_begun = False
    """Whether there is more of that head than nothing."""

    def __init__(self, manager: web.Server, bounds: Bounds, **options: Any) -> None:
        super().__init__(manager, **options)
        self._bounds = bounds
        self._share = Share(bounds.unread, self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        super().connection_made(transport)
        self.limit_receiving()
        self._limit_decrypting()
        self._limit_sending()
        self._time_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nobody will read more than what the upload takes now."""
        self._share.give_up()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; nothing, where aiohttp goes on with what it has. If it is no HTTP, no body under way will
        ever end."""
        if data:
            self._share.add(len(data))
        super().data_received(data)
        self.limit_receiving()
        if self._messages:
            self._head_came()
        elif data and self.is_idle and not self._head_begun:
            self._head_begun = True
            self._time_head()
        if self._messages and _is_unreadable(self._messages[-1][0]):
            bodies = [body for _, body in self._messages]
            if self._current_request is not None:
                bodies.append(self._current_request.content)
            for body in bodies:
                if not body.is_eof():
                    body.set_exception(web.RequestPayloadError("The framing of the body is broken."))

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request, with nothing of the last one left to read or to send."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def closes_at(self) -> float:
        """When it is closed if it stays idle, in the loop's time."""
        return self._next_keepalive_close_time

    def pause_reading(self) -> None:
        """The upload has more than it reads: stop, unless it is within this connection's share."""
        if self._share.is_used_up:
            super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Everything was read, but an upload may not have done with it; or, without the parser, everything came."""
        if resume_parser:
            self._share.take()
        self._resume_within_share(resume_parser)

    def bytes_taken(self) -> None:
        """The upload has done with what it took, but may have to wait until it can take more."""
        self._share.done()

    def wait_for_bytes(self) -> None:
        """The upload has done with what it took, and is about to wait for more."""
        self._share.ask()
        self._resume_within_share()

    def _resume_within_share(self, resume_parser: bool = True) -> None:
        self.limit_receiving()
        if self._reading_paused and not self._share.is_used_up:
            super().resume_reading(resume_parser)

    def limit_receiving(self) -> None:
        """Take no more at once than all connections together can hold, and no more of what may have to be parsed."""
        transport: Any = self.transport
        if hasattr(transport, "max_size"):  # an attribute of asyncio's own transports
            size = min(self._share.receipt, max(RECEIVE_SIZE, self._missing()))
            if size != transport.max_size:
                transport.max_size = size
                self._share.receives(size)

    def _missing(self) -> int:
        """Bytes of the body under way that are still to come, as far as that is known."""
        request = self._current_request
        if request is None or request.content_length is None:
            return 0
        return request.content_length - request.content.total_bytes

    def _limit_decrypting(self) -> None:
        """With TLS, keep less than asyncio's 256 KiB of what came and cannot be read yet."""
        transport: Any = self.transport
        if hasattr(transport, "set_read_buffer_limits"):  # a method of TLS transports
            transport.set_read_buffer_limits(RECEIVE_SIZE)

    def _limit_sending(self) -> None:
        """Let the system give the connection up where the client takes nothing: see tcp(7)."""
        if self.transport is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = round(self._bounds.send_timeout * 1_000)
            with suppress(OSError):  # a socket of another family
                sock = self.transport.get_extra_info("socket")
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def _time_head(self) -> None:
        """Let aiohttp's timer for idle connections run for the head of a request."""
        self._head_timed = True
        self.keep_alive(True)  # stops the timer
        self._next_keepalive_close_time = self._loop.time() + self._bounds.header_timeout
        self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)

    def _head_came(self) -> None:
        if self._head_timed:
            self._head_timed = self._head_begun = False
            self.keep_alive(True)
        if self._bounds.held.is_full:
            self._refuse_uploads()

    def _process_keepalive(self) -> None:
        """The timer has run out. Who has begun to ask gets an answer."""
        if self._head_begun and self._waiter is not None and not self._waiter.done():
            self._messages.append((_error(TooSlow("The header of the request took too long.")), EMPTY_PAYLOAD))
            self._waiter.set_result(None)
        else:
            super()._process_keepalive()

    def _refuse_uploads(self) -> None:
        """Answer those just parsed with 503. Whoever asks how far an upload came, or deletes it, is heard."""
        for index, (message, body) in enumerate(self._messages):
            if isinstance(message, RawRequestMessage) and message.method in UPLOADING:
                self._messages[index] = (_error(Busy("The server holds too many connections.")), body)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer. Those of aiohttp's own that no middleware saw become problem documents."""
        if isinstance(resp, web.HTTPException):
            resp = http_answer(request, resp.status)
        if _leaves_http(request) or self._bounds.held.is_full:
            resp.force_close()
        self._share.drop()
        self._resume_within_share()
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it echoes the request
    ) -> web.StreamResponse:
        """Answer what could not even be parsed. Raises ConnectionError if an answer has begun."""
        if isinstance(exc, ConnectionError):
            self.log_debug("The client has gone", exc_info=exc)
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(exc, IntakeError):
            self.log_exception("Error handling request", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("The answer has begun; no other can follow.")
        known = answer(request, exc) if isinstance(exc, IntakeError) else http_answer(request, status)
        response = _Unparsed(status=known.status, body=known.body, headers=known.headers)
        response.force_close()
        response.headers["Connection"] = "close"  # which aiohttp leaves out: it takes the request for one of HTTP/1.0
        return response


def _error(error: IntakeError) -> _ErrInfo:
    """What stands in the place of a request that is answered with this error."""
    return _ErrInfo(HTTPStatus.INTERNAL_SERVER_ERROR, error, str(error))


def _leaves_http(request: web.BaseRequest) -> bool:
    """Whether it asks for something else than HTTP/1.1 behind it. Nothing else is spoken here, and where such a request
    ends is read differently by aiohttp and by proxies."""
    return request.method == hdrs.METH_CONNECT or hdrs.UPGRADE in request.headers


def _is_unreadable(message: RawRequestMessage | _ErrInfo) -> bool:
    """Whether this is where the parser gave up."""
    return isinstance(message, _ErrInfo) and not isinstance(message.exc, IntakeError)
