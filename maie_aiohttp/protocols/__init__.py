"""HTTP turned into uploads. `ROUTES` is everything clients can send bytes to."""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.protocols import dispatch, process, tokens
from maie_aiohttp.protocols.entry import expect
from maie_aiohttp.web.records import COLLECTION, PROCESS

_UPLOAD = f"{COLLECTION}/{{id}}"

ROUTES = (
    web.options(COLLECTION, dispatch.options),
    web.post(COLLECTION, dispatch.create, expect_handler=expect),
    web.post(tokens.PATH, tokens.create, expect_handler=expect),
    web.options(_UPLOAD, dispatch.options),
    web.head(_UPLOAD, dispatch.look),
    web.post(PROCESS, process.receive, expect_handler=expect),
    *(web.route(method, _UPLOAD, dispatch.act, expect_handler=expect) for method in ("PATCH", "DELETE", "POST")),
)
