"""Errors as answers: RFC 9457 `application/problem+json`, from one table. No traceback, no echo of the request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

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
    def type(self) -> str:
        """The problem's `type`: a name that stays the same."""
        return f"urn:maie:problem:{self.slug}"


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

log = structlog.get_logger()

INTERNAL = KINDS[errors.IntakeError]


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
    """The response to what only HTTP knows: 404 for a path, 405 for a method, 417 for an expectation."""
    phrase = HTTPStatus(status).phrase
    return problem(request, Kind(status, phrase.lower().replace(" ", "-"), headers), f"{phrase}.")


def problem(request: web.BaseRequest, kind: Kind, detail: str) -> web.Response:
    """A problem document. The connection ends with it if the request's body was not read: what follows in the socket
    is not the next request."""
    document = {
        "type": kind.type,
        "title": HTTPStatus(kind.status).phrase,
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
