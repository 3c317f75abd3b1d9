"""The raw door: the body is the file, its name stands in `Content-Disposition`."""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.model import Upload
from maie_aiohttp.protocols import disposition
from maie_aiohttp.protocols.body import Body
from maie_aiohttp.protocols.declaration import declared, key_of
from maie_aiohttp.web.appkeys import INTAKE
from maie_aiohttp.web.permission import caller


async def receive(request: web.Request, body: Body) -> Upload:
    """Take the file to its end, once its header is not refused. Returns it as it is stored now; raises, and stores
    nothing, if it is refused."""
    intake, sender = request.app[INTAKE], caller(request)
    key = key_of(request.headers, "raw", sender)
    file = declared(request.headers, disposition.filename(request.headers), at_most=request.content_length)
    async with intake.delivery(file, sender) as delivery:
        await delivery.receive(file, body.chunks(), body.taken)
        (upload,) = await delivery.settle({}, key)
        return upload
