"""Who did what to which upload: a line for each request that needs permission, granted or not, before its answer
leaves. What the fields mean stands in docs/audit.md."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web

from maie_aiohttp import journal
from maie_aiohttp.errors import NotFound
from maie_aiohttp.web.identity import request_id
from maie_aiohttp.web.locations import identifier, reported_client
from maie_aiohttp.web.permission import attempted, known_caller

_UPLOADS = web.RequestKey("uploads", tuple[UUID, ...])


def note(request: web.Request, *uploads: UUID) -> None:
    """Say what a request is about whose path does not."""
    request[_UPLOADS] = uploads


async def write(request: web.Request, response: web.StreamResponse) -> None:
    """On every response."""
    action, caller = attempted(request), known_caller(request)
    if action is not None:
        journal.audit(
            action,
            status=response.status,
            method=request.method,
            uploads=[str(id) for id in _about(request)],
            key=caller and caller.key,
            owner=caller and caller.owner,
            token=str(caller.token_id) if caller and caller.token_id else None,
            address=_address(request),
            request=request_id(request),
        )


def _about(request: web.Request) -> tuple[UUID, ...]:
    if "id" not in request.match_info:
        noted: tuple[UUID, ...] = request.get(_UPLOADS, ())
        return noted
    try:
        return (identifier(request),)
    except NotFound:
        return ()


def _address(request: web.Request) -> str | None:
    """Of the client, as a proxy that is believed reports it, else of whoever is connected. None on a Unix socket, if
    nobody says more."""
    reported = reported_client(request)
    return str(reported) if reported else request.remote or None
