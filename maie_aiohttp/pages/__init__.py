"""What can be looked at. `ROUTES` is all of it."""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.pages import content, health, uploads
from maie_aiohttp.records import COLLECTION

ROUTES = (
    web.get(COLLECTION, uploads.list_uploads),
    web.get(f"{COLLECTION}/{{id}}", uploads.show, allow_head=False),
    web.get(f"{COLLECTION}/{{id}}/content", content.content),
    web.get("/health", health.health),
    web.get("/ready", health.ready),
)
