"""What a request is called, in its answer and in every line that is logged for it."""

from __future__ import annotations

import re
from uuid import uuid4

from aiohttp import web

REQUEST_ID = "X-Request-ID"

_ID = web.RequestKey("id", str)
_PLAIN = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)


def request_id(request: web.Request) -> str:
    """The client's own, if it sent a plain one. The same each time it is asked for; aiohttp answers some requests
    before any middleware sees them."""
    if _ID not in request:
        given = request.headers.get(REQUEST_ID, "")
        request[_ID] = given if _PLAIN.fullmatch(given) else uuid4().hex
    return request[_ID]
