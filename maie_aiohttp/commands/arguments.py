"""What is written on the command line, as values. What makes no sense there is refused before anything is touched."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

from maie_aiohttp.credentials import NAME, Scope
from maie_aiohttp.limits.quota import LARGEST, LONGEST
from maie_aiohttp.units import LIFETIMES, SIZES


def name(text: str) -> str:
    """Of a key or an owner."""
    if not NAME.fullmatch(text):
        raise ArgumentTypeError("1 to 64 letters, digits and . _ @ + - make a name, and it does not look like a key")
    return text


def scopes(text: str) -> frozenset[Scope]:
    """With commas between them."""
    try:
        return frozenset(Scope(word.strip()) for word in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"there are {', '.join(Scope)}") from None


def size(text: str) -> int:
    """Bytes, with a unit."""
    try:
        return _positive(SIZES.steps(text))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def count(text: str) -> int:
    """A number of things, one at least."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise ArgumentTypeError("give a whole number")
    return _positive(int(text))


def lifetime(text: str) -> timedelta:
    """Of a key or a token."""
    try:
        seconds = LIFETIMES.steps(text)
        datetime.now(UTC) + timedelta(seconds=seconds)
    except (ValueError, OverflowError) as error:
        raise ArgumentTypeError(str(error)) from None
    if seconds == 0:
        raise ArgumentTypeError("it would never open anything")
    return timedelta(seconds=seconds)


def window(text: str) -> timedelta:
    """Of a quota."""
    found = lifetime(text)
    if found > LONGEST:
        raise ArgumentTypeError(f"at most {LONGEST.days} d")
    return found


def _positive(number: int) -> int:
    if not 0 < number <= LARGEST:
        raise ArgumentTypeError("too little, or too much, for a limit")
    return number
