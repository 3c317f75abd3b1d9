"""What every door asks of a request before it reads a byte of its body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from aiohttp import HttpVersion11, hdrs, web

from maie_aiohttp.errors import Busy, Malformed, NotAudio
from maie_aiohttp.protocols.body import Body
from maie_aiohttp.protocols.pace import Pace
from maie_aiohttp.settings import Limits
from maie_aiohttp.web.appkeys import DRAIN, LIMITS
from maie_aiohttp.web.headers import is_plain


@contextmanager
def entered(request: web.Request) -> Iterator[Body]:
    """The body of a request that may come in, counted as long as it is handled. Raises `Draining`, `Busy`,
    `Malformed`, `NotAudio` and 417."""
    body = Body(request, _pace(request.app[LIMITS]))
    with request.app[DRAIN].upload(body), closing(body):
        _check_crowd(request)
        _check_expectation(request)
        _check_framing(request)
        _check_encoding(request)
        yield body


async def expect(_request: web.Request) -> None:
    """Leave `Expect` (RFC 9110, section 10.1.1) to the handler: its first read asks for the body, and what it refuses
    before is logged and answered as everything else."""


def _pace(limits: Limits) -> Pace:
    return Pace(idle=limits.idle_timeout, rate=limits.min_rate, window=limits.rate_window, total=limits.body_timeout)


def _check_crowd(request: web.Request) -> None:
    """This request is one of those counted."""
    if len(request.app[DRAIN]) > request.app[LIMITS].max_uploads:
        raise Busy("The server takes no more uploads at the moment.")


def _check_expectation(request: web.Request) -> None:
    if request.headers.get(hdrs.EXPECT, "").lower() not in ("", "100-continue"):
        raise web.HTTPExpectationFailed


def _check_framing(request: web.Request) -> None:
    """aiohttp reads these; other servers on the way may not, and would see the body's end elsewhere."""
    codings = [coding.lower() for coding in request.headers.getall(hdrs.TRANSFER_ENCODING, [])]
    if codings and (codings != ["chunked"] or request.version < HttpVersion11):
        raise Malformed("The only transfer coding accepted is chunked, in HTTP/1.1.")


def _check_encoding(request: web.Request) -> None:
    """A compressed body is never unpacked: what unpacks to much more than was sent cannot be limited on its way."""
    if not is_plain(request.headers.getall(hdrs.CONTENT_ENCODING, [])):
        raise NotAudio("The body is compressed; send the recording as it is.")
