"""The door at which somebody with a key gets a token for somebody without one, such as a web page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maie_aiohttp.credentials import Scope
from maie_aiohttp.errors import Malformed, TooLarge
from maie_aiohttp.limits.quota import LARGEST
from maie_aiohttp.protocols.body import Body
from maie_aiohttp.protocols.entry import entered
from maie_aiohttp.web.appkeys import ACCESS, INTAKE, TOKENS
from maie_aiohttp.web.permission import Action, caller, needs, refuse_token
from maie_aiohttp.web.problems import http_answer
from maie_aiohttp.web.records import moment

PATH = "/v1/upload-tokens"

LONGEST = 4096
"""Bytes of a request."""


class Wish(BaseModel):
    """What a request may say of the token."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    max_size: int | None = Field(default=None, gt=0, le=LARGEST)
    """Bytes."""
    expires_in: int = Field(default=900, gt=0)
    """Seconds."""


@needs(Scope.UPLOAD, to=Action.CREATE_TOKEN)
async def create(request: web.Request) -> web.Response:
    """Make a token for one upload, which will be the caller's."""
    with entered(request) as body:
        if request.body_exists and request.content_type != "application/json":
            return http_answer(request, 415)
        refuse_token(request)
        return _issued(request, _wish(await _read(body)))


def _issued(request: web.Request, wish: Wish) -> web.Response:
    longest = request.app[TOKENS].longest
    if wish.expires_in > longest:
        raise Malformed(f"A token expires in {longest:.0f} seconds at the most.")
    expires_at = (datetime.now(UTC) + timedelta(seconds=wish.expires_in + 1)).replace(microsecond=0)
    token = request.app[ACCESS].token_for(caller(request), wish.max_size, expires_at)
    limit = min(wish.max_size or request.app[INTAKE].rules.max_size, request.app[INTAKE].rules.max_size)
    document = {"token": token, "expires_at": moment(expires_at), "max_size": limit}
    return web.json_response(document, status=201)


def _wish(content: bytes) -> Wish:
    try:
        return Wish.model_validate_json(content or b"{}")
    except ValidationError:
        raise Malformed("The body is a JSON object with max_size and expires_in, both whole numbers above 0.") from None


async def _read(body: Body) -> bytes:
    content = b""
    async for chunk in body.chunks(LONGEST):
        content += chunk
        if len(content) > LONGEST:
            raise TooLarge(f"What is asked of a token has more than {LONGEST} bytes.")
    return content
