"""AAC in LATM/LOAS, the AudioSyncStream of ISO/IEC 14496-3, section 1.7.2."""

from __future__ import annotations

import re

from maie_aiohttp.structure import frames
from maie_aiohttp.structure.evidence import Evidence
from maie_aiohttp.structure.fields import u24be
from maie_aiohttp.structure.frames import Frame

_SYNC = re.compile(rb"\x56(?=[\xe0-\xff])")
_SYNC_WORD = 0x2B7


def probe(head: bytes, complete: bool) -> Evidence:
    """Frames that chain."""
    return frames.probe_stream(head, complete, _read, _SYNC)


def _read(head: bytes, at: int) -> Frame | None:
    """An 11-bit sync word and the 13-bit length of what follows."""
    header = u24be(head, at)
    length = header & 0x1FFF
    return Frame(0, 3 + length) if header >> 13 == _SYNC_WORD and length else None
