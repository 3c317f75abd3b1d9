"""Web addresses in the one form this server writes them: an origin, and a prefix of the paths on it."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from yarl import URL

_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:]+\])(:\d{1,5})?", re.ASCII | re.IGNORECASE
)
_PREFIX = re.compile(r"(/(?!\.{1,2}(/|\Z))[a-z0-9._~-]+)*/?", re.ASCII | re.IGNORECASE)

_HOST = re.compile(r"\[(?P<six>[0-9a-f:.]+)\](:\d+)?|(?P<four>[0-9.]+)(:\d+)?|[0-9a-f:.]+", re.ASCII | re.IGNORECASE)

_UNIX = re.compile(r"unix:(?P<path>/[^\0]+)")

LONGEST_SOCKET = 103
"""Bytes in the path of a socket; Linux takes 107, macOS 103."""

_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""What IANA gives out addresses of; elsewhere some are still as good as private."""

Address = IPv4Address | IPv6Address

SocketAddress = str | tuple[str, int]
"""The path of a Unix socket, or host and TCP port."""


def origin(text: str) -> str | None:
    """`text` as browsers write an origin (RFC 6454, section 6.2): in lower case, without the scheme's usual port. None
    if it is more or less than scheme, host and port."""
    try:
        written = str(URL(text).origin()) if _ORIGIN.fullmatch(text) else ""
    except ValueError:  # a port out of range
        return None
    return written if _ORIGIN.fullmatch(written) else None  # what is no IPv6 address, yarl writes without its brackets


def web_origin(text: str) -> str | None:
    """The origin of web pages: its scheme is http or https. None for any other."""
    return origin(text) if re.match("https?:", text, re.IGNORECASE) else None


def prefix(text: str) -> str | None:
    """`text` without a slash at its end, if it can stand before a path: "//" would make that a host, ".." lead upwards.
    None if it cannot."""
    return text.removesuffix("/") if _PREFIX.fullmatch(text) else None


def web_address(text: str) -> str | None:
    """The origin of web pages, and the prefix if there is one. None for anything else."""
    scheme, slashes, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    place, before = web_origin(scheme + slashes + host), prefix(slash + path)
    return None if place is None or before is None else place + before


def socket_address(text: str) -> SocketAddress | None:
    """What stands behind `unix:`, or between `tcp://` and the end, as a place to connect to. None for anything else."""
    if path := _UNIX.fullmatch(text):
        return path["path"] if len(os.fsencode(path["path"])) <= LONGEST_SOCKET else None
    try:
        place = URL(text) if _ORIGIN.fullmatch(text) else URL()
        host, port = place.host, place.explicit_port
    except ValueError:  # a port out of range
        return None
    return (host, port) if place.scheme == "tcp" and host and port else None


@lru_cache(maxsize=1024)
def ip_of(text: str) -> Address | None:
    """The address in `text`, which may have a port behind it, and brackets around it as in RFC 7239. None if it is
    something else, such as "unknown"."""
    found = _HOST.fullmatch(text)
    try:
        return None if found is None else ip_address(found["six"] or found["four"] or text)
    except ValueError:
        return None


def web_host(address: str) -> str | None:
    """The host that a web address names."""
    return URL(address).host


def is_web_url(text: str) -> bool:
    """Whether it can be sent something over HTTP, and says nothing beyond where."""
    try:
        url = URL(text) if text.isprintable() else URL()
    except ValueError:  # a port out of range
        return False
    return url.scheme in ("http", "https") and bool(url.host) and url.user is None and url.password is None


def is_redis_database(text: str) -> bool:
    """Whether it names a database on a Redis server, at a host and a port, and says nothing beyond that."""
    try:
        url = URL(text) if text.isprintable() else URL()
    except ValueError:  # a port out of range
        return False
    known = url.scheme in ("redis", "rediss") and bool(url.host) and not (url.query_string or url.fragment)
    return known and re.fullmatch(r"/?\d*", url.path, re.ASCII) is not None


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is a single place in the Internet, as its IPv4 address is where it has one inside."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    inner = _inside(address)
    return is_public(inner) if inner is not None else address.is_global and address in _GLOBAL_UNICAST


def _inside(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address to which packets go in the end: mapped, of 6to4 (RFC 3056) or NAT64 (RFC 6052)."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


@lru_cache(maxsize=1024)
def is_loopback(host: str | None) -> bool:
    """Whether it is this machine, as seen by its own users only. A name other than "localhost" may be anything."""
    try:
        address = ip_address(host or "")
    except ValueError:  # a name, or a Unix socket, which has none
        return host == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
