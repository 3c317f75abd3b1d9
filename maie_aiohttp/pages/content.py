"""`GET /v1/uploads/{id}/content`: the bytes as they were sent, in whole or in part, inert in any browser."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial

import structlog
from aiohttp import ETag, web

from maie_aiohttp.credentials import Scope
from maie_aiohttp.errors import Damaged, NotFound, StorageFailed
from maie_aiohttp.intake.pieces import check_open
from maie_aiohttp.model import Status, Stored, Upload
from maie_aiohttp.pages.following import follow
from maie_aiohttp.upkeep.reconcile import confirm_damage, is_unreadable
from maie_aiohttp.web.appkeys import CATALOG, INTAKE, STORE
from maie_aiohttp.web.headers import attachment, repr_digest
from maie_aiohttp.web.locations import identifier
from maie_aiohttp.web.permission import Action, needs, own
from maie_aiohttp.web.problems import http_answer

log = structlog.get_logger()


@needs(Scope.READ, to=Action.READ)
async def content(request: web.Request) -> web.StreamResponse:
    """Answer with the recording, one range of it (RFC 9110, section 14), or 304 to who has it already; to who would
    follow it, while it arrives."""
    followed = await follow(request)
    if followed is not None:
        return followed
    upload, stored = await intact(request)
    etag = ETag(stored.sha256)
    strong = tuple(candidate for candidate in request.if_match or () if not candidate.is_weak)
    if request.if_match and not _matches(strong, etag):
        return http_answer(request, 412)
    if request.if_none_match and _matches(request.if_none_match, etag):
        return web.Response(status=304, headers=_headers(upload.filename, stored))
    wanted = _range(request, stored)
    if wanted is None:
        return http_answer(request, 416, {"Content-Range": f"bytes */{stored.size}"})
    return await _send(request, upload, stored, wanted)


async def intact(request: web.Request) -> tuple[Upload, Stored]:
    """The upload asked for, if its recording is there as it was sent. Raises `NotFound`, `Gone` and `Damaged`."""
    catalog, store = request.app[CATALOG], request.app[STORE]
    upload = own(request, await catalog.get(identifier(request)))
    check_open(upload)
    if upload.stored is None:
        raise NotFound("The upload is not complete yet.")
    if upload.status is Status.STORED:
        if await store.size(upload.stored.locator) == upload.stored.size:
            return upload, upload.stored
        if not await confirm_damage(store, catalog, upload, request.app[INTAKE].hub.publish):
            raise NotFound("The upload is just being deleted.")
    raise Damaged("The stored recording is damaged; it is not given out.")


async def _send(request: web.Request, upload: Upload, stored: Stored, wanted: range) -> web.StreamResponse:
    partly = len(wanted) < stored.size
    response = web.StreamResponse(status=206 if partly else 200, headers=_headers(upload.filename, stored))
    response.content_type = stored.media_type
    response.content_length = len(wanted)
    if partly:
        response.headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{stored.size}"
    await response.prepare(request)
    if request.method != "HEAD":
        log.info("upload read", upload=str(upload.id), start=wanted.start, size=len(wanted))
        await _stream(request, response, upload, stored.locator, wanted)
    return response


async def _stream(
    request: web.Request, response: web.StreamResponse, upload: Upload, locator: str, wanted: range
) -> None:
    """Send the bytes. Damage that is met on the way is recorded, and breaks the answer off (see `middlewares`)."""
    store, place = request.app[STORE], wanted.start
    try:
        async with aclosing(store.read(locator, wanted.start, wanted.stop)) as pieces:
            async for piece in pieces:
                await response.write(piece)
                place += len(piece)
    except (Damaged, StorageFailed):
        differs, publish = partial(is_unreadable, place=place), request.app[INTAKE].hub.publish
        await confirm_damage(store, request.app[CATALOG], upload, publish, differs=differs)
        raise
    await response.write_eof()


def _headers(filename: str | None, stored: Stored) -> dict[str, str]:
    return {
        "ETag": f'"{stored.sha256}"',
        "Repr-Digest": repr_digest(stored.sha256),
        "Accept-Ranges": "bytes",
        "Content-Disposition": attachment(filename),
    }


def _matches(candidates: tuple[ETag, ...], etag: ETag) -> bool:
    return any(candidate.value in ("*", etag.value) for candidate in candidates)


def _range(request: web.Request, stored: Stored) -> range | None:
    """The bytes asked for: all, unless GET names one satisfiable range of this very recording. None if no byte of it
    exists. Several ranges, or none that can be read, count as none named (RFC 9110, section 14.2)."""
    whole = range(stored.size)
    if request.method != "GET":
        return whole
    if request.headers.get("If-Range", f'"{stored.sha256}"') != f'"{stored.sha256}"':
        return whole
    try:
        asked = request.http_range
    except ValueError:
        return whole
    return whole[asked] or None
