"""Lists a page at a time: how long pages are, and where they go on."""

from __future__ import annotations

import base64
import binascii
import re

from maie_aiohttp.errors import Malformed

PAGE = 50
LARGEST_PAGE = 200


def limit(text: str | None) -> int:
    """How many were asked for. Raises `Malformed`."""
    if text is None:
        return PAGE
    if not re.fullmatch(r"[1-9]\d{0,2}", text, re.ASCII) or int(text) > LARGEST_PAGE:
        raise Malformed(f"`limit` is a number from 1 to {LARGEST_PAGE}.")
    return int(text)


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
