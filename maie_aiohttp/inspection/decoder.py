"""The program that gives verdicts on finished uploads: `inspector` starts it, nothing imports it. See `confinement`.

A question is a path, the name of FFmpeg's demuxer, and perhaps the seconds that the recording may play. The answers:

    audio         an audio frame was decoded, and there is no video
    video         there is a video stream (cover art is none)
    undecodable   no audio frame within the limits below
    long          it plays for longer
    unreadable    the operating system does not give the file out
"""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

import av
from av.stream import Disposition

from maie_aiohttp.inspection.confinement import QUICK, THOROUGH, Upload, opened, run
from maie_aiohttp.inspection.timeline import Timeline

if TYPE_CHECKING:
    from av.container import InputContainer

# Before the first frame may stand cover art or, in MP4, an index (6 MB for ten hours of AAC); FFmpeg would search
# gigabytes for it.
READ_LIMIT = 64 * 2**20  # bytes handed to FFmpeg for one look
PACKET_LIMIT = 1000  # of 127 real recordings one needed 12, the others 1 to 3


def judge(path: str, demuxer: str, most: float = math.inf) -> str:
    """The word for the file at `path`, read as FFmpeg's `demuxer`. Raises MemoryError at the memory limit."""
    try:
        word = look(path, demuxer, QUICK)
        if word == "undecodable":
            word = look(path, demuxer, THOROUGH)
        return "long" if word == "audio" and most < math.inf and plays_longer(path, demuxer, most) else word
    except OSError:
        return "unreadable"


def look(path: str, demuxer: str, options: dict[str, str]) -> str:
    """The word for the file after one look with FFmpeg's `options`. An OSError is the file system's."""
    with Upload(path, READ_LIMIT) as file:
        try:
            with opened(file, demuxer, options) as container:
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


def plays_longer(path: str, demuxer: str, most: float) -> bool:
    """Whether any stream's packets reach farther than `most` seconds, whatever the header says."""
    with Upload(path) as file:
        try:
            with opened(file, demuxer, THOROUGH) as container:
                return is_passed(container, most)
        except MemoryError:
            raise
        except (av.FFmpegError, ValueError):  # up to there, it does not
            return False


def is_passed(container: InputContainer, most: float) -> bool:
    """Whether the packets of an audio stream reach farther than that. All at once: the file is read to its end."""
    streams = container.streams.audio
    timelines = {stream.index: Timeline.of(stream) for stream in streams}
    for packet in container.demux(streams) if streams else ():  # to PyAV no stream means every stream
        timeline = timelines[packet.stream.index]
        if packet.size:  # the one behind the last has none
            timeline.see(packet)
        if timeline.seconds > most:
            return True
    return False


if __name__ == "__main__":
    run(judge)
