"""Records: listed and shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from aiohttp import web

from maie_aiohttp.credentials import Scope
from maie_aiohttp.errors import Malformed
from maie_aiohttp.model import Position, Status
from maie_aiohttp.pages.content import intact
from maie_aiohttp.pages.paging import cursor, foreign_cursor, limit, place
from maie_aiohttp.pages.parameters import choice
from maie_aiohttp.pages.searching import sought
from maie_aiohttp.web.appkeys import CATALOG, HANDOFF, INTAKE, LIMITS, STORE, TAGGER
from maie_aiohttp.web.handoffs import standing
from maie_aiohttp.web.headers import offset_fields
from maie_aiohttp.web.locations import identifier, root
from maie_aiohttp.web.permission import Action, caller, needs, own
from maie_aiohttp.web.records import as_json

_TO_GO_ON = frozenset({Status.RECEIVING, Status.STORED})
"""States in which there is an offset, be it the end."""


@needs(Scope.READ, to=Action.LIST)
async def list_uploads(request: web.Request) -> web.Response:
    """`GET /v1/uploads`: newest first, `limit` at a time, from `cursor` on, perhaps only of one `status`, or of one
    `sha256`, or with some facts."""
    asked = limit(request.query)
    found = await request.app[CATALOG].list(
        asked + 1,
        status=choice(request.query, "status", Status),
        after=_position(request.query.get("cursor")),
        owner=caller(request).reach,
        sha256=_sha256(request.query.get("sha256")),
        sought=sought(request.query),
    )
    page = found[:asked]
    return web.json_response(
        {
            "uploads": [as_json(upload, root(request)) for upload in page],
            "next_cursor": cursor(page[-1].created_at.isoformat(), page[-1].id) if len(found) > asked else None,
        }
    )


@needs(Scope.READ, to=Action.SHOW)
async def show(request: web.Request) -> web.Response:
    """`GET /v1/uploads/{id}`: the record, and how far others know of it. Nobody who writes the upload is disturbed; the
    header tells how far it came only while nobody does, since whoever reads an offset there may go on from it."""
    wants_tags = _includes_tags(request.query.get("include"))
    upload = own(request, await request.app[CATALOG].get(identifier(request)))
    letters = await request.app[CATALOG].outbox.of(upload.id)
    record = {**as_json(upload, root(request)), "handoffs": standing(upload, letters, request.app[HANDOFF].targets)}
    if wants_tags:
        record["tags"] = await _tags(request)
    resting = upload.status in _TO_GO_ON and upload.id not in request.app[INTAKE].receiving
    response = web.json_response(record)
    if resting:
        response.headers["Upload-Complete"] = "?1" if upload.stored else "?0"
        response.headers.update(offset_fields(upload, request.app[LIMITS].max_size))
    return response


async def _tags(request: web.Request) -> Mapping[str, str]:
    """They are personal data: read from the recording when somebody asks, and never kept. Raises as downloads do."""
    _, stored = await intact(request)
    return await request.app[TAGGER].tags(request.app[STORE].path(stored.locator), stored.format)


def _includes_tags(text: str | None) -> bool:
    if text not in (None, "tags"):
        raise Malformed("`include` is `tags`.")
    return text is not None


def _sha256(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"[0-9a-f]{64}", text, re.ASCII | re.IGNORECASE):
        raise Malformed("`sha256` is a number of 64 hexadecimal digits.")
    return None if text is None else text.lower()


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    try:
        moment, id = place(cursor)
        position = Position(datetime.fromisoformat(moment), UUID(id))
    except ValueError:
        raise foreign_cursor() from None
    if position.created_at.tzinfo is None:
        raise foreign_cursor()
    return position
