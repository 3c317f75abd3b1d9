"""`HEAD`, `PATCH` and `DELETE` of one upload, and what `OPTIONS` tells of both protocols: tus for those who say that
they speak it, else the IETF's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from aiohttp import web

from maie_aiohttp.problems import http_answer
from maie_aiohttp.protocols import resumable, tus
from maie_aiohttp.protocols.entry import entered, speaks_tus


async def look(request: web.Request) -> web.Response:
    """How far the upload came."""
    return await (tus.look(request) if speaks_tus(request) else resumable.look(request))


async def append(request: web.Request) -> web.Response:
    """More bytes."""
    with entered(request) as body:
        return await (tus.append(request, body) if speaks_tus(request) else resumable.append(request, body))


async def remove(request: web.Request) -> web.Response:
    """Record and bytes are gone for good, in whatever state the upload is."""
    return await (tus.remove(request) if speaks_tus(request) else resumable.remove(request))


async def act(request: web.Request) -> web.Response:
    """Do what the method says; or, for clients that cannot send every method, the field that stands for it (tus 1.0.0,
    X-HTTP-Method-Override)."""
    verb = VERBS.get(request.headers.get("X-HTTP-Method-Override", request.method).upper())
    if verb is None:
        return http_answer(request, 405, {"Allow": ", ".join(sorted(VERBS))})
    return await verb(request)


async def options(request: web.Request) -> web.Response:
    """What may be sent here."""
    return web.Response(status=204, headers=tus.options(request) | resumable.options(request))


VERBS: Mapping[str, Callable[[web.Request], Awaitable[web.Response]]] = MappingProxyType(
    {"HEAD": look, "PATCH": append, "DELETE": remove}
)

METHODS = (*VERBS, "POST")
"""POST only stands for another one."""
