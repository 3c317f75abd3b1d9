"""What is found out about recordings: by the prober in this process, by its children, and beside ffprobe."""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import time
import wave
from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maie_aiohttp.errors import Damaged
from maie_aiohttp.formats import BY_NAME
from maie_aiohttp.inspection import analyst, prober
from maie_aiohttp.inspection.analyst import UNEXAMINED, Analyst
from maie_aiohttp.inspection.confinement import Upload
from maie_aiohttp.model import Facts, Finding
from tests import audio
from tests.test_inspector import MIB, ended, holding, hungry_mp4, opened, pids, stored

RATE = 16_000
GENEROUS = 60.0

RATES = {"mp3": 44_100, "mp2": 48_000, "bwf": 48_000, "wav-s24": 48_000, "m4a-index-beyond-head": 48_000}
RATES |= {"ogg-vorbis": 44_100, "wma": 44_100, "webm": 48_000, "ogg-opus": 48_000, "matroska-opus": 48_000}
RATES |= dict.fromkeys(("wav-u8", "wav-mulaw", "wav-alaw", "3gp-amr", "au-alaw", "amr", "ogg-speex"), 8_000)
RATES |= {"mp3-cover": 16_000}

BROKEN = {"ogg-vorbis"}
"""FFmpeg's own encoder ends it too early, and ffprobe says so too."""


