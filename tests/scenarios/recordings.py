"""Recordings of any size, made while they are sent, so that a thousand of them cost the client next to nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import repeat
from random import Random

from tests import audio


@dataclass(frozen=True, slots=True)
class Recording:
    """A file to upload."""

    filename: str
    size: int
    """Bytes."""
    pieces: Callable[[], Iterable[bytes]]
    """The content, anew each time."""

    def sha256(self) -> str:
        """Of the content, hexadecimal."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()


def wav(size: int) -> Recording:
    """Linear PCM, which the server accepts for its head alone."""
    even = size // 2 * 2
    return Recording("speech.wav", even, partial(audio.long_wav, even))


def mp3(size: int) -> Recording:
    """MPEG frames without any header before them, which the server decodes to be sure."""
    return Recording("speech.mp3", size, partial(_mp3_pieces, size))


def mixed(choice: Random, smallest: int, largest: int) -> Recording:
    """A WAV or an MP3 file, of so many bytes that few others have its digest."""
    return choice.choice((wav, mp3))(choice.randint(smallest, largest))


def _mp3_pieces(size: int) -> Iterator[bytes]:
    frames = _mp3_frames()
    rounds, rest = divmod(size, len(frames))
    yield from repeat(frames, rounds)
    yield frames[:rest]


@cache
def _mp3_frames() -> bytes:
    return audio.sample("mp3-bare").content
