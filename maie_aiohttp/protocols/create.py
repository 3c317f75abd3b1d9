"""`POST /v1/uploads`: which door a request knocks at, and what neither lets in."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import HttpVersion11, hdrs, web

from maie_aiohttp.appkeys import DRAIN, LIMITS
from maie_aiohttp.errors import Malformed, NotAudio
from maie_aiohttp.headers import is_plain, repr_digest
from maie_aiohttp.model import Upload
from maie_aiohttp.protocols import multipart, raw
from maie_aiohttp.protocols.body import Body
from maie_aiohttp.records import as_json, location


async def create(request: web.Request) -> web.Response:
    """Take one request's files and answer 201 once they cannot be lost."""
    body = Body(request, idle_timeout=request.app[LIMITS].idle_timeout)
    with request.app[DRAIN].upload(body):
        _check_expectation(request)
        _check_framing(request)
        _check_encoding(request)
        if request.content_type == "multipart/form-data":
            return _created_all(await multipart.receive(request, body))
        return _created(await raw.receive(request, body))


async def expect(_request: web.Request) -> None:
    """Leave `Expect` (RFC 9110, section 10.1.1) to the handler: it asks for the body when the header has not decided
    against it, and what it refuses before is logged and answered as everything else."""


def _check_expectation(request: web.Request) -> None:
    if request.headers.get(hdrs.EXPECT, "").lower() not in ("", "100-continue"):
        raise web.HTTPExpectationFailed


def _check_framing(request: web.Request) -> None:
    """aiohttp reads these; other servers on the way may not, and would see the body's end elsewhere."""
    codings = [coding.lower() for coding in request.headers.getall(hdrs.TRANSFER_ENCODING, [])]
    if codings and (codings != ["chunked"] or request.version < HttpVersion11):
        raise Malformed("The only transfer coding accepted is chunked, in HTTP/1.1.")


def _check_encoding(request: web.Request) -> None:
    """A compressed body is never unpacked: what unpacks to much more than was sent cannot be limited on its way."""
    if not is_plain(request.headers.getall(hdrs.CONTENT_ENCODING, [])):
        raise NotAudio("The body is compressed; send the recording as it is.")


def _created(upload: Upload) -> web.Response:
    headers = {"Location": location(upload), "Repr-Digest": repr_digest(upload.sha256)}
    return web.json_response(as_json(upload), status=201, headers=headers)


def _created_all(uploads: Sequence[Upload]) -> web.Response:
    headers = {"Location": location(uploads[0])}
    if len(uploads) == 1:
        headers["Repr-Digest"] = repr_digest(uploads[0].sha256)
    return web.json_response({"uploads": [as_json(upload) for upload in uploads]}, status=201, headers=headers)
