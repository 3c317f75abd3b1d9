"""Who sends a request, and whether they may. Asked before `100 Continue`, and before a byte of the body is read."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

from aiohttp import hdrs, web
from multidict import MultiMapping

from maie_aiohttp.addresses import is_loopback
from maie_aiohttp.credentials import TOKEN_PREFIX, Caller, Scope
from maie_aiohttp.errors import NotFound, NotPermitted, TooMany, Unauthenticated
from maie_aiohttp.model import Upload
from maie_aiohttp.web import forwarded
from maie_aiohttp.web.appkeys import ACCESS, INTAKE, RATE
from maie_aiohttp.web.browsers import BROWSERS
from maie_aiohttp.web.locations import client, identifier


class Action(StrEnum):
    """What a request is for, in the words of the audit."""

    CREATE = "create"
    APPEND = "append"
    LIST = "list"
    SHOW = "show"
    LOOK = "look"
    READ = "read"
    FOLLOW = "follow"
    DELETE = "delete"
    LIST_HANDOFFS = "list hand-offs"
    REPLAY = "replay"
    CREATE_TOKEN = "create token"  # noqa: S105 - no secret


_CALLER = web.RequestKey("caller", Caller)
_ACTION = web.RequestKey("action", Action)
_WAIT = web.RequestKey("wait", float)

_BEARER = re.compile(r"bearer +(?P<key>\S+) *", re.IGNORECASE)

_Rest = ParamSpec("_Rest")
_Answer = TypeVar("_Answer", bound=web.StreamResponse)
_Handler = Callable[Concatenate[web.Request, _Rest], Awaitable[_Answer]]


def recognise(request: web.Request) -> Mapping[str, str]:
    """Find out who sends the request, if their address may ask now. Returns what the log is to say of them, which is
    never their key."""
    address, rate = client(request), request.app[RATE]
    if address is not None and (wait := rate.wait(address)):
        request[_WAIT] = wait
        return {}
    caller = _caller(request)
    if caller is None:
        if address is not None and _keys(request.headers):
            rate.punish(address)
        return {}
    request[_CALLER] = caller
    known = {"key": caller.key, "token": caller.token_id}
    return {name: str(word) for name, word in known.items() if word is not None}


def check_rate(request: web.Request) -> None:
    """Raises `TooMany` for an address that has to wait; who asks was not looked into."""
    if _WAIT in request:
        raise TooMany("Too many requests come from this address.", seconds=math.ceil(request[_WAIT]))


def needs(*scopes: Scope, to: Action) -> Callable[[_Handler[_Rest, _Answer]], _Handler[_Rest, _Answer]]:
    """Let only those do it who have one of the scopes. The others get `Unauthenticated`, `NotPermitted` or `CrossSite`.
    Either way it stands in the audit."""

    def guard(handler: _Handler[_Rest, _Answer]) -> _Handler[_Rest, _Answer]:
        @wraps(handler)
        async def guarded(request: web.Request, /, *rest: _Rest.args, **named: _Rest.kwargs) -> _Answer:
            request[_ACTION] = to
            _check(request, scopes)
            return await handler(request, *rest, **named)

        return guarded

    return guard


def caller(request: web.Request) -> Caller:
    """Who sends a request that is let in."""
    return request[_CALLER]


def known_caller(request: web.Request) -> Caller | None:
    """Who sends a request that everybody may send; None if nobody knows."""
    return request.get(_CALLER)


def attempted(request: web.Request) -> Action | None:
    """What a request is for; None for what needs no permission, or did not come so far."""
    return request.get(_ACTION)


def refuse_token(request: web.Request) -> None:
    """Raises `NotPermitted` for whoever has an upload token instead of a key."""
    if caller(request).token is not None:
        raise NotPermitted("This is for keys, not for upload tokens.")


async def own_id(request: web.Request) -> UUID:
    """The upload a path speaks of, if it is within the caller's reach. Raises `NotFound`."""
    id = identifier(request)
    await request.app[INTAKE].owners.check(id, caller(request))
    return id


def own(request: web.Request, upload: Upload) -> Upload:
    """The upload, if it is within the caller's reach. Raises `NotFound`."""
    if not caller(request).sees(upload.owner):
        raise NotFound("There is no such upload.")
    return upload


def _caller(request: web.Request) -> Caller | None:
    access = request.app[ACCESS]
    sent = _keys(request.headers)
    if not sent:
        return access.without_key(is_local=_is_local(request))
    if len(sent) > 1:
        return None
    secret = sent.pop()
    return access.with_token(secret) if secret.startswith(TOKEN_PREFIX) else access.with_key(secret)


def _keys(headers: MultiMapping[str]) -> set[str]:
    """All that are sent along, wherever, tokens too; other schemes of authorization are for others to read."""
    bearers = (_BEARER.fullmatch(value) for value in headers.getall(hdrs.AUTHORIZATION, []))
    return {match["key"] for match in bearers if match} | set(headers.getall("X-API-Key", []))


def _is_local(request: web.Request) -> bool:
    """Whether a program on this machine sent it, and did not pass it on for somebody else."""
    return is_loopback(request.remote) and not forwarded.is_passed_on(request.headers)


def _check(request: web.Request, scopes: tuple[Scope, ...]) -> None:
    known = known_caller(request)
    if known is None:
        raise Unauthenticated("This needs an API key, and one that is valid.")
    if known.key is None and known.token is None:
        request.app[BROWSERS].check(request)
    if not any(known.may(scope) for scope in scopes):
        raise NotPermitted(f"This needs a key with the scope {' or '.join(scopes)}.")
