"""The tus door: version 1.0.0 with all extensions but `checksum-trailer`, for aiohttp drops the trailers of requests.

https://tus.io/protocols/resumable-upload
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Concatenate, ParamSpec
from uuid import UUID

from aiohttp import web

from maie_aiohttp.errors import ChecksumMismatch, Complete, InconsistentLength, Malformed, OffsetMismatch
from maie_aiohttp.intake.pieces import Piece
from maie_aiohttp.model import Declared, Metadata, Upload
from maie_aiohttp.protocols import tus_fields as fields
from maie_aiohttp.protocols.answers import created, digest, other_type
from maie_aiohttp.protocols.body import Body
from maie_aiohttp.web.appkeys import CATALOG, INTAKE, RESUMPTION
from maie_aiohttp.web.headers import declared_digests, display_name
from maie_aiohttp.web.permission import caller, own_id
from maie_aiohttp.web.problems import http_answer
from maie_aiohttp.web.trail import note

CONTENT_TYPE = "application/offset+octet-stream"

ECHOED = ("Upload-Metadata", "Upload-Concat")

_Rest = ParamSpec("_Rest")
_Handler = Callable[Concatenate[web.Request, _Rest], Awaitable[web.Response]]


def _versioned(handler: _Handler[_Rest]) -> _Handler[_Rest]:
    """Process only requests of the version spoken here."""

    @wraps(handler)
    async def answer(request: web.Request, /, *rest: _Rest.args, **named: _Rest.kwargs) -> web.Response:
        if request.headers.get("Tus-Resumable") != fields.VERSION:
            return http_answer(request, 412, {"Tus-Version": fields.VERSION})
        return await handler(request, *rest, **named)

    return answer


def options(max_size: int) -> dict[str, str]:
    """What `OPTIONS` tells of this door, to somebody whose uploads may have so many bytes."""
    return {
        "Tus-Resumable": fields.VERSION,
        "Tus-Version": fields.VERSION,
        "Tus-Extension": ",".join(fields.EXTENSIONS),
        "Tus-Max-Size": str(max_size),
        "Tus-Checksum-Algorithm": ",".join(fields.DIGEST_SIZES),
    }


@_versioned
async def create(request: web.Request, body: Body) -> web.Response:
    """Begin an upload, perhaps with its first bytes, or put one together from others."""
    if request.body_exists and request.content_type != CONTENT_TYPE:
        return other_type(request, CONTENT_TYPE)
    field = partial(fields.only, request.headers)
    concat = field("Upload-Concat")
    if concat is not None and (parts := fields.parts(concat)):
        return _created(request, await _concatenated(request, parts))
    length = fields.length(field("Upload-Length"), field("Upload-Defer-Length"))
    piece = _piece(request, body, offset=0) if request.body_exists else None
    declared, metadata = _declared(request, length)
    upload = await request.app[RESUMPTION].create(
        declared, metadata=metadata, echo=_echo(request), caller=caller(request), partial=concat is not None
    )
    note(request, upload.id)
    return _created(request, await _begun(request, upload.id, piece) if piece else upload)


@_versioned
async def look(request: web.Request) -> web.Response:
    """Tell how far the upload is."""
    upload = await request.app[RESUMPTION].look(await own_id(request))
    length = {"Upload-Defer-Length": "1"} if upload.size is None else {"Upload-Length": str(upload.size)}
    echo = upload.terms.echo if upload.terms else {}
    return web.Response(headers={**_offset(upload), **length, **_expiry(upload), **echo})


@_versioned
async def append(request: web.Request, body: Body) -> web.Response:
    """Go on with an upload."""
    if request.content_type != CONTENT_TYPE:
        return other_type(request, CONTENT_TYPE)
    id, offset = await own_id(request), _number(request, "Upload-Offset")
    if offset is None:
        raise Malformed("Upload-Offset is missing.")
    try:
        upload = await request.app[RESUMPTION].append(id, _piece(request, body, offset=offset))
    except (OffsetMismatch, InconsistentLength):
        _check_not_final(await request.app[CATALOG].get(id))
        raise
    _check_not_final(upload)
    return web.Response(status=204, headers={**_offset(upload), **_expiry(upload), **digest(upload)})


@_versioned
async def remove(request: web.Request) -> web.Response:
    """Delete an upload, whatever its state."""
    await request.app[INTAKE].remove(await own_id(request), caller(request))
    return web.Response(status=204)


async def _concatenated(request: web.Request, parts: Sequence[UUID]) -> Upload:
    if "Upload-Length" in request.headers or "Upload-Defer-Length" in request.headers:
        raise Malformed("The length of a final upload is that of its parts; it is not sent.")
    if request.body_exists:
        raise Complete("A final upload has no bytes but those of its parts.")
    declared, metadata = _declared(request, None)
    return await request.app[RESUMPTION].concatenate(
        parts, declared, metadata=metadata, echo=_echo(request), caller=caller(request)
    )


async def _begun(request: web.Request, id: UUID, piece: Piece) -> Upload:
    """The new upload with its first bytes. If they are broken it goes again: its client never learns where it is."""
    try:
        return await request.app[RESUMPTION].append(id, piece)
    except ChecksumMismatch:
        await request.app[INTAKE].remove(id)
        raise


def _is_final(upload: Upload) -> bool:
    """Whether it is made of others."""
    return upload.terms is not None and upload.terms.echo.get("Upload-Concat", "partial") != "partial"


def _check_not_final(upload: Upload) -> None:
    """Raises `Complete`, whatever else may be wrong with an append."""
    if _is_final(upload):
        raise Complete("A final upload has no bytes but those of its parts.")


def _piece(request: web.Request, body: Body, *, offset: int) -> Piece:
    return Piece(
        offset,
        body.chunks(),
        body.interrupt,
        size=request.content_length if request.body_exists else 0,
        length=_number(request, "Upload-Length"),
        digests=_digests(request),
        taken=body.taken,
    )


def _digests(request: web.Request) -> Mapping[str, bytes]:
    """Of this request's bytes."""
    digests = declared_digests(request.headers.getall("Content-Digest", []))
    checksum = fields.only(request.headers, "Upload-Checksum")
    return digests if checksum is None else {**digests, **fields.checksum(checksum)}


def _declared(request: web.Request, length: int | None) -> tuple[Declared, Metadata]:
    metadata = fields.metadata(fields.only(request.headers, "Upload-Metadata") or "")
    declared = Declared(
        filename=display_name(metadata.get("filename") or metadata.get("name")),
        media_type=metadata.get("filetype") or metadata.get("type"),
        at_most=length,
        digests=declared_digests(request.headers.getall("Repr-Digest", [])),
    )
    return declared, metadata


def _echo(request: web.Request) -> Mapping[str, str]:
    return {name: value for name in ECHOED if (value := request.headers.get(name))}


def _number(request: web.Request, name: str) -> int | None:
    text = fields.only(request.headers, name)
    return None if text is None else fields.number(text)


def _created(request: web.Request, upload: Upload) -> web.Response:
    response = created(request, upload)
    response.headers.update({**_expiry(upload), **(_offset(upload) if request.body_exists else {})})
    return response


def _offset(upload: Upload) -> dict[str, str]:
    return {} if _is_final(upload) and not upload.stored else {"Upload-Offset": str(upload.offset)}


def _expiry(upload: Upload) -> dict[str, str]:
    return {"Upload-Expires": fields.expires(upload.expires_at)} if upload.expires_at else {}
