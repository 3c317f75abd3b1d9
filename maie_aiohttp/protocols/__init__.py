"""HTTP turned into uploads. `ROUTES` is everything clients can send bytes to."""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.protocols import create, resume
from maie_aiohttp.protocols.entry import expect
from maie_aiohttp.records import COLLECTION

ROUTES = (
    web.options(COLLECTION, resume.options),
    web.post(COLLECTION, create.create, expect_handler=expect),
    web.options(f"{COLLECTION}/{{id}}", resume.options),
    *(web.route(method, f"{COLLECTION}/{{id}}", resume.act, expect_handler=expect) for method in resume.METHODS),
)
