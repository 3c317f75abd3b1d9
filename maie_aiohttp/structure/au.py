"""Sun/NeXT AU."""

from __future__ import annotations

from maie_aiohttp.structure import samples
from maie_aiohttp.structure.evidence import Evidence, undecided
from maie_aiohttp.structure.fields import u32be
from maie_aiohttp.structure.span import ratio, told

# Bytes of one linear sample by encoding; 6 and 7 are floats.
_LINEAR = {2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8}
_COMPRESSED = frozenset((1, 23, 24, 25, 26, 27))  # mu-law, the ADPCM family of G.72x, A-law


_COMPANDED = {1: 1, 27: 1}


def probe(head: bytes, complete: bool) -> Evidence:
    """A data offset, an encoding, a rate and channels that fit together."""
    if head[:4] != b".snd" or len(head) < 24:
        return Evidence.NONE
    offset, size, encoding, rate, channels = (u32be(head, at) for at in range(4, 24, 4))
    if offset < 24 or rate == 0 or not 0 < channels <= 0xFF:
        return Evidence.NONE
    if encoding not in _LINEAR and encoding not in _COMPRESSED:
        return Evidence.NONE
    if offset >= len(head):
        return undecided(complete)
    if encoding in _COMPRESSED:
        return Evidence.AUDIO
    return samples.judge(head, offset, offset + size, _LINEAR[encoding] * channels)


def span(head: bytes) -> float | None:
    """By the size of the samples, unless they are of an ADPCM family."""
    size, encoding, rate, channels = (u32be(head, at) for at in range(8, 24, 4))
    return ratio(told(size), rate * channels * (_LINEAR | _COMPANDED).get(encoding, 0))
