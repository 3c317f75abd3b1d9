"""Hand-offs: listed, and begun anew. For operators."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog
from aiohttp import web

from maie_aiohttp.credentials import Scope
from maie_aiohttp.model import Handed, Place
from maie_aiohttp.pages.paging import cursor, foreign_cursor, limit, place
from maie_aiohttp.pages.parameters import choice
from maie_aiohttp.web.appkeys import CATALOG, HANDOFF
from maie_aiohttp.web.handoffs import as_json
from maie_aiohttp.web.locations import identifier, root
from maie_aiohttp.web.permission import Action, needs

log = structlog.get_logger()


@needs(Scope.ADMIN, to=Action.LIST_HANDOFFS)
async def list_handoffs(request: web.Request) -> web.Response:
    """`GET /v1/handoffs`: how much each target does not know yet; and what targets were told, newest first, `limit` at
    a time, from `cursor` on, perhaps of one `status` only."""
    outbox, targets = request.app[CATALOG].outbox, request.app[HANDOFF].targets
    asked = limit(request.query)
    status, after = choice(request.query, "status", Handed), _place(request.query.get("cursor"))
    found = await outbox.list(asked + 1, status=status, after=after)
    page = found[:asked]
    backlogs = {target: await outbox.backlog(target) for target in targets}
    return web.json_response(
        {
            "targets": [
                {"target": target, "waiting": backlog.waiting, "dead": backlog.dead}
                for target, backlog in backlogs.items()
            ],
            "handoffs": [as_json(letter, root(request)) for letter in page],
            "next_cursor": cursor(page[-1].number, page[-1].target) if len(found) > asked else None,
        }
    )


@needs(Scope.ADMIN, to=Action.REPLAY)
async def replay(request: web.Request) -> web.Response:
    """`POST /v1/handoffs/{id}/replay`: tell every target of an upload that was told before, whatever came of it; the
    others will be told anyway. Raises `NotFound`."""
    catalog = request.app[CATALOG]
    upload = await catalog.get(identifier(request))
    replayed = await catalog.outbox.replay(datetime.now(UTC), id=upload.id)
    log.info("hand-offs replayed", upload=str(upload.id), handoffs=replayed)
    return web.json_response({"replayed": replayed})


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    try:
        number, target = place(cursor)
        after = Place(int(number), target)
    except ValueError:
        raise foreign_cursor() from None
    if not 0 <= after.number < 2**63:
        raise foreign_cursor()
    return after
