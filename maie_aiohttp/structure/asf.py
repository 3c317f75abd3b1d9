"""ASF (Microsoft, revision 01.20): Windows Media Audio."""

from __future__ import annotations

import re

from maie_aiohttp.structure.evidence import Evidence, undecided
from maie_aiohttp.structure.fields import u32le, u64le

_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_STREAM_PROPERTIES = bytes.fromhex("9107dcb7b7a9cf118ee600c00c205365")
_AUDIO = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")
_VIDEO = frozenset(
    map(
        bytes.fromhex,
        (
            "c0ef19bc4d5bcf11a8fd00805f5c442b",  # video
            "00e11bb64e5bcf11a8fd00805f5c442b",  # JFIF
            "e07d903515e4cf11a91700805f5c442b",  # degradable JPEG
        ),
    )
)

# Stream Properties stand in the header or deeper, in its extension: they are found by their GUID, wherever.
_STREAM_TYPES = re.compile(re.escape(_STREAM_PROPERTIES) + rb".{8}(.{16})", re.DOTALL)


def probe(head: bytes, complete: bool) -> Evidence:
    """A header object with audio streams and no video stream."""
    size, objects = u64le(head, 16), u32le(head, 24)
    if head[:16] != _HEADER or size < 30 or objects == 0 or head[28:30] != b"\x01\x02":
        return Evidence.NONE
    types = set(_STREAM_TYPES.findall(head, 30, min(size, len(head))))
    if types & _VIDEO:
        return Evidence.VIDEO
    if size > len(head):
        return undecided(complete)
    return Evidence.AUDIO if _AUDIO in types else Evidence.NONE
