"""Lists a page at a time: how long pages are, and where they go on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from maie_aiohttp.errors import Malformed
from maie_aiohttp.pages.parameters import number

PAGE = 50
LARGEST_PAGE = 200


def limit(query: Mapping[str, str]) -> int:
    """How many were asked for. Raises `Malformed`."""
    return number(query, "limit", usual=PAGE, most=LARGEST_PAGE)


def cursor(first: object, second: object) -> str:
    """A place in a list that two values name. Clients give it back as it is."""
    return base64.urlsafe_b64encode(f"{first} {second}".encode()).decode()


def place(cursor: str) -> tuple[str, str]:
    """The two values. Raises ValueError."""
    try:
        first, second = base64.urlsafe_b64decode(cursor).decode().split(" ")
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    return first, second


def foreign_cursor() -> Malformed:
    """What a cursor meets that says nothing."""
    return Malformed("`cursor` is not one this server gave.")
