"""Around every handler: a request's identity, and the one place where errors become answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from uuid import uuid4

import structlog
from aiohttp import web

from maie_aiohttp.errors import IntakeError
from maie_aiohttp.problems import INTERNAL, answer, http_answer, problem, sent_path

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID = "X-Request-ID"
_ID = web.RequestKey("id", str)

_PLAIN = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)

log = structlog.get_logger()


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give each request an id, the client's own if it sent a plain one, in every line logged for it."""
    given = request.headers.get(REQUEST_ID, "")
    id = given if _PLAIN.fullmatch(given) else uuid4().hex
    request[_ID] = id
    with structlog.contextvars.bound_contextvars(request=id):
        return await handler(request)


@web.middleware
async def report(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors with problem documents, and log what went wrong in one line."""
    try:
        return await handler(request)
    except IntakeError as error:
        return answer(request, error)
    except web.HTTPException as error:
        return http_answer(request, error.status)
    except ConnectionError:
        raise  # the client has gone, and with it whoever could read an answer
    except Exception:
        log.exception("request failed", method=request.method, path=sent_path(request))
        return problem(request, INTERNAL, "Something went wrong here; it has been logged.")


async def finish_headers(request: web.Request, response: web.StreamResponse) -> None:
    """On every response: the request's id, and no word on what serves it."""
    response.headers[REQUEST_ID] = request.get(_ID) or uuid4().hex
    response.headers.popall("Server", None)
