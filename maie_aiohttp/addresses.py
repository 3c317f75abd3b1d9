"""Web addresses in the one form this server writes them: an origin, and a prefix of the paths on it."""

from __future__ import annotations

import re

from yarl import URL

_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:]+\])(:\d{1,5})?", re.ASCII | re.IGNORECASE
)
_PREFIX = re.compile(r"(/(?!\.{1,2}(/|\Z))[a-z0-9._~-]+)*/?", re.ASCII | re.IGNORECASE)


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
