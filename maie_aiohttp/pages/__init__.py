"""What can be looked at. `ROUTES` is all of it."""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.pages import content, events, health, openapi, uploads
from maie_aiohttp.records import COLLECTION

ROUTES = (
    web.get(COLLECTION, uploads.list_uploads),
    web.get(f"{COLLECTION}/{{id}}", uploads.show, allow_head=False),
    web.get(f"{COLLECTION}/{{id}}/content", content.content),
    web.get(f"{COLLECTION}/{{id}}/events", events.follow),
    web.get("/v1/events", events.follow_all),
    web.get("/health", health.health),
    web.get("/ready", health.ready),
    web.get("/openapi.json", openapi.openapi),
)
