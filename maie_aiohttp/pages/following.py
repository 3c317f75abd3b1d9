"""The bytes of an upload while it arrives: those that cannot be lost any more, then the next ones, up to its end.

The answer ends as it should only with the last byte that was asked for; the last one of an upload comes once that is
stored. Whatever else ends it breaks it off, so that nobody takes a part for all of it. `Range: bytes=N-` then goes on.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import structlog
from aiohttp import web

from maie_aiohttp.errors import Damaged, Gone, InconsistentLength, Malformed, TooSlow, Unauthenticated
from maie_aiohttp.intake.pieces import check_open
from maie_aiohttp.interfaces import HEAD, Read
from maie_aiohttp.model import UNDECIDED, Status, Upload
from maie_aiohttp.web.appkeys import ACCESS, CATALOG, DRAIN, FOLLOWERS, INTAKE, STORE
from maie_aiohttp.web.headers import attachment, preferences
from maie_aiohttp.web.locations import identifier
from maie_aiohttp.web.permission import caller, own
from maie_aiohttp.web.problems import http_answer

WAIT = 60
"""Seconds without another byte after which a client is sent away, unless it says how long it would wait."""

LONGEST_WAIT = 600
"""Seconds that it may say."""

VERY_LARGE = 2**53 - 1
"""The last byte of what has no known end (RFC 8673, section 2.2)."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Wish:
    """That of a client which follows."""

    wait: int
    """Seconds."""
    preferred: bool
    """Whether it came as a preference (RFC 7240)."""

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says of it."""
        return {"Preference-Applied": f"wait={self.wait}"} if self.preferred else {}


async def follow(request: web.Request) -> web.StreamResponse | None:
    """The answer to a client that would follow an upload which arrives; None where one or the other is not so. What a
    malware scanner still has to look through counts as not there. Raises `Malformed`, `NotFound`, `Busy`, `Draining`,
    and once the answer has begun, whatever breaks it off."""
    wish = _wish(request)
    if wish is None or request.app[INTAKE].scanner.has_a_say:
        return None
    id, store = identifier(request), request.app[STORE]
    async with store.opened(store.locator_of(id)) as read:
        upload = own(request, await request.app[CATALOG].get(id))  # after opening: if it arrives, that file is its own
        if read is None or upload.status not in UNDECIDED or upload.is_partial:
            return None
        check_open(upload)
        return await _answer(request, upload, read, wish)


def _wish(request: web.Request) -> _Wish | None:
    asked = request.query.get("follow", "0")
    if asked not in ("0", "1"):
        raise Malformed("`follow` is 0 or 1.")
    match preferences(request.headers.getall("Prefer", [])).get("wait"):
        case True:
            return _Wish(WAIT, preferred=True)
        case int(seconds) if seconds >= 0:
            return _Wish(min(seconds, LONGEST_WAIT), preferred=True)
    return _Wish(WAIT, preferred=False) if asked == "1" else None


async def _answer(request: web.Request, upload: Upload, read: Read, wish: _Wish) -> web.StreamResponse:
    if request.if_match and all(tag.value != "*" for tag in request.if_match):
        return http_answer(request, 412)
    wanted = _range(request, upload)
    if wanted is None:
        return http_answer(request, 416, {"Content-Range": f"bytes */{upload.size}"})
    response = _begun(upload, wanted, wish)
    try:
        async with asyncio.timeout(None) as lifetime:
            end = partial(_end, lifetime)
            with (
                request.app[FOLLOWERS].one_more(),
                request.app[DRAIN].stream(end),
                request.app[ACCESS].stream(caller(request), end),
            ):
                await response.prepare(request)
                if request.method != "HEAD":
                    log.info("upload followed", upload=str(upload.id), start=wanted.start)
                    await _send(request, response, upload, read, wanted, wish.wait)
    except TimeoutError:
        request.app[DRAIN].check()
        raise Unauthenticated("The API key is not valid any more.") from None
    return response


def _begun(upload: Upload, wanted: range, wish: _Wish) -> web.StreamResponse:
    """The beginning of the answer. Neither type nor digest is known yet."""
    name = {"Content-Disposition": attachment(upload.filename)}
    response = web.StreamResponse(headers={"Accept-Ranges": "bytes", "X-Accel-Buffering": "no", **name, **wish.headers})
    response.content_type = "application/octet-stream"
    if upload.size is not None:
        response.content_length = len(wanted)
    if len(wanted) < len(_whole(upload)):
        response.set_status(206)
        size = "*" if upload.size is None else upload.size
        response.headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
    return response


def _whole(upload: Upload) -> range:
    return range(VERY_LARGE + 1 if upload.size is None else upload.size)


def _range(request: web.Request, upload: Upload) -> range | None:
    """The bytes asked for, None if there will be none of them. Of an upload of unknown length, only a range without an
    end counts, or with a very large one; of any upload, only without a condition: there is no tag yet."""
    whole = _whole(upload)
    if request.method != "GET" or "If-Range" in request.headers:
        return whole
    try:
        asked = request.http_range
    except ValueError:
        return whole
    if upload.size is None and ((asked.start or 0) < 0 or asked.stop not in (None, whole.stop)):
        return whole
    return whole[asked] or None


async def _send(
    request: web.Request, response: web.StreamResponse, upload: Upload, read: Read, wanted: range, wait: int
) -> None:
    place = wanted.start
    while True:
        ready = min(_ready(upload), wanted.stop)
        async with aclosing(read(place, ready)) as pieces:
            async for piece in pieces:
                await response.write(piece)
        place = max(place, ready)
        if upload.stored is not None or place == wanted.stop:
            break
        upload = await _later(request, upload, wait)
    if place > _ready(upload):
        raise InconsistentLength("The upload ended before what was asked for.")
    await response.write_eof()


async def _later(request: web.Request, upload: Upload, wait: int) -> Upload:
    """The upload once there is more of it, or all. Raises what has become of it instead."""
    followers = request.app[FOLLOWERS]
    try:
        async with asyncio.timeout(wait):
            while True:
                later = _going_on(await followers.look(upload.id))
                if request.transport is None:
                    raise ConnectionResetError("The client has gone.")
                if later.stored is not None or _ready(later) > _ready(upload):
                    return later
    except TimeoutError:
        raise TooSlow("No more bytes of the upload have come.") from None


def _going_on(upload: Upload | None) -> Upload:
    if upload is None:
        raise Gone("The upload was deleted.")
    check_open(upload)
    if upload.status is Status.DAMAGED:
        raise Damaged("The stored recording is damaged; it is not given out.")
    return upload


def _ready(upload: Upload) -> int:
    """Bytes that can be given out: that cannot be lost, and of which the first have shown that they are audio."""
    if upload.stored is not None:
        return upload.stored.size
    return upload.offset if upload.offset >= HEAD else 0


def _end(lifetime: asyncio.Timeout) -> None:
    if not lifetime.expired():
        lifetime.reschedule(0)
