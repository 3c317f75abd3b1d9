"""Linear PCM samples standing in the head: the one kind of audio that needs no decoder to be believed."""

from __future__ import annotations

import re

from maie_aiohttp.structure.evidence import Evidence

# 1,024 bytes of nothing but printable ASCII are a text behind a copied header. Sound swings around zero (0x80 where
# samples are unsigned bytes), which is not printable; even 8 bits at 44.1 kHz stay on one side of it for that long
# only below 22 Hz.
_TEXT = re.compile(rb"[\t\n\f\r -~]{1024}")


def judge(head: bytes, start: int, end: int, frame: int) -> Evidence:
    """What linear PCM between two offsets proves, when `frame` bytes hold one sample of every channel.

    Without a whole frame in the head only decoding can tell.
    """
    if start + frame > min(end, len(head)):
        return Evidence.AUDIO
    return Evidence.NONE if _TEXT.match(head, start) else Evidence.LINEAR_PCM
