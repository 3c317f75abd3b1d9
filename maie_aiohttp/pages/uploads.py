"""Records: listed and shown."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from uuid import UUID

from aiohttp import web

from maie_aiohttp.credentials import Scope
from maie_aiohttp.errors import Malformed
from maie_aiohttp.model import Position, Status, Upload
from maie_aiohttp.web.appkeys import CATALOG, INTAKE, LIMITS
from maie_aiohttp.web.headers import offset_fields
from maie_aiohttp.web.locations import identifier, root
from maie_aiohttp.web.permission import caller, needs, own
from maie_aiohttp.web.records import as_json

PAGE = 50
LARGEST_PAGE = 200

_TO_GO_ON = frozenset({Status.RECEIVING, Status.STORED})
"""States in which there is an offset, be it the end."""


@needs(Scope.READ)
async def list_uploads(request: web.Request) -> web.Response:
    """`GET /v1/uploads`: newest first, `limit` at a time, from `cursor` on, perhaps of one `status` only."""
    limit = _limit(request.query.get("limit"))
    status = _status(request.query.get("status"))
    after = _position(request.query.get("cursor"))
    found = await request.app[CATALOG].list(limit + 1, status=status, after=after, owner=caller(request).reach)
    page = found[:limit]
    return web.json_response(
        {
            "uploads": [as_json(upload, root(request)) for upload in page],
            "next_cursor": _cursor(page[-1]) if len(found) > limit else None,
        }
    )


@needs(Scope.READ)
async def show(request: web.Request) -> web.Response:
    """`GET /v1/uploads/{id}`. Nobody who writes the upload is disturbed; the header tells how far it came only while
    nobody does, since whoever reads an offset there may go on from it."""
    upload = own(request, await request.app[CATALOG].get(identifier(request)))
    resting = upload.status in _TO_GO_ON and upload.id not in request.app[INTAKE].receiving
    response = web.json_response(as_json(upload, root(request)), headers={"Cache-Control": "no-store"})
    if resting:
        response.headers["Upload-Complete"] = "?1" if upload.stored else "?0"
        response.headers.update(offset_fields(upload, request.app[LIMITS].max_size))
    return response


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not re.fullmatch(r"[1-9]\d{0,2}", text, re.ASCII) or int(text) > LARGEST_PAGE:
        raise Malformed(f"`limit` is a number from 1 to {LARGEST_PAGE}.")
    return int(text)


def _status(text: str | None) -> Status | None:
    try:
        return None if text is None else Status(text)
    except ValueError:
        raise Malformed(f"`status` is one of {', '.join(Status)}.") from None


def _cursor(upload: Upload) -> str:
    return base64.urlsafe_b64encode(f"{upload.created_at.isoformat()} {upload.id}".encode()).decode()


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    try:
        moment, id = base64.urlsafe_b64decode(cursor).decode().split(" ")
        position = Position(datetime.fromisoformat(moment), UUID(id))
    except (ValueError, binascii.Error):
        raise Malformed("`cursor` is not one this server gave.") from None
    if position.created_at.tzinfo is None:
        raise Malformed("`cursor` is not one this server gave.")
    return position
