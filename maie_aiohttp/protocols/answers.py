"""What several doors say."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from maie_aiohttp.model import Upload
from maie_aiohttp.web.headers import repr_digest
from maie_aiohttp.web.locations import location, root
from maie_aiohttp.web.permission import caller
from maie_aiohttp.web.problems import HTTP_KINDS, problem
from maie_aiohttp.web.records import as_json
from maie_aiohttp.web.trail import note


def created(request: web.Request, upload: Upload) -> web.Response:
    """201 with the record, of one upload."""
    note(request, upload.id)
    headers = {"Location": location(request, upload.id), **digest(upload)}
    return web.json_response(record(request, upload), status=201, headers=headers)


def record(request: web.Request, upload: Upload) -> dict[str, object]:
    """The record, for who sent the upload. Whoever did so with a token is not its owner, and is not told what else that
    one has."""
    told = upload if caller(request).token is None else replace(upload, duplicate_of=None)
    return as_json(told, root(request))


def other_type(request: web.Request, expected: str) -> web.Response:
    """415: bytes for an upload that is there already have a type of their own."""
    kind = replace(HTTP_KINDS[415], headers={"Accept-Patch": expected})
    return problem(request, kind, f"Bytes of an upload are sent as {expected}.")


def digest(upload: Upload) -> dict[str, str]:
    """`Repr-Digest` (RFC 9530), once there is one."""
    return {"Repr-Digest": repr_digest(upload.stored.sha256)} if upload.stored else {}
