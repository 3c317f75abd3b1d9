"""AAC in ADTS (ISO/IEC 13818-7, section 6.2; ISO/IEC 14496-3, annex 1.A.2)."""

from __future__ import annotations

import re

from maie_aiohttp.structure import frames
from maie_aiohttp.structure.evidence import Evidence
from maie_aiohttp.structure.frames import Frame

_SYNC = re.compile(rb"\xff(?=[\xf0\xf1\xf8\xf9])")
_SAME = 0xFFFEFDC  # sync, version, layer, profile, sampling frequency and channels, but not protection or private
_HEADER = 7


def probe(head: bytes, complete: bool) -> Evidence:
    """Frames that chain, after tags, zeros or the end of a frame cut in two."""
    return frames.probe_stream(head, complete, read_frame, _SYNC)


def read_frame(head: bytes, at: int) -> Frame | None:
    """The fixed and variable header at `at`."""
    header = int.from_bytes(head[at : at + _HEADER], "big")
    layer, frequency, length = header >> 41 & 3, header >> 34 & 15, header >> 13 & 0x1FFF
    if header >> 44 != 0xFFF or layer != 0 or frequency > 12 or length < _HEADER:
        return None
    return Frame(header >> 28 & _SAME, length)
