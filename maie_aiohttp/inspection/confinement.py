"""What the programs have in common that strangers' files are opened in: limits, questions by the line, one file each.

Each line on standard input is one question, a JSON array that begins with a number; each is answered by one line on
standard output, the number and what the program makes of the rest. Before the first stands the word `ready`, once the
libraries are loaded and the limits set.

Whatever else happens (a crash, no memory, no end) ends the process without an answer. It also ends when its standard
input does, hence with its parent, however that died; where the system can be asked for that, in the middle of its work.

    PROGRAM MEMORY SECONDS       bytes for all questions, seconds for one
"""

from __future__ import annotations

import ctypes
import io
import json
import math
import resource
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import av

if TYPE_CHECKING:
    from av.container import InputContainer

Answer = Callable[..., str]
"""Takes a question without its number; what it returns has no line ends."""

# FFmpeg analyses up to 5 MB or 5 s of sound before the first frame: 18 ms for a WAV, 0.7 ms with these settings.
# Where such a first look finds no audio, the defaults have the last word.
# Neither opens anything but the file it was given: no name of a protocol is "none".
THOROUGH = {"protocol_whitelist": "none"}
QUICK = {"probesize": "4096", "analyzeduration": "0", **THOROUGH}

PR_SET_PDEATHSIG = 1  # Linux, <sys/prctl.h>

DESCRIPTOR_LIMIT = 16  # the three standard ones, the file, and what the interpreter opens in passing


class Upload(io.FileIO):
    """A file that seems to end after so many bytes were read, and that FFmpeg may look for anything in."""

    def __init__(self, path: str, limit: float = math.inf) -> None:
        super().__init__(path, "rb")
        self._left = limit

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


def opened(file: Upload, demuxer: str, options: dict[str, str]) -> InputContainer:
    """The container. Raises FFmpegError and ValueError where it is none, and MemoryError at the memory limit."""
    return av.open(file, "r", demuxer, options, metadata_errors="replace")


def die_with_parent() -> None:
    """Be killed when the thread ends that started this process (prctl(2)). Elsewhere, the question that is being
    answered is the last one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


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


def serve(questions: Iterable[str], answers: TextIO, seconds: float, answer: Answer) -> None:
    """Answer until the questions end. The parent watches the clock too; this one is for when it is gone."""
    print("ready", file=answers, flush=True)
    for question in questions:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        number, *asked = json.loads(question)
        print(number, answer(*asked), file=answers, flush=True)
        signal.setitimer(signal.ITIMER_REAL, 0)


def run(answer: Answer) -> None:
    """The program: its limits from the command line, then its questions."""
    die_with_parent()
    memory, seconds = sys.argv[1:]
    confine(int(memory))
    serve(sys.stdin, sys.stdout, float(seconds), answer)
