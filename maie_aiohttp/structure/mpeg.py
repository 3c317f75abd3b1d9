"""MPEG-1, MPEG-2 and MPEG-2.5 audio, Layers I to III (ISO/IEC 11172-3 and 13818-3): MP3, MP2."""

from __future__ import annotations

import re

from maie_aiohttp.structure import frames, id3
from maie_aiohttp.structure.evidence import Evidence
from maie_aiohttp.structure.fields import u32be
from maie_aiohttp.structure.frames import Frame
from maie_aiohttp.structure.span import ratio

_SYNC = re.compile(rb"\xff(?=[\xe2-\xe7\xf2-\xff])")
_SAME = 0xFFFE0C00  # sync, version, layer and sample rate; bit rate, padding and channel mode may change

# kbit/s by bit rate index; 0 is "free format", which says no length, and 15 is forbidden.
_MPEG1_LAYER1 = (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 0)
_MPEG1_LAYER2 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0)
_MPEG1_LAYER3 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_MPEG2_LAYER1 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256, 0)
_MPEG2_LAYER23 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)

_MPEG1, _RESERVED_VERSION = 3, 1
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_LAYER1, _LAYER2, _LAYER3, _RESERVED_LAYER = 3, 2, 1, 0


def probe(head: bytes, complete: bool) -> Evidence:
    """Frames that chain, after tags, zeros or a little junk."""
    return frames.probe_stream(head, complete, read_frame, _SYNC)


def span(head: bytes) -> float | None:
    """By the number of frames that encoders write into a first one without sound, where Layer III would have its side
    information (Xing's tag; LAME writes "Info" where the bit rate is constant)."""
    start = id3.skip_tags(head)
    header = u32be(head, start)
    if read_frame(head, start) is None or header >> 17 & 3 != _LAYER3:
        return None
    tag = start + 4 + _side_information(header)
    if head[tag : tag + 4] not in (b"Xing", b"Info") or not head[tag + 7 : tag + 8] or not head[tag + 7] & 1:
        return None
    samples = 1152 if header >> 19 & 3 == _MPEG1 else 576
    return ratio(u32be(head, tag + 8) * samples, _SAMPLE_RATES[header >> 19 & 3][header >> 10 & 3])


def _side_information(header: int) -> int:
    """Its bytes (ISO/IEC 11172-3, section 2.4.1.7, and 13818-3); one channel needs about half of those of two."""
    is_mono = header >> 6 & 3 == 3
    if header >> 19 & 3 == _MPEG1:
        return 17 if is_mono else 32
    return 9 if is_mono else 17


def read_frame(head: bytes, at: int) -> Frame | None:
    """The frame header at `at` (ISO/IEC 11172-3, section 2.4.1.3)."""
    header = u32be(head, at)
    version, layer = header >> 19 & 3, header >> 17 & 3
    if header < 0xFFE00000 or version == _RESERVED_VERSION or layer == _RESERVED_LAYER:
        return None
    rate_index = header >> 10 & 3
    bit_rate = _bit_rates(version, layer)[header >> 12 & 15] * 1000
    if bit_rate == 0 or rate_index == 3:
        return None
    rate, padding = _SAMPLE_RATES[version][rate_index], header >> 9 & 1
    return Frame(header & _SAME, _length(version, layer, bit_rate, rate) + padding * (4 if layer == _LAYER1 else 1))


def _bit_rates(version: int, layer: int) -> tuple[int, ...]:
    if version == _MPEG1:
        return {_LAYER1: _MPEG1_LAYER1, _LAYER2: _MPEG1_LAYER2, _LAYER3: _MPEG1_LAYER3}[layer]
    return _MPEG2_LAYER1 if layer == _LAYER1 else _MPEG2_LAYER23


def _length(version: int, layer: int, bit_rate: int, rate: int) -> int:
    """Bytes of a frame without padding: 384, 1152 or 576 samples (Layer III of MPEG-2) at this bit rate."""
    if layer == _LAYER1:
        return 12 * bit_rate // rate * 4
    samples = 576 if layer == _LAYER3 and version != _MPEG1 else 1152
    return samples // 8 * bit_rate // rate
