"""DSD in DSF (Sony, 2005) and DSDIFF (Philips, version 1.5)."""

from __future__ import annotations

from maie_aiohttp.structure.evidence import Evidence
from maie_aiohttp.structure.fields import u32le, u64le

_DSF_HEADER, _DSF_FORMAT = 28, 52


def probe_dsf(head: bytes, _complete: bool) -> Evidence:
    """The DSD chunk, then `fmt ` with channels and a rate."""
    if head[:4] != b"DSD " or u64le(head, 4) != _DSF_HEADER:
        return Evidence.NONE
    described = head[_DSF_HEADER : _DSF_HEADER + _DSF_FORMAT]
    channels, rate = u32le(described, 24), u32le(described, 28)
    good = described[:4] == b"fmt " and u64le(described, 4) == _DSF_FORMAT and 1 <= channels <= 6 and rate > 0
    return Evidence.AUDIO if good else Evidence.NONE


def probe_dff(head: bytes, _complete: bool) -> Evidence:
    """A DSD form whose first chunk is its version, as the format demands, followed by its properties."""
    good = head[:4] == b"FRM8" and head[12:20] == b"DSD FVER" and head[32:36] == b"PROP"
    return Evidence.AUDIO if good else Evidence.NONE
