"""Pages of other origins: which may use this server from a browser, and what they may send and see (Fetch standard,
section 3.2). No cookies or other credentials that a browser keeps are ever at play."""

from __future__ import annotations

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from maie_aiohttp.settings import Cors

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST")

SENT = (
    "Authorization",
    "Content-Digest",
    "Content-Disposition",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "Repr-Digest",
    "Tus-Resumable",
    "Upload-Checksum",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Draft-Interop-Version",
    "Upload-Incomplete",
    "Upload-Length",
    "Upload-Limit",
    "Upload-Metadata",
    "Upload-Offset",
    "X-API-Key",
    "X-HTTP-Method-Override",
    "X-Request-ID",
    "X-Requested-With",
)
"""Request headers beyond those that browsers let pass unasked."""

SHOWN = (
    "Accept-Patch",
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Location",
    "Preference-Applied",
    "Repr-Digest",
    "Retry-After",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Draft-Interop-Version",
    "Upload-Expires",
    "Upload-Incomplete",
    "Upload-Length",
    "Upload-Limit",
    "Upload-Metadata",
    "Upload-Offset",
    "WWW-Authenticate",
    "X-Request-ID",
)
"""Response headers beyond those that browsers show unasked."""


def allow_origins(app: web.Application, cors: Cors) -> None:
    """Let pages of `cors.origins` use `app`. Without any, the answers have no word of it."""
    if cors.origins:
        policy = _Policy(cors)
        app.middlewares.append(policy.answer_preflight)
        app.on_response_prepare.append(policy.add_headers)


class _Policy:
    def __init__(self, cors: Cors) -> None:
        self._origins = frozenset(cors.origins)
        self._preflight_headers = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(METHODS),
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join(SENT),
            hdrs.ACCESS_CONTROL_MAX_AGE: str(int(cors.max_age)),
        }
        self._actual_headers = {hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: ", ".join(SHOWN)}

    @web.middleware
    async def answer_preflight(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Say yes to whatever an allowed page is about to send; if that is wrong, its own answer says so."""
        if _is_preflight(request) and self._allowed(request):
            return web.Response(status=204)
        return await handler(request)

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """On every response, errors too: without them a page learns nothing but that something failed."""
        if "*" not in self._origins:
            response.headers.add(hdrs.VARY, hdrs.ORIGIN)  # on all, or a cache would give one page another one's answer
        if allowed := self._allowed(request):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = allowed
            response.headers.update(self._preflight_headers if _is_preflight(request) else self._actual_headers)

    def _allowed(self, request: web.Request) -> str | None:
        """What `Access-Control-Allow-Origin` says. None for requests of other origins, or of none."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return None
        if "*" in self._origins:
            return "*"
        return origin if origin in self._origins else None


def _is_preflight(request: web.Request) -> bool:
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
