"""Which door a request knocks at. `POST /v1/uploads` has four; of an upload that is there already, those who say so
speak in tus, all others in the IETF's protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

from aiohttp import web

from maie_aiohttp.credentials import Scope
from maie_aiohttp.model import Upload
from maie_aiohttp.protocols import multipart, raw, resumable, tus
from maie_aiohttp.protocols.answers import created, digest, record
from maie_aiohttp.protocols.entry import entered
from maie_aiohttp.protocols.resumable_fields import parse
from maie_aiohttp.web.appkeys import INTAKE
from maie_aiohttp.web.locations import location
from maie_aiohttp.web.permission import Action, known_caller, needs
from maie_aiohttp.web.problems import http_answer
from maie_aiohttp.web.trail import note

COLLECTION_METHODS = "GET, HEAD, OPTIONS, POST"
UPLOAD_METHODS = "DELETE, GET, HEAD, OPTIONS, PATCH, POST"


@needs(Scope.UPLOAD, to=Action.CREATE)
async def create(request: web.Request) -> web.Response:
    """Take one request's files, or the beginning of one, and answer 201 once that cannot be lost."""
    with entered(request) as body:
        if _speaks_tus(request):
            return await tus.create(request, body)
        if request.content_type == "multipart/form-data":
            return _created_all(request, await multipart.receive(request, body))
        if _speaks_resumable(request):
            return await resumable.create(request, body)
        return created(request, await raw.receive(request, body))


@needs(Scope.UPLOAD, Scope.READ, to=Action.LOOK)
async def look(request: web.Request) -> web.Response:
    """How far the upload came."""
    return await (tus.look(request) if _speaks_tus(request) else resumable.look(request))


@needs(Scope.UPLOAD, to=Action.APPEND)
async def append(request: web.Request) -> web.Response:
    """More bytes."""
    with entered(request) as body:
        return await (tus.append(request, body) if _speaks_tus(request) else resumable.append(request, body))


@needs(Scope.DELETE, to=Action.DELETE)
async def remove(request: web.Request) -> web.Response:
    """Record and bytes are gone for good, in whatever state the upload is."""
    return await (tus.remove(request) if _speaks_tus(request) else resumable.remove(request))


async def act(request: web.Request) -> web.Response:
    """Do what the method says; or, for clients that cannot send every method, the field that stands for it (tus 1.0.0,
    X-HTTP-Method-Override). It does not come here with a safe method: those change nothing, whatever a field says."""
    verb = VERBS.get(request.headers.get("X-HTTP-Method-Override", request.method).upper())
    if verb is None:
        return http_answer(request, 405, {"Allow": UPLOAD_METHODS})
    return await verb(request)


async def options(request: web.Request) -> web.Response:
    """What may be sent here, in both protocols."""
    allowed = {
        "Allow": UPLOAD_METHODS if "id" in request.match_info else COLLECTION_METHODS,
        "Accept-Patch": f"{resumable.PARTIAL_UPLOAD}, {tus.CONTENT_TYPE}",
    }
    max_size = await _max_size(request)
    return web.Response(
        status=204, headers={**allowed, **tus.options(max_size), **resumable.options(request, max_size)}
    )


VERBS: Mapping[str, Callable[[web.Request], Awaitable[web.Response]]] = MappingProxyType(
    {"HEAD": look, "PATCH": append, "DELETE": remove}
)


async def _max_size(request: web.Request) -> int:
    """Bytes that an upload of whoever asks may have now; who they are nobody needs to say."""
    intake, asks = request.app[INTAKE], known_caller(request)
    if asks is None:
        return intake.rules.max_size
    max_size, left = intake.max_size(asks), await intake.quotas.left(asks)
    return max_size if left is None else min(max_size, left)


def _speaks_tus(request: web.Request) -> bool:
    """By its version field, or by the type of its content, unless a draft of the other protocol is named: some clients
    send the same type there."""
    typed = request.content_type == tus.CONTENT_TYPE
    return "Tus-Resumable" in request.headers or (typed and "Upload-Draft-Interop-Version" not in request.headers)


def _speaks_resumable(request: web.Request) -> bool:
    """A request that creates something says whether that ends with it."""
    return parse(request.headers).complete is not None


def _created_all(request: web.Request, uploads: Sequence[Upload]) -> web.Response:
    note(request, *(upload.id for upload in uploads))
    headers = {"Location": location(request, uploads[0].id)}
    if len(uploads) == 1:
        headers |= digest(uploads[0])
    records = [record(request, upload) for upload in uploads]
    return web.json_response({"uploads": records}, status=201, headers=headers)
