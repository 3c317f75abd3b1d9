"""`POST /v1/uploads`: which door a request knocks at."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from maie_aiohttp.locations import location, root
from maie_aiohttp.model import Upload
from maie_aiohttp.protocols import multipart, raw, resumable, tus
from maie_aiohttp.protocols.answers import created, digest
from maie_aiohttp.protocols.entry import entered, speaks_resumable, speaks_tus
from maie_aiohttp.records import as_json


async def create(request: web.Request) -> web.Response:
    """Take one request's files, or the beginning of one, and answer 201 once that cannot be lost."""
    with entered(request) as body:
        if speaks_tus(request):
            return await tus.create(request, body)
        if request.content_type == "multipart/form-data":
            return _created_all(request, await multipart.receive(request, body))
        if speaks_resumable(request):
            return await resumable.create(request, body)
        return created(request, await raw.receive(request, body))


def _created_all(request: web.Request, uploads: Sequence[Upload]) -> web.Response:
    headers = {"Location": location(request, uploads[0].id)}
    if len(uploads) == 1:
        headers |= digest(uploads[0])
    records = [as_json(upload, root(request)) for upload in uploads]
    return web.json_response({"uploads": records}, status=201, headers=headers)
