"""True Audio, TTA1."""

from __future__ import annotations

import zlib

from maie_aiohttp.structure import id3
from maie_aiohttp.structure.evidence import Evidence
from maie_aiohttp.structure.fields import u32le

_HEADER = 22


def probe(head: bytes, _complete: bool) -> Evidence:
    """A header whose checksum is right."""
    at = id3.skip_tags(head)
    header = head[at : at + _HEADER]
    good = header[:4] == b"TTA1" and len(header) == _HEADER and zlib.crc32(header[:18]) == u32le(header, 18)
    return Evidence.AUDIO if good else Evidence.NONE
