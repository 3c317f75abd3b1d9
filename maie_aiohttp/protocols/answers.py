"""What a door says of an upload that is stored."""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.headers import repr_digest
from maie_aiohttp.locations import location, root
from maie_aiohttp.model import Upload
from maie_aiohttp.records import as_json


def created(request: web.Request, upload: Upload) -> web.Response:
    """201 with the record, of one upload."""
    headers = {"Location": location(request, upload.id), **digest(upload)}
    return web.json_response(as_json(upload, root(request)), status=201, headers=headers)


def digest(upload: Upload) -> dict[str, str]:
    """`Repr-Digest` (RFC 9530), once there is one."""
    return {"Repr-Digest": repr_digest(upload.stored.sha256)} if upload.stored else {}
