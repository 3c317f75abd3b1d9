from __future__ import annotations

import io
import itertools
import wave

import av
import pytest

from tests import audio


@pytest.mark.parametrize("name", audio.NAMES)
def test_each_sample_decodes_to_its_whole_length(name: str) -> None:
    with av.open(io.BytesIO(audio.sample(name).content), "r") as container:
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert seconds == pytest.approx(1.2, abs=0.11)


def test_the_speech_has_sound_and_silence() -> None:
    sound = audio.speech()
    syllable = int(audio.SYLLABLE * audio.RATE)
    loudness = [max(map(abs, sound[at : at + syllable])) for at in range(0, len(sound), syllable)]
    assert loudness == [12_000, 12_000, 0, 12_000, 12_000]


@pytest.mark.parametrize("name", ["flac", "ogg-opus", "webm", "m4a"])
def test_encoding_gives_the_same_bytes_each_time(name: str) -> None:
    assert audio.RECIPES[name].make() == audio.sample(name).content


@pytest.mark.parametrize("make", [audio.video, audio.webm_video])
def test_videos_hold_pictures_and_sound(make: audio.Maker) -> None:
    with av.open(io.BytesIO(make()), "r") as container:
        assert {stream.type for stream in container.streams} == {"video", "audio"}
        assert len(list(container.decode(video=0))) == 10


@pytest.mark.parametrize("size", [46, 44 + 38_400, 1_000_000])
def test_a_long_wav_is_as_long_as_its_header_says(size: int) -> None:
    content = b"".join(audio.long_wav(size))
    assert len(content) == size
    with wave.open(io.BytesIO(content)) as file:
        assert file.getnframes() == (size - 44) // 2


def test_a_very_long_wav_comes_in_pieces() -> None:
    head, *pieces = itertools.islice(audio.long_wav(2**40), 100)
    assert head[4:8] == head[40:44] == b"\xff" * 4
    assert all(len(piece) < 2**16 for piece in pieces)
