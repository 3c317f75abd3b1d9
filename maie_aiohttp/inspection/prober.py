"""The program that finds out what stored recordings are: `analyst` starts it, nothing imports it. See `confinement`.

A question begins with what is asked for, `facts`, `tags` or `outline`; the functions of these names tell what follows.
The answers are JSON, as `analyst` reads it. A recording that the operating system does not give out is `false`.
"""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from maie_aiohttp import formats
from maie_aiohttp.formats import BY_NAME, Format
from maie_aiohttp.inspection.confinement import QUICK, THOROUGH, Upload, opened, run
from maie_aiohttp.inspection.envelope import Envelope
from maie_aiohttp.inspection.loudness import Loudness
from maie_aiohttp.inspection.sound import Playback

Look: TypeAlias = Callable[[InputContainer, AudioStream], object]

NICENESS = 10  # uploads come first

TOLERANCE = 0.25
"""Seconds that a recording may lack of what its header says: encoders round, and count frames without sound."""

GUESSED = frozenset({"aac", "ac3", "amr", "dts", "eac3", "loas", "mp3"})
"""Demuxers that guess how long a recording plays, from the size of the file and its first bit rate."""

OPEN_ENDED = frozenset({"au", "w64", "wav"})
"""Demuxers to which every recording breaks off whose length was not known when its header was written."""

LONGEST = 1e9
"""Seconds; what claims to play for more than thirty years does not know it."""

HEAD = 65_536
"""Bytes of the file in which its header says how long it plays."""

MOST_TAGS = 64
LONGEST_NAME = 64
LONGEST_TAG = 1_024
"""Characters; lyrics are longer."""


def answer(wish: str, *asked: Any) -> str:
    """What is asked for. Raises MemoryError at the memory limit."""
    return json.dumps(WISHES[wish](*asked), allow_nan=False)


def facts(files: Sequence[tuple[str, str]], patience: float) -> object:
    """How recordings sound, of which the paths and the formats are given, to whoever decodes each for `patience`
    seconds at the most."""
    return [_if_given_out(_facts, path, format, patience) for path, format in files]


def tags(path: str, format: str) -> object:
    """What the file says of itself."""
    return _if_given_out(_tags, path, format)


def outline(path: str, format: str) -> object:
    """The lowest and the highest sample of each stretch; null where none can be decoded."""
    return _if_given_out(_outline, path, format)


WISHES: Mapping[str, Callable[..., object]] = {"facts": facts, "tags": tags, "outline": outline}


def _if_given_out(found: Callable[..., object], path: str, format: str, *details: float) -> object:
    try:
        return found(Path(path), BY_NAME[format], *details)
    except OSError:
        return False


def _facts(path: Path, format: Format, patience: float) -> object:
    size = path.stat().st_size
    with path.open("rb") as file:
        declared = formats.span(format, file.read(HEAD))

    def listen(container: InputContainer, stream: AudioStream) -> object:
        playback, loudness = Playback(container, stream, patience), Loudness()
        for block in playback.blocks():
            loudness.hear(block)
        header = _header(container, format)
        duration = _duration(playback, header)
        return {
            "codec": stream.codec_context.codec.canonical_name,
            "duration": duration,
            "sample_rate": playback.rate or None,
            "channels": playback.channels or None,
            "bit_rate": round(size * 8 / duration) if duration else None,
            "findings": _findings(playback, loudness, format, declared or header),
        }

    return _look(path, format, listen) or {"findings": ["no-audio"]}


def _tags(path: Path, format: Format) -> object:
    def read(container: InputContainer, stream: AudioStream) -> object:
        found = container.metadata | stream.metadata
        return {
            name[:LONGEST_NAME].lower(): value[:LONGEST_TAG]
            for name, value in sorted(found.items())[:MOST_TAGS]
            if name.isprintable()
        }

    return _look(path, format, read) or {}


def _outline(path: Path, format: Format) -> object:
    def draw(container: InputContainer, stream: AudioStream) -> object:
        playback, envelope = Playback(container, stream, math.inf), Envelope()
        for block in playback.blocks():
            envelope.see(block)
        pairs = envelope.pairs()
        return len(pairs) and {
            "sample_rate": playback.rate,
            "stretch": envelope.stretch,
            "pairs": base64.b64encode(pairs.tobytes()).decode(),
        }

    return _look(path, format, draw) or None


def _look(path: Path, format: Format, look: Look) -> object:
    """What `look` makes of the first audio stream that FFmpeg has a decoder for; None if there is none."""
    for options in (QUICK, THOROUGH):
        with Upload(str(path)) as file:
            try:
                with opened(file, format.demuxer, options) as container:
                    for stream in container.streams.audio:
                        if stream.codec_context:
                            return look(container, stream)
            except MemoryError:
                raise
            except (av.FFmpegError, ValueError):
                continue
    return None


def _header(container: InputContainer, format: Format) -> float | None:
    """How long the recording plays by its header, in seconds, where that is no guess."""
    ticks = container.duration or 0
    return ticks / av.time_base if ticks > 0 and format.demuxer not in GUESSED else None


def _duration(playback: Playback, header: float | None) -> float | None:
    """By the header or by the last packet: where they differ, the shorter one holds."""
    if playback.is_heard and playback.samples == 0:
        return None
    packets = playback.timeline.seconds if playback.timeline.is_measured else 0.0
    duration = min(filter(None, (header, packets)), default=playback.seconds)
    return round(duration, 6) if duration < LONGEST else None


def _findings(playback: Playback, loudness: Loudness, format: Format, declared: float | None) -> list[str]:
    if playback.is_heard and playback.samples == 0:
        return ["no-audio"]
    lacks = (declared or 0) - max(playback.timeline.seconds, playback.seconds)
    found = {
        "truncated": lacks > TOLERANCE or (playback.breaks_off and format.demuxer not in OPEN_ENDED),
        "silent": playback.is_heard and loudness.is_silent,
        "clipped": loudness.is_clipped,
        "corrupt": any(1 < number < playback.timeline.packets for number in playback.refused),
    }
    return [name for name, is_so in found.items() if is_so]


if __name__ == "__main__":
    os.nice(NICENESS)
    run(answer)
