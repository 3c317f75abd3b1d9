"""HTTP turned into uploads. `ROUTES` is everything clients can send bytes to."""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.protocols import create
from maie_aiohttp.records import COLLECTION

ROUTES = (web.post(COLLECTION, create.create, expect_handler=create.expect),)
