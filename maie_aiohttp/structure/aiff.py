"""AIFF and AIFF-C (Apple, 1989 and 1991)."""

from __future__ import annotations

from maie_aiohttp.structure import chunks, samples
from maie_aiohttp.structure.chunks import Chunk
from maie_aiohttp.structure.evidence import Evidence, undecided
from maie_aiohttp.structure.fields import fourccs, u16be, u32be, u64be
from maie_aiohttp.structure.span import ratio

_LAYOUT = chunks.Layout("big")
_KNOWN = fourccs(
    "FVER NAME AUTH (c) ANNO COMT MARK INST MIDI AESD APPL SAXL ID3 id3 CHAN PEAK bext JUNK FLLR basc trns cate"
)

# Bits of one sample by AIFF-C compression type; None: as COMM says.
_LINEAR: dict[bytes, int | None] = {
    b"NONE": None,
    b"twos": None,
    b"sowt": None,
    b"in24": 24,
    b"in32": 32,
    b"fl32": 32,
    b"FL32": 32,
    b"fl64": 64,
    b"FL64": 64,
}


def probe(head: bytes, complete: bool) -> Evidence:
    """COMM with channels, a rate and a sample size; SSND. They may come in either order."""
    if head[:4] != b"FORM" or head[8:12] not in (b"AIFF", b"AIFC"):
        return Evidence.NONE
    found: dict[bytes, Chunk] = {}
    for chunk in chunks.walk(head, 12, _LAYOUT):
        if chunk.id in (b"COMM", b"SSND"):
            found[chunk.id] = chunk
        elif not chunks.passable(chunk, head, _KNOWN):
            return Evidence.NONE
        if len(found) == 2:
            return _judge(head, complete, found[b"COMM"], found[b"SSND"])
    return undecided(complete)


def span(head: bytes) -> float | None:
    """By the number of frames in COMM."""
    for chunk in chunks.walk(head, 12, _LAYOUT):
        if chunk.id == b"COMM":
            body = head[chunk.start : chunk.end]
            return ratio(u32be(body, 2), u64be(body, 10) >> max(0, 0x403E - u16be(body, 8)))
    return None


def _judge(head: bytes, complete: bool, common: Chunk, sound: Chunk) -> Evidence:
    """The samples follow an offset and a block size, and then as many bytes as the offset says."""
    if common.end > len(head):
        return undecided(complete)
    body = head[common.start : common.end]
    if not _sane(body):
        return Evidence.NONE
    frame = _linear_frame(body)
    first = sound.start + 8 + u32be(head, sound.start)
    return samples.judge(head, first, sound.end, frame) if frame else Evidence.AUDIO


def _sane(common: bytes) -> bool:
    """Channels, 1 to 64 bits, and a positive rate (an 80-bit float: sign and exponent, then the mantissa)."""
    sign_and_exponent = u16be(common, 8)
    return (
        len(common) >= 18
        and u16be(common, 0) > 0
        and u16be(common, 6) <= 64
        and 0x3FFF <= sign_and_exponent < 0x4020
        and common[10] & 0x80 != 0
    )


def _linear_frame(common: bytes) -> int:
    """Bytes of one frame of linear PCM; 0 for a compressed one."""
    compression = common[18:22] or b"NONE"
    if compression not in _LINEAR:
        return 0
    stated = u16be(common, 6)
    bits = _LINEAR[compression] or (stated if stated in (8, 16, 24, 32) else 0)
    return u16be(common, 0) * bits // 8
