"""Around every handler: a request's identity, and the one place where errors become answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog
from aiohttp import web

from maie_aiohttp.errors import IntakeError
from maie_aiohttp.web.appkeys import SERVER
from maie_aiohttp.web.headers import PROTECTIVE, TUS_VERSION
from maie_aiohttp.web.identity import REQUEST_ID, request_id
from maie_aiohttp.web.permission import check_rate, recognise
from maie_aiohttp.web.problems import INTERNAL, answer, http_answer, problem, sent_path

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

TUS = "Tus-Resumable"
_BEGUN = web.RequestKey("begun", bool)

log = structlog.get_logger()


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give each request an id, the client's own if it sent a plain one, and find out who sends it: both stand in every
    line logged for it."""
    with structlog.contextvars.bound_contextvars(request=request_id(request), **recognise(request)):
        return await handler(request)


@web.middleware
async def report(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors with problem documents, and log what went wrong in one line. Where the answer had begun already,
    it is broken off."""
    try:
        return await handler(request)
    except IntakeError as error:
        response = answer(request, error)
    except web.HTTPException as error:
        response = http_answer(request, error.status)
    except ConnectionError:
        raise  # the client has gone, and with it whoever could read an answer
    except Exception:
        log.exception("request failed", method=request.method, path=sent_path(request))
        response = problem(request, INTERNAL, "Something went wrong here; it has been logged.")
    if _BEGUN in request:
        _break_off(request)
    return response


@web.middleware
async def hold_back(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer only as often as an address may ask."""
    check_rate(request)
    return await handler(request)


async def finish_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every response: the request's id, what protects browsers, the version of tus to who speaks it, and no word on
    what serves it."""
    request[_BEGUN] = True
    response.headers[REQUEST_ID] = request_id(request)
    response.headers.update(PROTECTIVE)
    if request.secure:
        response.headers["Strict-Transport-Security"] = f"max-age={int(request.app[SERVER].hsts)}"
    if TUS in request.headers:
        response.headers[TUS] = TUS_VERSION
    response.headers.popall("Server", None)


def _break_off(request: web.Request) -> NoReturn:
    """The status is sent; only a broken connection can still tell the client that this is not all."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionAbortedError("The answer was broken off.")
