"""Server-sent events (HTML standard, section 9.2): what becomes of one upload, or of all.

The statuses, `examined` and `deleted` carry the record, and an id from which a client that was away goes on; where that
is too long ago, its stream begins anew, with what there is. `received` carries a number of bytes, a few times a second.
An upload that comes in one request may end without a record: `rejected` for what it is, or else, its sender lost, just
`deleted`. `examined` comes behind `stored`, and so only to those who follow all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import lru_cache
from uuid import UUID

from aiohttp import web

from maie_aiohttp.credentials import Scope
from maie_aiohttp.errors import NotFound
from maie_aiohttp.model import Upload
from maie_aiohttp.progress.events import KEPT, NOTHING, Change, Count, Counts, Listener
from maie_aiohttp.web.appkeys import ACCESS, CATALOG, DRAIN, INTAKE
from maie_aiohttp.web.locations import identifier, root
from maie_aiohttp.web.permission import Action, caller, needs, own
from maie_aiohttp.web.records import as_json

Find = Callable[[web.Request], Awaitable[Sequence[Upload]]]
"""Finds the uploads that a stream begins with."""

HEARTBEAT = 15.0
"""Seconds without a word after which a comment shows that the stream lives; whether the client does, shows then. And
seconds that a client may let one event wait."""

NEWEST = 50
"""Uploads with which the stream of all begins."""

HEADERS = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
COMMENT = b":\n\n"
RETRY = b"retry: 2000\n\n"  # milliseconds


@needs(Scope.READ, to=Action.FOLLOW)
async def follow(request: web.Request) -> web.StreamResponse:
    """`GET /v1/uploads/{id}/events`: from the state the upload is in to its end. A client that has seen the end gets
    204, and browsers then ask no more. Raises `NotFound`."""
    return await _stream(request, identifier(request), _one)


@needs(Scope.READ, to=Action.FOLLOW)
async def follow_all(request: web.Request) -> web.StreamResponse:
    """`GET /v1/events`: the newest uploads, then all that happens, for ever, or until the caller may not come in any
    more. Parts of concatenations are left out."""
    return await _stream(request, None, _newest)


async def _stream(request: web.Request, about: UUID | None, find: Find) -> web.StreamResponse:
    """The connection ends with the answer: where a server stops, the client then looks for the next."""
    response = web.StreamResponse(headers=HEADERS)
    response.force_close()
    try:
        async with request.app[INTAKE].hub.listen(about, caller(request)) as listener:
            with (
                request.app[DRAIN].stream(listener.end),
                request.app[ACCESS].stream(caller(request), listener.end),
            ):
                changes = await _beginning(request, listener, find)
                if changes is None:
                    return web.Response(status=204)
                await response.prepare(request)
                if request.method != "HEAD":
                    await _tell(response, listener, changes, root(request))
    except TimeoutError:
        _let_go(request)
    return response


async def _tell(response: web.StreamResponse, listener: Listener, changes: Sequence[Change], root: str) -> None:
    """Write what happens, as it happens; of one upload, up to its end."""
    counts = NOTHING
    await response.write(RETRY)
    while True:
        for event in _events(changes, counts, root):
            async with asyncio.timeout(HEARTBEAT):
                await response.write(event)
        if listener.about is not None and any(change.is_end for change in changes):
            return
        changes, counts = await listener.news(HEARTBEAT)


def _events(changes: Sequence[Change], counts: Counts, root: str) -> Iterator[bytes]:
    """What there is to write, one event at a time: those that a client does not read are not made."""
    for change in changes:
        yield _change(change, root)
    if counts:
        yield _counts(counts)
    elif not changes:
        yield COMMENT


def _let_go(request: web.Request) -> None:
    """The listener was sent away. If it does not read, it would keep even the end of the answer waiting."""
    if request.transport is not None and request.transport.get_write_buffer_size():
        request.transport.abort()
        raise ConnectionAbortedError("The client does not read.")


async def _beginning(request: web.Request, listener: Listener, find: Find) -> Sequence[Change] | None:
    """What a client missed, or else what there is now; None if it has seen the end."""
    missed = request.app[INTAKE].hub.since(request.headers.get("Last-Event-ID"), listener)
    if missed is None:
        return request.app[INTAKE].hub.snapshot(await find(request), listener)
    over = listener.about is not None and not missed and await _is_over(request)
    return None if over and not listener.changes else missed


async def _one(request: web.Request) -> Sequence[Upload]:
    id = identifier(request)
    return [own(request, request.app[INTAKE].hub.unrecorded.get(id) or await request.app[CATALOG].get(id))]


async def _newest(request: web.Request) -> Sequence[Upload]:
    asks = caller(request)
    unrecorded = [upload for upload in request.app[INTAKE].hub.unrecorded.values() if asks.sees(upload.owner)]
    recorded = await request.app[CATALOG].list(NEWEST, status=None, after=None, owner=asks.reach)
    return [*unrecorded, *reversed(recorded)]


async def _is_over(request: web.Request) -> bool:
    try:
        (upload,) = await _one(request)
    except NotFound:
        return True
    return Change.of(upload).is_end


@lru_cache(maxsize=KEPT)
def _change(change: Change, root: str) -> bytes:
    """Made once for all listeners."""
    return _event(change.name, as_json(change.upload, root), change.id)


@lru_cache(maxsize=16)
def _counts(counts: Counts) -> bytes:
    """Made once for all who listen to all."""
    return b"".join(_event("received", _count(count)) for count in counts)


def _count(count: Count) -> dict[str, object]:
    return {"id": str(count.upload.id), "received": count.received, "size": count.upload.size}


def _event(name: str, data: object, id: str | None = None) -> bytes:
    fields = {"id": id, "event": name, "data": json.dumps(data)}
    return b"%b\n" % "".join(f"{field}: {value}\n" for field, value in fields.items() if value is not None).encode()
