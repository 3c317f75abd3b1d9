"""Lists searched by what recordings are."""

from __future__ import annotations

import re
from collections.abc import Mapping

from maie_aiohttp.errors import Malformed
from maie_aiohttp.model import Finding, Sought
from maie_aiohttp.pages.parameters import choice

_SECONDS = re.compile(r"\d{1,9}(\.\d{1,20})?(e[+-]?\d{1,2})?", re.ASCII)
_CODEC = re.compile(r"[a-z0-9_.-]{1,32}", re.ASCII)


def sought(query: Mapping[str, str]) -> Sought:
    """The facts that an address asks for. Raises `Malformed`."""
    return Sought(
        duration_min=_seconds(query, "duration_min"),
        duration_max=_seconds(query, "duration_max"),
        codec=_codec(query.get("codec")),
        finding=choice(query, "finding", Finding),
    )


def _seconds(query: Mapping[str, str], name: str) -> float | None:
    text = query.get(name)
    if text is not None and not _SECONDS.fullmatch(text):
        raise Malformed(f"`{name}` is a number of seconds, such as 90 or 0.5.")
    return None if text is None else float(text)


def _codec(text: str | None) -> str | None:
    if text is not None and not _CODEC.fullmatch(text):
        raise Malformed("`codec` is FFmpeg's name of one, such as `pcm_s16le`.")
    return text
