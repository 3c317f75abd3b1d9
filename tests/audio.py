"""Real recordings for the tests, encoded when first asked for: 1.2 s of something like speech in every core format."""

from __future__ import annotations

import math
import struct
import tempfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from itertools import repeat
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

RATE = 16_000  # samples per second

Maker = Callable[[], bytes]

# Formants of four vowels in Hz (Peterson & Barney 1952, men) and a pause between words.
VOWELS: tuple[tuple[int, ...], ...] = ((730, 1090, 2440), (270, 2290, 3010), (), (570, 840, 2410), (530, 1840, 2480))
SYLLABLE = 0.24  # seconds

CANONICAL = {
    "wav": ("audio/wav", ".wav"),
    "w64": ("audio/x-w64", ".w64"),
    "mp3": ("audio/mpeg", ".mp3"),
    "flac": ("audio/flac", ".flac"),
    "ogg": ("audio/ogg", ".ogg"),
    "webm": ("audio/webm", ".webm"),
    "matroska": ("audio/x-matroska", ".mka"),
    "mp4": ("audio/mp4", ".m4a"),
    "aac": ("audio/aac", ".aac"),
    "aiff": ("audio/aiff", ".aiff"),
    "au": ("audio/basic", ".au"),
    "amr": ("audio/amr", ".amr"),
    "caf": ("audio/x-caf", ".caf"),
    "wma": ("audio/x-ms-wma", ".wma"),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A recording as somebody would upload it, and what the server should call it."""

    name: str
    filename: str
    format: str
    media_type: str
    extension: str
    content: bytes


@cache
def sample(name: str) -> Sample:
    """The recording called `name`, one of `NAMES`."""
    recipe = RECIPES[name]
    return Sample(name, recipe.filename, recipe.format, *CANONICAL[recipe.format], recipe.make())


def samples() -> tuple[Sample, ...]:
    """All of them."""
    return tuple(sample(name) for name in NAMES)


@cache
def speech(rate: int = RATE) -> array[int]:
    """Mono signed 16-bit samples: glottal pulses of a falling voice through the formants of each vowel."""
    sound = array("h")
    for number, formants in enumerate(VOWELS):
        voice = pulses(130 - 8 * number, rate, int(SYLLABLE * rate))
        for formant in formants:
            voice = resonance(voice, formant, rate)
        loudest = max(map(abs, voice)) if formants else math.inf
        sound.extend(int(12_000 * value / loudest) for value in voice)
    return sound


def pulses(pitch: float, rate: int, count: int) -> list[float]:
    """A train of `count` samples: one unit pulse in each period of `pitch` Hz."""
    period = round(rate / pitch)
    return [1.0 if n % period == 0 else 0.0 for n in range(count)]


def resonance(signal: list[float], formant: float, rate: int) -> list[float]:
    """`signal` through a two-pole resonator 90 Hz wide (Klatt 1980, equations 1 and 2)."""
    radius = math.exp(-math.pi * 90 / rate)
    b, c = 2 * radius * math.cos(2 * math.pi * formant / rate), -radius * radius
    filtered, last, before = [], 0.0, 0.0
    for value in signal:
        last, before = value + b * last + c * before, last
        filtered.append(last)
    return filtered


def encode(
    filename: str,
    muxer: str,
    codec: str,
    rate: int = RATE,
    layout: str = "mono",
    cover: bytes = b"",
    **options: str,
) -> bytes:
    """The speech as FFmpeg's `codec` in FFmpeg's `muxer` with its `options`; the same bytes each time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, filename)
        with av.open(str(path), "w", muxer, {"fflags": "+bitexact", **options}) as container:
            stream = add_audio(container, codec, rate, layout)
            if cover:
                container.add_attachment("cover.png", "image/png", cover)
            add_speech(container, stream)
        return path.read_bytes()


def add_audio(container: OutputContainer, codec: str, rate: int = RATE, layout: str = "mono") -> AudioStream:
    """A new audio stream. FFmpeg's own Vorbis encoder counts as an experiment; its WMA has no usual bit rate."""
    stream = container.add_stream(codec, rate, {"strict": "experimental", "b": "64k"}, layout=layout)
    assert isinstance(stream, AudioStream)
    return stream


def add_speech(container: OutputContainer, stream: AudioStream) -> None:
    """Encode the speech, converted to whatever the stream's codec wants."""
    sound = speech()
    frame = AudioFrame("s16", "mono", len(sound))
    frame.sample_rate = RATE
    frame.planes[0].update(sound.tobytes())
    for packet in stream.encode(frame) + stream.encode(None):
        if packet.size:  # FLAC's last is empty: a new header, which Ogg and Matroska do not want
            container.mux(packet)


