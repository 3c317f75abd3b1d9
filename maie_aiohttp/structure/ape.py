"""Monkey's Audio, from version 3.80 on."""

from __future__ import annotations

from maie_aiohttp.structure import id3
from maie_aiohttp.structure.evidence import Evidence
from maie_aiohttp.structure.fields import u16le, u32le

_WITH_DESCRIPTOR = 3980


def probe(head: bytes, _complete: bool) -> Evidence:
    """The header of the version it claims, with a rate, channels and a sample size."""
    head = head[id3.skip_tags(head) :]
    version = u16le(head, 4)
    if head[:4] not in (b"MAC ", b"MACF") or not 3800 <= version < 4100:
        return Evidence.NONE
    sane = _sane_descriptor(head) if version >= _WITH_DESCRIPTOR else _sane_old_header(head)
    return Evidence.AUDIO if sane else Evidence.NONE


def _sane_descriptor(head: bytes) -> bool:
    descriptor, header = u32le(head, 8), u32le(head, 12)
    at = descriptor + 16
    plausible = 52 <= descriptor <= 1024 and 24 <= header <= 1024
    return plausible and u16le(head, at) in (8, 16, 24, 32) and _sane(u16le(head, at + 2), u32le(head, at + 4))


def _sane_old_header(head: bytes) -> bool:
    return _sane(u16le(head, 10), u32le(head, 12))


def _sane(channels: int, rate: int) -> bool:
    return 1 <= channels <= 32 and 1000 <= rate <= 1_000_000
