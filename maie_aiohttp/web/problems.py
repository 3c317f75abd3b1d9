"""Errors as answers: RFC 9457 `application/problem+json`, from one table. No traceback, no echo of the request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import structlog
from aiohttp import web

from maie_aiohttp import errors


@dataclass(frozen=True, slots=True)
class Kind:
    """One problem type: what is the same each time it occurs."""

    status: int
    slug: str
    headers: Mapping[str, str] | None = None
    registered: str = ""
    """The name in IANA's registry of problem types (RFC 9457, section 4.2), if it stands there."""

    @property
    def title(self) -> str:
        """The name of the status."""
        return TITLES[self.status]

    @property
    def type(self) -> str:
        """The problem's `type`: a name that stays the same."""
        return f"{REGISTRY}#{self.registered}" if self.registered else f"urn:maie:problem:{self.slug}"


REGISTRY = "https://iana.org/assignments/http-problem-types"


TITLES: Mapping[int, str] = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    422: "Unprocessable Content",
    423: "Locked",
    429: "Too Many Requests",
    460: "Checksum Mismatch",
    500: "Internal Server Error",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}
"""As RFC 9110, RFC 4918, RFC 6585 and tus 1.0.0 have them; Python's names for these differ from version to version."""

KINDS: Mapping[type[errors.IntakeError], Kind] = {
    errors.IntakeError: Kind(500, "internal"),
    errors.Malformed: Kind(400, "malformed"),
    errors.Truncated: Kind(400, "truncated"),
    errors.DigestMismatch: Kind(400, "digest-mismatch"),
    errors.InconsistentLength: Kind(400, "inconsistent-length", registered="inconsistent-upload-length"),
    errors.TooLarge: Kind(413, "too-large"),
    errors.TooLong: Kind(413, "too-long"),
    errors.Empty: Kind(422, "empty"),
    errors.NotAudio: Kind(415, "not-audio"),
    errors.Infected: Kind(422, "infected"),
    errors.KeyReused: Kind(422, "idempotency-key-reused"),
    errors.InvalidTask: Kind(422, "invalid-task"),
    errors.TooSlow: Kind(408, "too-slow"),
    errors.Unauthenticated: Kind(401, "unauthenticated", {"WWW-Authenticate": "Bearer"}),
    errors.NotPermitted: Kind(403, "not-permitted"),
    errors.CrossSite: Kind(403, "cross-site"),
    errors.TokenUsed: Kind(409, "token-used"),
    errors.NotFound: Kind(404, "not-found"),
    errors.Gone: Kind(410, "gone"),
    errors.Complete: Kind(403, "complete"),
    errors.OffsetMismatch: Kind(409, "offset-mismatch", registered="mismatching-upload-offset"),
    errors.ChecksumMismatch: Kind(460, "checksum-mismatch"),
    errors.Locked: Kind(423, "locked", {"Retry-After": "1"}),
    errors.Undecodable: Kind(422, "undecodable"),
    errors.Superseded: Kind(409, "superseded"),
    errors.Damaged: Kind(500, "damaged"),
    errors.Draining: Kind(503, "draining", {"Retry-After": "5"}),
    errors.Busy: Kind(503, "busy", {"Retry-After": "1"}),
    errors.OverQuota: Kind(429, "over-quota"),
    errors.QueueFull: Kind(429, "queue-full"),
    errors.NotConfigured: Kind(404, "not-configured"),
    errors.TooMany: Kind(429, "too-many-requests"),
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
        Kind(415, "unsupported-media-type"),
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
    if isinstance(error, errors.OffsetMismatch):
        return _offset_mismatch(request, kind, error)
    if isinstance(error, errors.Limited):
        kind = replace(kind, headers={"Retry-After": str(error.seconds)})
    return problem(request, kind, str(error))


def sent_path(request: web.BaseRequest) -> str:
    """The path as it was sent, escaped: decoded, it could hold line ends and terminal controls."""
    return request.rel_url.raw_path


def http_answer(request: web.BaseRequest, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """The response to what only HTTP knows: 404 for a path, 405 for a method, 417 for an expectation. A status that
    nobody expects here is an internal error."""
    kind = replace(HTTP_KINDS.get(status, INTERNAL), headers=headers)
    return problem(request, kind, f"{kind.title}.")


def _offset_mismatch(request: web.BaseRequest, kind: Kind, error: errors.OffsetMismatch) -> web.Response:
    """Tells where the upload goes on, in the words of both resumable protocols."""
    fields = {"Upload-Offset": str(error.expected), "Upload-Complete": "?0"}
    members = {"expected-offset": error.expected, "provided-offset": error.provided}
    return problem(request, replace(kind, headers=fields), str(error), members)


def problem(
    request: web.BaseRequest, kind: Kind, detail: str, members: Mapping[str, object] = MappingProxyType({})
) -> web.Response:
    """A problem document, with further `members` where its type has some. The connection ends with it if the request's
    body was not read: what follows in the socket is not the next request."""
    document = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        **members,
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
