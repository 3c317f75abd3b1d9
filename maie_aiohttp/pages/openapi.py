"""`GET /openapi.json`: the whole HTTP interface, for programs (OpenAPI 3.1)."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from aiohttp import web

from maie_aiohttp.web.locations import root


async def openapi(request: web.Request) -> web.Response:
    """The document, with the address at which this server is found."""
    servers = [{"url": root(request) or "/"}]
    return web.json_response({**_document(), "servers": servers})


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(files(__package__).joinpath("openapi.json").read_bytes())
    document["info"]["version"] = version("maie-aiohttp")
    return document
