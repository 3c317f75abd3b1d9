"""What an address asks for behind its question mark, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from maie_aiohttp.errors import Malformed

Choice = TypeVar("Choice", bound=StrEnum)


def choice(query: Mapping[str, str], name: str, kind: type[Choice]) -> Choice | None:
    """One of the values of `kind`; None if nothing is said. Raises `Malformed`."""
    text = query.get(name)
    try:
        return None if text is None else kind(text)
    except ValueError:
        raise Malformed(f"`{name}` is one of {', '.join(kind)}.") from None


def number(query: Mapping[str, str], name: str, *, usual: int, most: int) -> int:
    """From 1 to `most`; the `usual` one if nothing is said. Raises `Malformed`."""
    text = query.get(name)
    if text is None:
        return usual
    if not re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII) or int(text) > most:
        raise Malformed(f"`{name}` is a number from 1 to {most}.")
    return int(text)
