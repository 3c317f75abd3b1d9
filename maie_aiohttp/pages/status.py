"""What has become of a recording in the pipeline, as MAIE's own API tells it."""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.credentials import Scope
from maie_aiohttp.errors import NotFound
from maie_aiohttp.web.appkeys import CATALOG, PIPELINE
from maie_aiohttp.web.locations import identifier
from maie_aiohttp.web.permission import Action, needs, own, refuse_token


@needs(Scope.UPLOAD, Scope.READ, to=Action.LOOK)
async def status(request: web.Request) -> web.Response:
    """`GET /v1/status/{id}`: who may send a recording may also ask what has become of it. Only what is stored has a
    task."""
    refuse_token(request)
    upload = own(request, await request.app[CATALOG].get(identifier(request)))
    if upload.stored is None:
        raise NotFound("There is no such task.")
    outcome = await request.app[PIPELINE].outcome(upload)
    return web.json_response({"task_id": str(upload.id), **outcome})
