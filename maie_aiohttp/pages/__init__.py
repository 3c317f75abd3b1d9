"""What can be looked at. `ROUTES` is all of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from maie_aiohttp.pages import content, events, handoffs, health, openapi, status, uploads, waveform
from maie_aiohttp.web.records import COLLECTION, STATUS

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _expect(request: web.Request) -> None:
    """No body is ever asked for: nobody reads one here. Raises 417."""
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        raise web.HTTPExpectationFailed


def _page(path: str, handler: _Handler, *, allow_head: bool = True) -> web.RouteDef:
    return web.get(path, handler, expect_handler=_expect, allow_head=allow_head)


ROUTES = (
    _page(COLLECTION, uploads.list_uploads),
    _page(f"{COLLECTION}/{{id}}", uploads.show, allow_head=False),
    _page(f"{COLLECTION}/{{id}}/content", content.content),
    _page(f"{COLLECTION}/{{id}}/waveform", waveform.waveform, allow_head=False),
    _page(f"{COLLECTION}/{{id}}/events", events.follow),
    _page("/v1/events", events.follow_all),
    _page("/v1/handoffs", handoffs.list_handoffs),
    web.post("/v1/handoffs/{id}/replay", handoffs.replay, expect_handler=_expect),
    _page(f"{STATUS}/{{id}}", status.status),
    _page("/health", health.health),
    _page("/ready", health.ready),
    _page("/openapi.json", openapi.openapi),
)
