"""The program in which strangers' files meet FFmpeg: `inspector` starts it, nothing imports it.

Each line on standard input is one question, a JSON array of a number, a path and the name of FFmpeg's demuxer; each
is answered by one line on standard output, the number and a word. Before the first stands the word `ready`, once the
libraries are loaded and the limits set. The others:

    audio         an audio frame was decoded, and there is no video
    video         there is a video stream (cover art is none)
    undecodable   no audio frame within the limits below
    unreadable    the operating system does not give the file out

Whatever else happens (a crash, no memory, no end) ends the process without an answer. It also ends when its
standard input does, hence with its parent, however that died.

    decoder.py MEMORY SECONDS       bytes for all questions, seconds for one
"""

from __future__ import annotations

import io
import json
import resource
import signal
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.stream import Disposition

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from av.container import InputContainer

# FFmpeg analyses up to 5 MB or 5 s of sound before the first frame: 18 ms for a WAV, 0.7 ms with these settings.
# Where such a first look finds no audio, the defaults have the last word.
# Neither opens anything but the file it was given: no name of a protocol is "none".
THOROUGH = {"protocol_whitelist": "none"}
QUICK = {"probesize": "4096", "analyzeduration": "0", **THOROUGH}

# Before the first frame may stand cover art or, in MP4, an index (6 MB for ten hours of AAC).
READ_LIMIT = 64 * 2**20  # bytes handed to FFmpeg for one look
PACKET_LIMIT = 1000  # of 127 real recordings one needed 12, the others 1 to 3
DESCRIPTOR_LIMIT = 16  # the three standard ones, the file, and what the interpreter opens in passing


class Upload(io.FileIO):
    """A file that seems to end after `READ_LIMIT` bytes: FFmpeg would search gigabytes for a first frame."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "rb")
        self._left = READ_LIMIT

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size) if self._left > 0 else b""
        self._left -= len(chunk)
        return chunk

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """A negative answer, as FFmpeg expects it, where a damaged file points to a place that no file has."""
        try:
            return super().seek(offset, whence)
        except OSError:
            return -1


def judge(path: str, demuxer: str) -> str:
    """The word for the file at `path`, read as FFmpeg's `demuxer`. Raises MemoryError at the memory limit."""
    try:
        word = look(path, demuxer, QUICK)
        return look(path, demuxer, THOROUGH) if word == "undecodable" else word
    except OSError:
        return "unreadable"


def look(path: str, demuxer: str, options: dict[str, str]) -> str:
    """The word for the file after one look with FFmpeg's `options`. An OSError is the file system's."""
    with Upload(path) as file:
        try:
            with av.open(file, "r", demuxer, options, metadata_errors="replace") as container:
                return streams(container)
        except MemoryError:
            raise
        except (av.FFmpegError, ValueError):
            return "undecodable"


def streams(container: InputContainer) -> str:
    """The word for an opened container."""
    if any(Disposition.attached_pic not in video.disposition for video in container.streams.video):
        return "video"
    return "audio" if decodes(container) else "undecodable"


def decodes(container: InputContainer) -> bool:
    """Whether one of the container's first packets gives an audio frame with samples in it."""
    decoders = tuple(stream for stream in container.streams.audio if stream.codec_context)
    return bool(decoders) and any(  # to PyAV no stream means every stream
        frame.samples for packet in islice(container.demux(decoders), PACKET_LIMIT) for frame in packet.decode()
    )


def confine(memory: int) -> None:
    """Set limits that cannot be raised: `memory` bytes above the present size, not a byte written to disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTOR_LIMIT, DESCRIPTOR_LIMIT))
    if sys.platform == "linux":  # whose /proc tells the present size
        space = address_space() + memory
        resource.setrlimit(resource.RLIMIT_AS, (space, space))


def address_space() -> int:
    """This process's size in bytes, as RLIMIT_AS counts it (proc(5), statm)."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()


def serve(questions: Iterable[str], answers: TextIO, seconds: float) -> None:
    """Answer until the questions end. The parent watches the clock too; this one is for when it is gone."""
    print("ready", file=answers, flush=True)
    for question in questions:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        number, path, demuxer = json.loads(question)
        print(number, judge(path, demuxer), file=answers, flush=True)
        signal.setitimer(signal.ITIMER_REAL, 0)


def main(arguments: list[str]) -> None:
    memory, seconds = arguments
    confine(int(memory))
    serve(sys.stdin, sys.stdout, float(seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