def wav(samples: array[int], channels: int = 1) -> bytes:
    """Of 16 bits and 16 kHz."""
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setparams((channels, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return written.getvalue()


def tone(gain: float, seconds: float = 2.0, pitch: float = 200) -> array[int]:
    """A sine; above a gain of 1, its tops are cut off."""
    values = (gain * math.sin(2 * math.pi * pitch * n / RATE) for n in range(int(seconds * RATE)))
    return array("h", (round(32_767 * max(-1.0, min(1.0, value))) for value in values))


def facts(path: Path, format: str, patience: float = GENEROUS) -> dict[str, Any]:
    """As the prober tells them."""
    told: list[dict[str, Any]] = json.loads(prober.answer("facts", [(str(path), format)], patience))
    return told[0]


def facts_of(folder: Path, content: bytes, format: str = "wav", patience: float = GENEROUS) -> dict[str, Any]:
    (folder / "recording").write_bytes(content)
    return facts(folder / "recording", format, patience)


@pytest.mark.parametrize("name", audio.NAMES)
def test_of_every_sample(name: str, tmp_path: Path) -> None:
    sample = audio.sample(name)
    found = facts(stored(tmp_path, name), sample.format)
    assert (found["sample_rate"], found["channels"]) == (RATES.get(name, RATE), found["channels"])
    assert found["channels"] == (2 if name in ("wav-s24", "ogg-vorbis") else 1)
    if name not in BROKEN:
        assert found["duration"] == pytest.approx(1.2, abs=0.1)
        assert found["bit_rate"] == pytest.approx(len(sample.content) * 8 / found["duration"], abs=1)
    assert {"silent", "truncated", "corrupt", "no-audio"}.isdisjoint(found["findings"])


ffprobe = pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe")

HEADERLESS = {"aac", "amr", "amr-wb", "mp3-bare", "mp2"}
"""ffprobe guesses how long these play, from the first bit rate."""

DELAYED = {"mp3", "mp3-cover", "caf-alac"}
"""Newer FFmpegs take off what encoders put before the beginning and behind the end."""


@ffprobe
@pytest.mark.parametrize("name", audio.NAMES)
def test_ffprobe_says_the_same(name: str, tmp_path: Path) -> None:
    sample, path = audio.sample(name), stored(tmp_path, name)
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-select_streams", "a", "-of", "json"]
    said = json.loads(subprocess.run([*command, str(path)], capture_output=True, check=True).stdout)
    stream, found = said["streams"][0], facts(path, sample.format)
    assert found["codec"] == stream["codec_name"]
    assert found["sample_rate"] == int(stream["sample_rate"])
    assert found["channels"] == stream["channels"]
    if name not in HEADERLESS:
        near = 0.1 if name in DELAYED else 0.05
        assert found["duration"] == pytest.approx(float(said["format"]["duration"]), abs=near)


# What is amiss.


@pytest.mark.parametrize(
    ("samples", "findings"),
    [
        (tone(0.5), []),
        (tone(1.0), []),
        (tone(1.5), ["clipped"]),
        (array("h", [0] * RATE), ["silent"]),
        (array("h", [0, 1, -1, 0] * RATE), ["silent"]),
        (array("h", [500] * RATE), ["silent"]),
        (array("h", [0] * 10 * RATE) + tone(0.01), []),
        (array("h", [0] * 2 * RATE) + tone(1.5, 0.2), ["clipped"]),
        (array("h", [0] * RATE + [32_767] + [0] * RATE), []),
    ],
    ids=["speech", "full scale", "too loud", "nothing", "dither", "offset", "late", "loud at the end", "a click"],
)
def test_silence_and_clipping(samples: array[int], findings: list[str], tmp_path: Path) -> None:
    assert facts_of(tmp_path, wav(samples))["findings"] == findings


def test_one_channel_is_enough(tmp_path: Path) -> None:
    loud, nothing = tone(1.5), array("h", [0]) * (2 * RATE)
    both = array("h", (value for pair in zip(nothing, loud, strict=True) for value in pair))
    found = facts_of(tmp_path, wav(both, channels=2))
    assert (found["findings"], found["channels"], found["duration"]) == (["clipped"], 2, 2.0)


@pytest.mark.parametrize(
    ("tag", "bits", "quiet", "loud"),
    [
        (1, 8, b"\x80", b"\xff"),
        (1, 24, b"\0\0\0", b"\xff\xff\x7f"),
        (1, 32, b"\0\0\0\0", b"\xff\xff\xff\x7f"),
        (3, 32, struct.pack("<f", 0), struct.pack("<f", 1)),
        (3, 64, struct.pack("<d", 0), struct.pack("<d", -1.5)),
        (3, 32, struct.pack("<f", math.nan), struct.pack("<f", math.inf)),
        (6, 8, b"\xd5", b"\xaa"),
    ],
)
def test_in_every_width(tag: int, bits: int, quiet: bytes, loud: bytes, tmp_path: Path) -> None:
    def made(samples: bytes) -> bytes:
        block = bits // 8
        header = struct.pack("<HHIIHH", tag, 1, RATE, RATE * block, block, bits)
        chunks = b"WAVEfmt " + struct.pack("<I", 16) + header + b"data" + struct.pack("<I", len(samples)) + samples
        return b"RIFF" + struct.pack("<I", len(chunks)) + chunks

    assert facts_of(tmp_path, made(quiet * RATE))["findings"] == ["silent"]
    if tag != 6:  # A-law ends below full scale
        assert facts_of(tmp_path, made((loud * 8 + quiet * 8) * 100))["findings"] == ["clipped"]


CUT = {"wav", "wav-s24", "wav-mulaw", "wav-adpcm", "rf64", "rifx", "w64", "mp3", "flac", "m4a", "mp4", "aiff", "au"}
CUT |= {"matroska-flac", "webm", "mp4-fragmented", "aifc-alaw", "caf"}


@pytest.mark.parametrize("name", sorted(CUT))
def test_a_recording_that_ends_before_its_header_says(name: str, tmp_path: Path) -> None:
    sample = audio.sample(name)
    whole = facts_of(tmp_path, sample.content, sample.format)
    found = facts_of(tmp_path, sample.content[: len(sample.content) * 6 // 10], sample.format)
    assert found["findings"] == ["truncated"]
    assert found["duration"] <= whole["duration"]


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_recording_that_was_written_to_a_pipe_is_whole(size: int, tmp_path: Path) -> None:
    content = bytearray(wav(tone(0.5)))
    content[40:44] = size.to_bytes(4, "little")
    found = facts_of(tmp_path, bytes(content))
    assert (found["findings"], found["duration"]) == ([], 2.0)


def test_a_header_without_audio(tmp_path: Path) -> None:
    headers = [("wav", audio.sample("wav").content[:44]), ("flac", audio.sample("flac").content[:200])]
    headers += [("ogg", audio.sample("ogg-opus").content[:100]), ("mp3", b""), ("mp4", b"junk" * 100)]
    for format, content in headers:
        found = facts_of(tmp_path, content, format)
        assert (found["findings"], found.get("duration")) == (["no-audio"], None)


def test_damage_in_the_middle(tmp_path: Path) -> None:
    for name in ("mp3", "aac", "m4a", "mp4-fragmented", "caf-alac"):
        content = bytearray(audio.sample(name).content)
        middle, tenth = len(content) // 2, len(content) // 10
        content[middle : middle + tenth] = bytes(tenth)
        assert facts_of(tmp_path, bytes(content), audio.sample(name).format)["findings"][-1:] == ["corrupt"]


def test_without_patience_the_length_is_known_all_the_same(tmp_path: Path) -> None:
    """Nothing is said of what was not heard."""
    found = facts_of(tmp_path, wav(array("h", [0] * RATE)), patience=-1)
    assert (found["duration"], found["sample_rate"], found["findings"]) == (1.0, RATE, [])


def test_what_is_read_slowly_is_heard_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience is time of the processor."""

    class Slowly(Upload):
        def read(self, size: int | None = -1, /) -> bytes:
            time.sleep(0.03)
            return super().read(size)

    monkeypatch.setattr(prober, "Upload", Slowly)
    silence = wav(array("h", bytes(2 * 30 * RATE)))
    begun = time.monotonic()
    assert facts_of(tmp_path, silence, patience=0.8)["findings"] == ["silent"]
    assert time.monotonic() - begun > 0.8


def test_the_tags_of_a_recording(tmp_path: Path) -> None:
    path = stored(tmp_path, "mp3")
    tagged = tmp_path / "tagged"
    tag = b"TIT2\0\0\0\x06\0\0\0Tune!" + b"TPE1" + struct.pack(">I", 3_001) + b"\0\0\0" + b"A" * 3_000
    size = bytes(len(tag) >> shift & 0x7F for shift in (21, 14, 7, 0))
    tagged.write_bytes(b"ID3\3\0\0" + size + tag + path.read_bytes())
    said = json.loads(prober.answer("tags", str(tagged), "mp3"))
    assert (said["title"], said["artist"]) == ("Tune!", "A" * prober.LONGEST_TAG)
    assert json.loads(prober.answer("tags", str(stored(tmp_path, "au")), "au")) == {}
    assert json.loads(prober.answer("tags", os.devnull, "au")) == {}
    assert prober.answer("tags", "/nowhere", "au") == "false"


@pytest.mark.parametrize("name", ["mp3", "flac", "ogg-opus", "m4a", "wav-adpcm", "webm", "wma", "amr", "caf-alac"])
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_broken_there_are_facts(name: str, data: st.DataObject, tmp_path: Path) -> None:
    sample = audio.sample(name)
    content = bytearray(sample.content)
    for _ in range(data.draw(st.integers(1, 30))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    (tmp_path / "broken").write_bytes(content)
    broken = str(tmp_path / "broken"), sample.format
    assert analyst._facts(prober.answer("facts", [broken], GENEROUS))
    analyst._tags(prober.answer("tags", *broken))
    analyst._outline(prober.answer("outline", *broken))


# By a child.


def pool(**changes: float) -> Analyst:
    limits = {"workers": 1, "timeout": 60, "memory": 256 * MIB, "patience": GENEROUS, **changes}
    return Analyst(**limits)  # type: ignore[arg-type]  # whole numbers where they must be


@pytest.fixture
async def single() -> AsyncIterator[Analyst]:
    """Of one child."""
    analyst = pool()
    yield analyst
    await analyst.stop()


async def one(analyst: Analyst, path: Path, format: str = "wav") -> Facts:
    (told,) = await analyst.facts([(path, format)])
    return told


async def test_a_child_tells(single: Analyst, tmp_path: Path) -> None:
    path = stored(tmp_path, "wav")
    assert await one(single, path) == Facts(
        "pcm_s16le", 1.2, 16_000, 1, len(audio.sample("wav").content) * 8 * 10 // 12
    )
    assert await single.tags(path, "wav") == {}
    outline = await single.outline(path, "wav")
    assert outline is not None
    assert (outline.sample_rate, outline.stretch, len(outline.pairs)) == (16_000, 16, 4 * 1200)


async def test_a_file_that_takes_too_much_memory_costs_one_file_its_facts(single: Analyst, tmp_path: Path) -> None:
    hungry, wav = tmp_path / "hungry", stored(tmp_path, "wav")
    hungry.write_bytes(hungry_mp4(1 << 28))
    found = await single.facts([(hungry, "mp4"), (wav, "wav")] * 2)
    assert [told.duration for told in found] == [None, 1.2, None, 1.2]
    assert found[0].findings in ((Finding.NO_AUDIO,), (Finding.UNEXAMINED,))


async def test_a_file_that_crashes_two_children_costs_no_other_its_facts(single: Analyst, tmp_path: Path) -> None:
    """Neither those before it in the same question nor those behind."""
    os.mkfifo(tmp_path / "fifo")
    wav = stored(tmp_path, "wav"), "wav"
    examination = asyncio.create_task(single.facts([wav, (tmp_path / "fifo", "wav"), wav]))
    for _ in range(4):  # two for all, and two for this one
        with holding(await opened(tmp_path / "fifo")):
            (pid,) = pids(single)
            os.kill(pid, signal.SIGSEGV)
            await ended(pid)
    before, none, behind = await examination
    assert (before.duration, none, behind) == (1.2, UNEXAMINED, before)


async def test_a_file_that_never_ends_costs_one_file_its_facts(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    impatient = pool(timeout=1)
    assert await one(impatient, tmp_path / "fifo") == UNEXAMINED
    assert await impatient.outline(tmp_path / "fifo", "wav") is None
    assert (await one(impatient, stored(tmp_path, "wav"))).codec == "pcm_s16le"
    await impatient.stop()


async def test_what_is_not_heard_in_time_is_looked_at_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where others leave no time of the processor."""
    script = tmp_path / "program.py"
    script.write_text(
        "import time\n"
        "from maie_aiohttp.inspection import confinement, prober\n"
        "def answer(wish, files, patience):\n"
        "    if patience: time.sleep(60)\n"
        "    return prober.answer(wish, files, patience)\n"
        "confinement.run(answer)\n"
    )
    monkeypatch.setattr(analyst, "PROGRAM", script)
    impatient = pool(timeout=1)
    found = await impatient.facts([(stored(tmp_path, name), name) for name in ("wav", "flac")])
    assert [told.duration for told in found] == [1.2, 1.2]
    await impatient.stop()


async def test_a_file_that_is_not_given_out(single: Analyst, tmp_path: Path) -> None:
    nowhere, there = (Path("/nowhere"), "wav"), (stored(tmp_path, "wav"), "wav")
    assert [told.duration for told in await single.facts([nowhere, there])] == [None, 1.2]
    for asked in (single.tags, single.outline):
        with pytest.raises(Damaged):
            await asked(*nowhere)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "unread",
        "null",
        "[]",
        "[false, false]",
        "true",
        "{}",
        '[{"findings": ["excellent"]}]',
        '[{"findings": [], "duration": -1}]',
        '[{"findings": [], "duration": NaN}]',
        '[{"findings": [], "duration": 1e300}]',
        '[{"findings": [], "codec": "<script>"}]',
        '[{"findings": [], "channels": "2"}]',
        '[{"findings": [], "channels": 2.5}]',
        '[{"findings": [], "sample_rate": 99999999999999999999}]',
        '[{"findings": [], "more": 1}]',
        "x" * 600_000,
    ],
)
async def test_only_facts_are_believed(answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "program.py"
    told = json.dumps(answer)
    script.write_text(
        f"print('ready', flush=True)\nfor number in (1, 1):\n    input(); print(number, {told}, flush=True)"
    )
    monkeypatch.setattr(analyst, "PROGRAM", script)
    impostor = pool()
    assert await one(impostor, tmp_path / "file") == UNEXAMINED
    await impostor.stop()


@pytest.mark.parametrize(
    "answer",
    [
        *(json.dumps({"sample_rate": 1, "stretch": 1, "pairs": pairs}) for pairs in ("", "AAAA", "!", "AAAAAA==\n")),
        json.dumps({"sample_rate": 0, "stretch": 1, "pairs": "AAAAAA=="}),
        "[]",
    ],
)
def test_only_outlines_are_believed(answer: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
        analyst._outline(answer)


def test_every_format_of_a_sample_is_one() -> None:
    assert {sample.format for sample in audio.samples()} <= BY_NAME.keys()
