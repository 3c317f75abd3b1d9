"""Errors as answers: RFC 9457 `application/problem+json`, from one table. No traceback, no echo of the request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog
from aiohttp import web

from maie_aiohttp import errors


@dataclass(frozen=True, slots=True)
class Kind:
    """One problem type: what is the same each time it occurs."""

    status: int
    slug: str
    headers: Mapping[str, str] | None = None

    @property
    def title(self) -> str:
        """The name of the status."""
        return TITLES[self.status]

    @property
    def type(self) -> str:
        """The problem's `type`: a name that stays the same."""
        return f"urn:maie:problem:{self.slug}"


TITLES: Mapping[int, str] = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    422: "Unprocessable Content",
    500: "Internal Server Error",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}
"""As RFC 9110 and RFC 4918 have them; Python's names for these differ from version to version."""

KINDS: Mapping[type[errors.IntakeError], Kind] = {
    errors.IntakeError: Kind(500, "internal"),
    errors.Rejected: Kind(422, "rejected"),
    errors.Malformed: Kind(400, "malformed"),
    errors.Truncated: Kind(400, "truncated"),
    errors.DigestMismatch: Kind(400, "digest-mismatch"),
    errors.TooLarge: Kind(413, "too-large"),
    errors.Empty: Kind(422, "empty"),
    errors.NotAudio: Kind(415, "not-audio"),
    errors.TooSlow: Kind(408, "too-slow"),
    errors.NotFound: Kind(404, "not-found"),
    errors.Damaged: Kind(500, "damaged"),
    errors.Draining: Kind(503, "draining", {"Retry-After": "5"}),
    errors.Busy: Kind(503, "busy", {"Retry-After": "1"}),
    errors.StorageFull: Kind(507, "storage-full"),
    errors.StorageFailed: Kind(500, "storage-failed"),
}

INTERNAL = KINDS[errors.IntakeError]

HTTP_KINDS: Mapping[int, Kind] = {
    kind.status: kind
    for kind in (
        Kind(400, "bad-request"),
        KINDS[errors.NotFound],
        Kind(405, "method-not-allowed"),
        Kind(412, "precondition-failed"),
        Kind(416, "range-not-satisfiable"),
        Kind(417, "expectation-failed"),
    )
}
"""By status: what only HTTP knows."""

log = structlog.get_logger()


def answer(request: web.BaseRequest, error: errors.IntakeError) -> web.Response:
    """The response to an error of ours, logged in one line."""
    kind = KINDS[type(error)]
    line = log.error if kind.status == INTERNAL.status else log.info
    line("request refused", method=request.method, path=sent_path(request), status=kind.status, reason=str(error))
    return problem(request, kind, str(error))


def sent_path(request: web.BaseRequest) -> str:
    """The path as it was sent, escaped: decoded, it could hold line ends and terminal controls."""
    return request.rel_url.raw_path


def http_answer(request: web.BaseRequest, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """The response to what only HTTP knows: 404 for a path, 405 for a method, 417 for an expectation. A status that
    nobody expects here is an internal error."""
    kind = replace(HTTP_KINDS.get(status, INTERNAL), headers=headers)
    return problem(request, kind, f"{kind.title}.")


def problem(request: web.BaseRequest, kind: Kind, detail: str) -> web.Response:
    """A problem document. The connection ends with it if the request's body was not read: what follows in the socket
    is not the next request."""
    document = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
    }
    response = web.Response(
        status=kind.status,
        body=json.dumps(document).encode(),
        content_type="application/problem+json",
        headers=kind.headers,
    )
    if not request.content.at_eof():
        response.force_close()
    return response
