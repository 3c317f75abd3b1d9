"""Musepack, stream versions 7 and 8."""

from __future__ import annotations

from maie_aiohttp.structure import id3
from maie_aiohttp.structure.evidence import Evidence
from maie_aiohttp.structure.fields import u32le

_PACKETS = frozenset((b"RG", b"EI", b"SO", b"AP", b"CT", b"ST", b"SE"))


def probe_sv7(head: bytes, _complete: bool) -> Evidence:
    """The magic with version 7, and frames to come."""
    head = head[id3.skip_tags(head) :]
    good = head[:3] == b"MP+" and len(head) >= 28 and head[3] & 0x0F == 7 and u32le(head, 4) > 0
    return Evidence.AUDIO if good else Evidence.NONE


def probe_sv8(head: bytes, _complete: bool) -> Evidence:
    """A stream header packet of version 8, then another packet."""
    head = head[id3.skip_tags(head) :]
    if head[:6] != b"MPCKSH" or len(head) < 14:
        return Evidence.NONE
    size, version = head[6], head[11]  # the size counts the key and itself; a CRC precedes the version
    good = 10 <= size < 0x80 and version == 8 and head[4 + size : 6 + size] in _PACKETS
    return Evidence.AUDIO if good else Evidence.NONE
