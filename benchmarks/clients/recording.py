"""Real audio of any size, as a file and as what stands on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Door
from tests.scenarios.recordings import wav

FILENAME = "speech.wav"
MEDIA_TYPE = "audio/wav"
DISPOSITION = f'attachment; filename="{FILENAME}"'
BOUNDARY = "benchmark-6c1f0b5e"

HEAD = (
    f"--{BOUNDARY}\r\n"
    f'Content-Disposition: form-data; name="file"; filename="{FILENAME}"\r\n'
    f"Content-Type: {MEDIA_TYPE}\r\n\r\n"
).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True, slots=True)
class Recording:
    """A file to send."""

    path: Path
    size: int
    """Bytes."""


def write(size: int, folder: Path) -> Recording:
    """A WAV file in `folder`, unless it is there."""
    content = wav(size)
    path = folder / f"{content.size}.wav"
    if not path.exists():
        with path.open("wb") as file:
            file.writelines(content.pieces())
    return Recording(path, content.size)


def body(door: Door, recording: Recording) -> bytes:
    """What the request carries."""
    content = recording.path.read_bytes()
    return HEAD + content + TAIL if door is Door.FORM else content


def content_type(door: Door) -> str:
    """Of the request."""
    return FORM_TYPE if door is Door.FORM else MEDIA_TYPE
