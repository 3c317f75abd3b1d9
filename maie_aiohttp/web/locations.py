"""Where clients find an upload: behind proxies, not where this server listens."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from uuid import UUID

from aiohttp import web

from maie_aiohttp.addresses import Address, ip_of, is_loopback
from maie_aiohttp.errors import NotFound
from maie_aiohttp.settings import Network
from maie_aiohttp.web import forwarded
from maie_aiohttp.web.appkeys import SERVER
from maie_aiohttp.web.records import path


def root(request: web.Request) -> str:
    """What stands before every path this server speaks of: the configured public URL, else what a trusted proxy
    reports; empty where a path alone leads back here."""
    server = request.app[SERVER]
    if server.public_url is not None:
        return server.public_url
    return forwarded.root(request.headers) if is_from_proxy(request) else ""


def is_from_proxy(request: web.Request) -> bool:
    """Whether whoever is connected is believed about others: a trusted proxy, or who may use the Unix socket."""
    server = request.app[SERVER]
    if server.unix_socket is not None:
        return True
    return bool(server.trusted_proxies) and _is_among(request.remote, server.trusted_proxies)


def reported_client(request: web.Request) -> Address | None:
    """Whom a trusted proxy reports as the client."""
    if not is_from_proxy(request):
        return None
    proxies = request.app[SERVER].trusted_proxies
    return forwarded.client(request.headers, lambda address: _is_in(address, proxies))


def client(request: web.Request) -> Address | None:
    """Where the request comes from, as far as that tells one client from another: the peer, or whom a trusted proxy
    reports. None for programs on this machine, also beside a trusted proxy, and for proxies on it that are not trusted:
    they may speak for anybody."""
    if is_loopback(request.remote) and not (is_from_proxy(request) and forwarded.is_passed_on(request.headers)):
        return None
    return reported_client(request) or ip_of(request.remote or "")


def location(request: web.Request, id: UUID) -> str:
    """The address of an upload's record."""
    return root(request) + path(id)


def identifier(request: web.Request) -> UUID:
    """The upload a path speaks of. Raises `NotFound` for what is no UUID in its usual form."""
    text = request.match_info["id"]
    try:
        id = UUID(text)
    except ValueError:
        id = None
    if id is None or str(id) != text:
        raise NotFound("There is no such upload.")
    return id


def _is_among(peer: str | None, networks: Iterable[Network]) -> bool:
    try:
        address = ip_address(peer or "")
    except ValueError:  # who has gone already has none
        return False
    return _is_in(address, networks)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
