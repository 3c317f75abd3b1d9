"""The door for "Resumable Uploads for HTTP" (draft-ietf-httpbis-resumable-upload): an upload begins with any request
that says whether it ends there, and goes on with others at its own address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import wraps

from aiohttp import web

from maie_aiohttp.errors import (
    ChecksumMismatch,
    DigestMismatch,
    Empty,
    Infected,
    IntakeError,
    Malformed,
    NotAudio,
    OverQuota,
    TooLarge,
)
from maie_aiohttp.intake.pieces import Piece
from maie_aiohttp.model import Declared, Upload
from maie_aiohttp.protocols import disposition
from maie_aiohttp.protocols.answers import created, other_type, record
from maie_aiohttp.protocols.body import Body
from maie_aiohttp.protocols.resumable_fields import EXPLICIT, PROGRESSIVE, TYPED, Fields, completeness, parse
from maie_aiohttp.web.appkeys import INTAKE, LIMITS, RESUMPTION
from maie_aiohttp.web.headers import declared_digests, limit_of, offset_fields, upload_limit
from maie_aiohttp.web.locations import location
from maie_aiohttp.web.permission import caller, own_id
from maie_aiohttp.web.problems import answer
from maie_aiohttp.web.trail import note

Handler = Callable[[web.Request, Body], Awaitable[web.Response]]

PARTIAL_UPLOAD = "application/partial-upload"

VERDICTS = (TooLarge, OverQuota, Empty, NotAudio, Infected, DigestMismatch)


def _attributed(handler: Handler) -> Handler:
    """Let refusals say whose they are: a verdict on the upload, as if it had come in one request, or this protocol's,
    which may let the upload go on."""

    @wraps(handler)
    async def attributed(request: web.Request, body: Body) -> web.Response:
        try:
            return await handler(request, body)
        except ChecksumMismatch as error:
            return _refusal(request, DigestMismatch(str(error)), verdict=False)
        except IntakeError as error:
            return _refusal(request, error, verdict=isinstance(error, VERDICTS))

    return attributed


@_attributed
async def create(request: web.Request, body: Body) -> web.Response:
    """Begin an upload with the bytes of this request, and tell early where it can be resumed."""
    fields = parse(request.headers)
    piece = _piece(request, body, fields, 0)
    upload = await request.app[RESUMPTION].create(
        _declared(request, fields), metadata={}, echo={}, caller=caller(request)
    )
    note(request, upload.id)
    place = {"Location": location(request, upload.id), "Upload-Limit": limit_of(upload, request.app[LIMITS].max_size)}
    await _inform(body, fields, place)
    upload = await request.app[RESUMPTION].append(upload.id, piece)
    begun = web.json_response(record(request, upload), status=201, headers=place)
    return _acknowledged(request, fields, upload, begun)


@_attributed
async def append(request: web.Request, body: Body) -> web.Response:
    """Continue an upload. An empty last request, repeated, gets its lost answer again."""
    fields = parse(request.headers)
    if request.content_type != PARTIAL_UPLOAD and fields.dialect >= TYPED:
        refusal = other_type(request, PARTIAL_UPLOAD)
        refusal.headers.update(completeness(False, fields.dialect))
        return refusal
    if fields.offset is None or (fields.last is None and fields.dialect >= EXPLICIT):
        raise Malformed("A request that continues an upload has a valid Upload-Offset and Upload-Complete.")
    piece = _piece(request, body, fields, fields.offset)
    upload = await request.app[RESUMPTION].append(await own_id(request), piece)
    return _acknowledged(request, fields, upload, web.Response(status=204))


async def look(request: web.Request) -> web.Response:
    """Tell how far an upload has come."""
    upload = await request.app[RESUMPTION].look(await own_id(request))
    told = {**offset_fields(upload, request.app[LIMITS].max_size), **_state(upload, parse(request.headers))}
    return web.Response(status=204, headers=told)


async def remove(request: web.Request) -> web.Response:
    """Cancel an upload, or delete a stored one."""
    await request.app[INTAKE].remove(await own_id(request), caller(request))
    return web.Response(status=204)


def options(request: web.Request, max_size: int) -> dict[str, str]:
    """The header fields by which clients find out that this server speaks the protocol; their uploads may have so many
    bytes."""
    expires_at = datetime.now(UTC) + request.app[RESUMPTION].lifetime
    return {"Upload-Limit": upload_limit(max_size, expires_at)}


def _declared(request: web.Request, fields: Fields) -> Declared:
    """The declaration in a creation's header. A client that sends the type of an append says nothing of the file's."""
    media_type = request.headers.get("Content-Type")
    return Declared(
        filename=disposition.filename(request.headers),
        media_type=None if request.content_type == PARTIAL_UPLOAD else media_type,
        at_most=fields.total(0, _size(request)),
        digests=declared_digests(request.headers.getall("Repr-Digest", [])),
    )


def _piece(request: web.Request, body: Body, fields: Fields, offset: int) -> Piece:
    async def durable(reached: int) -> None:
        if fields.dialect >= PROGRESSIVE:
            await _inform(body, fields, {"Upload-Offset": str(reached)})

    return Piece(
        offset=offset,
        chunks=body.chunks(),
        interrupt=body.interrupt,
        size=_size(request),
        length=fields.total(offset, _size(request)),
        last=fields.last,
        digests=declared_digests(request.headers.getall("Content-Digest", [])),
        taken=body.taken,
        durable=durable,
    )


def _size(request: web.Request) -> int | None:
    """Bytes of the content, if the request says so."""
    return request.content_length if request.body_exists else 0


async def _inform(body: Body, fields: Fields, news: Mapping[str, str]) -> None:
    """Send an interim response to clients of a known draft: others must not get one yet."""
    if fields.version is not None:
        version = {"Upload-Draft-Interop-Version": str(fields.version)}
        await body.inform("104 Upload Resumption Supported", {**version, **news})


def _acknowledged(request: web.Request, fields: Fields, upload: Upload, unfinished: web.Response) -> web.Response:
    """The answer to bytes that were taken: of a stored upload the same as at every door."""
    response = created(request, upload) if upload.stored else unfinished
    response.headers.update(_state(upload, fields))
    return response


def _state(upload: Upload, fields: Fields) -> dict[str, str]:
    return {"Upload-Offset": str(upload.offset), **completeness(upload.stored is not None, fields.dialect)}


def _refusal(request: web.Request, error: IntakeError, *, verdict: bool) -> web.Response:
    response = answer(request, error)
    response.headers.update(completeness(verdict, parse(request.headers).dialect))
    if isinstance(error, TooLarge):
        response.headers["Upload-Limit"] = upload_limit(request.app[LIMITS].max_size, None)
    return response
