"""`POST /v1/uploads`: which door a request knocks at, and what is refused at the threshold."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import HttpVersion11, hdrs, web

from maie_aiohttp.appkeys import DRAIN, LIMITS
from maie_aiohttp.errors import IntakeError, Malformed, NotAudio
from maie_aiohttp.headers import is_plain, repr_digest
from maie_aiohttp.model import Upload
from maie_aiohttp.problems import answer, http_answer
from maie_aiohttp.protocols import multipart, raw
from maie_aiohttp.protocols.body import Body
from maie_aiohttp.records import as_json, location


async def create(request: web.Request) -> web.Response:
    """Take one request's files and answer 201 once they cannot be lost."""
    body = Body(request, idle_timeout=request.app[LIMITS].idle_timeout)
    with request.app[DRAIN].upload(body):
        await admit(request)
        if _is_form(request):
            return _created_all(await multipart.receive(request, body))
        return _created(await raw.receive(request, body))


async def expect(request: web.Request) -> web.StreamResponse | None:
    """Answer `Expect: 100-continue` (RFC 9110, section 10.1.1): whatever the header already decides is refused here,
    before the client has sent the body."""
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        return http_answer(request, 417)
    try:
        request.app[DRAIN].check()
        await admit(request)
    except IntakeError as error:
        return answer(request, error)
    if request.version >= HttpVersion11:  # older clients know no interim answers
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    return None


async def admit(request: web.Request) -> None:
    """Refuse what needs no body to be refused."""
    _check_framing(request)
    _check_encoding(request)
    await (multipart.admit(request) if _is_form(request) else raw.admit(request))


def _is_form(request: web.Request) -> bool:
    return request.content_type == "multipart/form-data"


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
