"""Web pages that ask where no key is needed: a browser on the same machine, or in the same network, sends what any page
on the web makes it send. What is no browser is not concerned.

Origins are checked in the way of Go's `http.CrossOriginProtection` (1.25)."""

from __future__ import annotations

from ipaddress import ip_address

from aiohttp import hdrs, web

from maie_aiohttp.addresses import web_host, web_origin
from maie_aiohttp.errors import CrossSite
from maie_aiohttp.settings import Settings
from maie_aiohttp.web.locations import root

SAFE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
"""Methods that change nothing; whether a page may see the answer, CORS says."""


class Browsers:
    """Tells this server's own pages, and those it was told to let in, from all others."""

    def __init__(self, settings: Settings) -> None:
        self._origins = frozenset(settings.cors.origins)
        named, public = settings.access.hosts, settings.server.public_url
        own = {settings.server.host, "localhost"} | ({web_host(public)} if public else set())
        self._hosts = None if settings.access.without_keys == "anybody" and not named else {*named, *own}
        """The names by which it may be found; None for all."""

    def check(self, request: web.Request) -> None:
        """Raises `CrossSite` for a request that a page of another site makes a browser send."""
        if not self._is_known(request.headers.get(hdrs.HOST)):
            raise CrossSite("This server is not known by the name in Host; access.hosts may name it.")
        if request.method not in SAFE and not self._is_welcome(request):
            raise CrossSite("A web page of another site needs an API key here, or a place in cors.origins.")

    def _is_known(self, host: str | None) -> bool:
        """Not so under a name that somebody else made to lead here (DNS rebinding), whose pages the browser takes for
        this server's own. Nobody can make an IP address lead elsewhere."""
        if not host or self._hosts is None:
            return True
        name = web_host(web_origin(f"http://{host}") or "")
        return name is not None and (name in self._hosts or _is_address(name))

    def _is_welcome(self, request: web.Request) -> bool:
        origin, site = request.headers.get(hdrs.ORIGIN), request.headers.get("Sec-Fetch-Site")
        if origin is None and site is None:
            return True  # no browser
        if origin in self._origins or "*" in self._origins:
            return True
        if site is not None:
            return site in ("same-origin", "none")
        return origin is not None and _is_own(request, origin)


BROWSERS = web.AppKey("browsers", Browsers)


def _is_own(request: web.Request, origin: str) -> bool:
    """Whether the page is from here. The scheme may have changed at a proxy on the way."""
    host, here = request.headers.get(hdrs.HOST), f"{root(request)}/"
    return web_origin(origin) == origin and (
        origin in (f"http://{host}", f"https://{host}") or here.startswith(f"{origin}/")
    )


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
