"""The raw door: the body is the file, its name stands in `Content-Disposition`."""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.appkeys import INTAKE, LIMITS
from maie_aiohttp.headers import DIGEST_FIELDS, declared_digests
from maie_aiohttp.model import Declared, Upload
from maie_aiohttp.protocols import disposition
from maie_aiohttp.protocols.body import Body


async def admit(request: web.Request) -> None:
    """Refuse what the header of the request already decides, before a byte of the file is read."""
    await request.app[INTAKE].admit(_declared(request))


async def receive(request: web.Request, body: Body) -> Upload:
    """Take the file to its end. Returns it as it is stored now; raises, and stores nothing, if it is refused."""
    chunks = body.chunks(request.app[LIMITS].chunk_size)
    async with request.app[INTAKE].delivery() as delivery:
        await delivery.receive(_declared(request), chunks)
        (upload,) = await delivery.settle({})
        return upload


def _declared(request: web.Request) -> Declared:
    digests = [value for field in DIGEST_FIELDS for value in request.headers.getall(field, [])]
    return Declared(
        filename=_filename(request),
        media_type=request.headers.get("Content-Type"),
        at_most=request.content_length,
        digests=declared_digests(digests),
    )


def _filename(request: web.Request) -> str | None:
    fields = request.headers.getall("Content-Disposition", [])
    return disposition.parse(fields).filename if fields else None
