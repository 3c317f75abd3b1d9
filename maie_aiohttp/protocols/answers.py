"""What several doors say."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from maie_aiohttp.model import Upload
from maie_aiohttp.web.headers import repr_digest
from maie_aiohttp.web.locations import location, root
from maie_aiohttp.web.problems import HTTP_KINDS, problem
from maie_aiohttp.web.records import as_json
from maie_aiohttp.web.trail import note


def created(request: web.Request, upload: Upload) -> web.Response:
    """201 with the record, of one upload."""
    note(request, upload.id)
    headers = {"Location": location(request, upload.id), **digest(upload)}
    return web.json_response(as_json(upload, root(request)), status=201, headers=headers)


def other_type(request: web.Request, expected: str) -> web.Response:
    """415: bytes for an upload that is there already have a type of their own."""
    kind = replace(HTTP_KINDS[415], headers={"Accept-Patch": expected})
    return problem(request, kind, f"Bytes of an upload are sent as {expected}.")


def digest(upload: Upload) -> dict[str, str]:
    """`Repr-Digest` (RFC 9530), once there is one."""
    return {"Repr-Digest": repr_digest(upload.stored.sha256)} if upload.stored else {}