def big_endian_wav() -> bytes:
    """RIFX: RIFF with all its numbers the other way round, as FFmpeg reads but does not write it."""
    sound = array("h", speech())
    sound.byteswap()  # from this machine's order, the little one
    data = sound.tobytes()
    head = struct.pack(">4sI4s4sIHHIIHH", b"RIFX", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return head + struct.pack(">4sI", b"data", len(data)) + data


def amr_wideband() -> bytes:
    """60 AMR-WB frames of 6.6 kbit/s (RFC 4867, section 5), for which FFmpeg has a decoder only: noise."""
    noise = bytes(number * 73 % 251 for number in range(60 * 17))
    return b"#!AMR-WB\n" + b"".join(b"\x04" + noise[at : at + 17] for at in range(0, len(noise), 17))


def ogg_speex() -> bytes:
    """60 narrow-band Speex frames of 8 kbit/s, for which FFmpeg has a decoder only: noise."""
    head = struct.pack("<8s20s13i", b"Speex   ", b"1.2", 1, 80, 8000, 0, 4, 1, -1, 160, 0, 1, 0, 0, 0)
    vendor = struct.pack("<I4sI", 4, b"none", 0)
    frames = [b"\x18" + bytes((number + at) * 73 % 251 for at in range(19)) for number in range(60)]
    return ogg_page(2, 0, 0, [head]) + ogg_page(0, 0, 1, [vendor]) + ogg_page(4, 160 * 60, 2, frames)


def ogg_page(kind: int, granule: int, number: int, packets: list[bytes]) -> bytes:
    """One page of packets shorter than 255 bytes each (RFC 3533, section 6)."""
    head = struct.pack("<4sBBqII", b"OggS", 0, kind, granule, 1, number)
    rest = bytes([len(packets), *map(len, packets)]) + b"".join(packets)
    return head + struct.pack("<I", ogg_checksum(head + bytes(4) + rest)) + rest


def ogg_checksum(page: bytes) -> int:
    """CRC-32 of polynomial 0x04C11DB7, neither reflected nor inverted (RFC 3533, section 6)."""
    remainder = 0
    for byte in page:
        remainder ^= byte << 24
        for _ in range(8):
            remainder = (remainder << 1 ^ (0x04C11DB7 if remainder >> 31 else 0)) & 0xFFFFFFFF
    return remainder


def mp3_with_cover() -> bytes:
    """An MP3 behind an ID3v2.3 tag with a picture."""
    picture = b"\x00image/png\x00\x03\x00" + png()
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + frame + encode("bare.mp3", "mp3", "libmp3lame", id3v2_version="0")


def png() -> bytes:
    """A grey square."""
    codec = CodecContext.create("png", "w")
    assert isinstance(codec, VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt, codec.time_base = 16, 16, "gray", Fraction(1, 25)
    return b"".join(map(bytes, codec.encode(VideoFrame(16, 16, "gray"))))


@cache
def video(muxer: str = "mp4", picture: str = "mpeg4", sound: str = "aac") -> bytes:
    """Ten frames of moving grey with the speech: MP4, or what FFmpeg's names for muxer and codecs say."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video")
        with av.open(str(path), "w", muxer, {"fflags": "+bitexact"}) as container:
            screen = container.add_stream(picture, 25, width=64, height=48, pix_fmt="yuv420p")
            assert isinstance(screen, VideoStream)
            speaker = add_audio(container, sound)
            for number in range(10):
                container.mux(screen.encode(grey(16 + 20 * number)))
            container.mux(screen.encode(None))
            add_speech(container, speaker)
        return path.read_bytes()


def webm_video() -> bytes:
    """VP8 and Opus, as browsers record them."""
    return video("webm", "libvpx", "libopus")


def grey(brightness: int) -> VideoFrame:
    """A picture of one colour."""
    frame = VideoFrame(64, 48, "yuv420p")
    for plane, level in zip(frame.planes, (brightness, 128, 128), strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    return frame


def long_wav(size: int) -> Iterator[bytes]:
    """A valid WAV file of `size` bytes, an even number of at least 46, in pieces: the speech again and again.

    From 4 GiB on its header says "unknown", as files written to a pipe do.
    """
    limit = 0xFFFFFFFF
    yield struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", min(size - 8, limit), b"WAVE"),
        *(b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16),
        *(b"data", min(size - 44, limit)),
    )
    sound = speech().tobytes()
    rounds, rest = divmod(size - 44, len(sound))
    yield from repeat(sound, rounds)
    yield sound[:rest]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a sample."""

    filename: str
    format: str
    make: Maker


def encoded(filename: str, format_name: str, muxer: str, codec: str, **details: Any) -> Recipe:
    """A recipe for what FFmpeg writes itself."""
    return Recipe(filename, format_name, partial(encode, filename, muxer, codec, **details))


FRAGMENTED = "frag_keyframe+empty_moov+default_base_moof"

RECIPES = {
    "wav": encoded("speech.wav", "wav", "wav", "pcm_s16le"),
    "wav-s24": encoded("speech.wav", "wav", "wav", "pcm_s24le", rate=48_000, layout="stereo"),
    "wav-f32": encoded("speech.wav", "wav", "wav", "pcm_f32le"),
    "wav-u8": encoded("speech.wav", "wav", "wav", "pcm_u8", rate=8000),
    "wav-mulaw": encoded("telephone.wav", "wav", "wav", "pcm_mulaw", rate=8000),
    "wav-alaw": encoded("telephone.wav", "wav", "wav", "pcm_alaw", rate=8000),
    "wav-adpcm": encoded("dictation.wav", "wav", "wav", "adpcm_ms"),
    "wav-ima-adpcm": encoded("dictation.wav", "wav", "wav", "adpcm_ima_wav"),
    "rf64": encoded("speech.rf64", "wav", "wav", "pcm_s16le", rf64="always"),
    "bwf": encoded("speech.bwf", "wav", "wav", "pcm_s16le", rate=48_000, write_bext="1"),
    "rifx": Recipe("speech.wav", "wav", big_endian_wav),
    "w64": encoded("speech.w64", "w64", "w64", "pcm_s16le"),
    "mp3": encoded("speech.mp3", "mp3", "mp3", "libmp3lame", rate=44_100),
    "mp3-bare": encoded("speech.mp3", "mp3", "mp3", "libmp3lame", id3v2_version="0", write_xing="0"),
    "mp3-cover": Recipe("song.mp3", "mp3", mp3_with_cover),
    "mp2": encoded("speech.mp2", "mp3", "mp2", "mp2", rate=48_000),
    "flac": encoded("speech.flac", "flac", "flac", "flac"),
    "ogg-vorbis": encoded("speech.ogg", "ogg", "ogg", "vorbis", rate=44_100, layout="stereo"),
    "ogg-opus": encoded("speech.opus", "ogg", "ogg", "libopus"),
    "ogg-flac": encoded("speech.oga", "ogg", "ogg", "flac"),
    "ogg-speex": Recipe("speech.spx", "ogg", ogg_speex),
    "webm": encoded("recording.webm", "webm", "webm", "libopus"),
    "matroska-flac": encoded("speech.mka", "matroska", "matroska", "flac"),
    "matroska-opus": encoded("speech.mka", "matroska", "matroska", "libopus"),
    "matroska-cover": encoded("song.mka", "matroska", "matroska", "aac", cover=png()),
    "m4a": encoded("speech.m4a", "mp4", "ipod", "aac", movflags="faststart"),
    "m4a-index-last": encoded("speech.m4a", "mp4", "ipod", "aac"),
    "m4a-index-beyond-head": encoded("speech.m4a", "mp4", "ipod", "alac", rate=48_000),
    "mp4": encoded("speech.mp4", "mp4", "mp4", "aac", movflags="faststart"),
    "mp4-fragmented": encoded("recording.mp4", "mp4", "mp4", "aac", movflags=FRAGMENTED),
    "mov": encoded("speech.mov", "mp4", "mov", "aac"),
    "3gp-aac": encoded("speech.3gp", "mp4", "3gp", "aac"),
    "3gp-amr": encoded("speech.3gp", "mp4", "3gp", "libopencore_amrnb", rate=8000),
    "aac": encoded("speech.aac", "aac", "adts", "aac"),
    "aiff": encoded("speech.aiff", "aiff", "aiff", "pcm_s16be"),
    "aifc-float": encoded("speech.aifc", "aiff", "aiff", "pcm_f32be"),
    "aifc-alaw": encoded("speech.aifc", "aiff", "aiff", "pcm_alaw"),
    "au": encoded("speech.au", "au", "au", "pcm_s16be"),
    "au-alaw": encoded("speech.au", "au", "au", "pcm_alaw", rate=8000),
    "amr": encoded("speech.amr", "amr", "amr", "libopencore_amrnb", rate=8000),
    "amr-wb": Recipe("speech.awb", "amr", amr_wideband),
    "caf": encoded("speech.caf", "caf", "caf", "pcm_s16be"),
    "caf-alac": encoded("speech.caf", "caf", "caf", "alac"),
    "wma": encoded("speech.wma", "wma", "asf", "wmav2", rate=44_100),
}
NAMES = tuple(RECIPES)
