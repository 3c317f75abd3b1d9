from __future__ import annotations

import asyncio
import io
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from maie_aiohttp import decoder, inspector
from maie_aiohttp.errors import Busy, Draining, NotAudio
from maie_aiohttp.formats import FORMATS
from maie_aiohttp.inspector import Inspector
from tests import audio

MIB = 2**20
DEMUXERS = {row.name: row.demuxer for row in FORMATS}


def pool(*, workers: int = 1, timeout: float = 60, memory: int = 256 * MIB) -> Inspector:
    return Inspector(workers=workers, timeout=timeout, memory=memory)


@pytest.fixture
async def single() -> AsyncIterator[Inspector]:
    """An inspector with one child."""
    inspector = pool()
    await inspector.start()
    yield inspector
    await inspector.stop()


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    return stored(tmp_path, "wav")


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A path on which whoever reads it waits for ever."""
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def stored(folder: Path, name: str) -> Path:
    sample = audio.sample(name)
    path = folder / name
    path.write_bytes(sample.content)
    return path


def pids(inspector: Inspector) -> list[int]:
    return [child._process.pid for child in inspector._children]


async def opened(fifo: Path) -> int:
    """Wait until a child reads the FIFO, and hold its other end, so that it reads on."""
    while True:
        with suppress(OSError):  # ENXIO: no reader yet
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        await asyncio.sleep(0.01)


@contextmanager
def holding(end: int) -> Iterator[None]:
    yield
    os.close(end)


async def ended(pid: int) -> None:
    """Return when no process has this id, not even a zombie."""
    with suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)
            await asyncio.sleep(0.01)


# Verdicts, each by the decoder itself in this process (its measured coverage) and the important ones by a child.


@pytest.mark.parametrize("name", audio.NAMES)
def test_decoder_finds_audio_in_every_sample(name: str, tmp_path: Path) -> None:
    assert decoder.judge(str(stored(tmp_path, name)), DEMUXERS[audio.sample(name).format]) == "audio"


WAV = audio.sample("wav").content
REFUSED = {
    "nothing": (b"", "wav", "undecodable"),
    "html behind a WAV header": (WAV[:44].replace(b"fmt ", b"<p> ") + b"<script>" * 100, "wav", "undecodable"),
    "a WAV without samples": (WAV[:44], "wav", "undecodable"),
    "a FLAC header": (audio.sample("flac").content[:42], "flac", "undecodable"),
    "an MP4 cut before its index": (audio.sample("m4a-index-last").content[:-900], "mov", "undecodable"),
    "an Ogg header": (audio.sample("ogg-opus").content[:47], "ogg", "undecodable"),
    "zeros for MP3": (bytes(100_000), "mp3", "undecodable"),
    "another format": (WAV, "flac", "undecodable"),
    "an ASF object longer than any file": (
        bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c 4202000000000000 06000000 0102")
        + bytes(16)
        + (1 << 55).to_bytes(8, "little"),
        "asf",
        "undecodable",
    ),
    "an MP4 with video": (audio.video(), "mov", "video"),
    "a WebM with video": (audio.webm_video(), "webm", "video"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_decoder_names_what_it_refuses(name: str, tmp_path: Path) -> None:
    content, demuxer, word = REFUSED[name]
    path = tmp_path / "upload"
    path.write_bytes(content)
    assert decoder.judge(str(path), demuxer) == word


@pytest.mark.parametrize(
    ("demuxer", "playlist"),
    [
        ("concat", "file 'mp3.mp3'"),
        ("hls", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\nmp3.mp3\n#EXT-X-ENDLIST"),
    ],
)
def test_decoder_opens_no_other_file(demuxer: str, playlist: str, tmp_path: Path) -> None:
    stored(tmp_path, "mp3").rename(tmp_path / "mp3.mp3")
    (tmp_path / "playlist").write_text(playlist, encoding="ascii")
    assert decoder.judge(str(tmp_path / "playlist"), demuxer) == "undecodable"


def flac_with_picture(size: int) -> bytes:
    """A FLAC file whose metadata FFmpeg reads into `size` bytes of memory."""
    content = audio.sample("flac").content
    picture = b"\0\0\0\3\0\0\0\x09image/png" + bytes(20) + size.to_bytes(4, "big") + audio.png().ljust(size, b"\0")
    return content[:42] + b"\x06" + len(picture).to_bytes(3, "big") + picture + content[42:]


def test_decoder_gives_up_searching_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "picture.flac"
    path.write_bytes(flac_with_picture(2 * MIB))
    assert decoder.judge(str(path), "flac") == "audio"
    monkeypatch.setattr(decoder, "READ_LIMIT", MIB)
    assert decoder.judge(str(path), "flac") == "undecodable"


def test_decoder_answers_line_by_line(wav: Path) -> None:
    answers = io.StringIO()
    decoder.serve([f'["{wav}", "wav"]\n', '["/nowhere", "wav"]\n'], answers, 60)
    assert answers.getvalue().split() == ["ready", "audio", "unreadable"]


async def test_accepts_audio_and_refuses_the_rest_with_a_sentence(single: Inspector, tmp_path: Path) -> None:
    for name in ("mp3-cover", "matroska-cover", "m4a-index-beyond-head", "w64"):
        await single.inspect(stored(tmp_path, name), DEMUXERS[audio.sample(name).format])
    for content, demuxer, word in REFUSED.values():
        (tmp_path / "refused").write_bytes(content)
        with pytest.raises(NotAudio) as refusal:
            await single.inspect(tmp_path / "refused", demuxer)
        assert str(refusal.value) == inspector.REFUSALS[word]


async def test_any_file_name_reaches_the_child(single: Inspector, wav: Path) -> None:
    for name in ('a "quote" and\na line', "größer 録音 🎤", os.fsdecode(b"not \xff UTF-8"), "%s:pipe"):
        os.link(wav, wav.with_name(name))
        await single.inspect(wav.with_name(name), "wav")


async def test_a_file_that_cannot_be_read_is_not_the_clients_fault(single: Inspector, tmp_path: Path) -> None:
    with pytest.raises(Busy):
        await single.inspect(tmp_path / "nowhere", "wav")


async def test_many_files_at_once_each_get_their_own_verdict(tmp_path: Path, wav: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"<html>" * 1000)
    files = [wav, junk, junk, wav, wav] * 4
    inspector = pool(workers=2)
    await inspector.start()
    verdicts = await asyncio.gather(*(inspector.inspect(file, "wav") for file in files), return_exceptions=True)
    await inspector.stop()
    assert [type(verdict) for verdict in verdicts] == [NotAudio if file is junk else type(None) for file in files]


# What may happen to a child.


async def test_starts_children_when_they_are_needed(wav: Path) -> None:
    inspector = pool()
    await inspector.inspect(wav, "wav")
    await inspector.stop()


async def test_a_child_that_died_idle_is_replaced_unseen(single: Inspector, wav: Path) -> None:
    await single.inspect(wav, "wav")
    (pid,) = pids(single)
    os.kill(pid, signal.SIGKILL)
    await ended(pid)
    await single.inspect(wav, "wav")
    assert pids(single) != [pid]


async def test_a_crash_is_tried_again_on_a_fresh_child(single: Inspector, fifo: Path, wav: Path) -> None:
    inspection = asyncio.create_task(single.inspect(fifo, "wav"))
    with holding(await opened(fifo)):
        await asyncio.to_thread(wav.rename, fifo)
        os.kill(pids(single)[0], signal.SIGSEGV)
        await inspection


async def test_a_file_that_crashes_two_children_is_refused(single: Inspector, fifo: Path, wav: Path) -> None:
    inspection = asyncio.create_task(single.inspect(fifo, "wav"))
    with capture_logs() as logs:
        for _ in range(2):
            with holding(await opened(fifo)):
                (pid,) = pids(single)
                os.kill(pid, signal.SIGSEGV)
                await ended(pid)
        with pytest.raises(NotAudio):
            await inspection
    assert logs == 2 * [{"event": "decoder died", "log_level": "warning", "demuxer": "wav"}]
    await single.inspect(wav, "wav")


async def test_a_hang_ends_at_the_time_limit_and_costs_nobody_else(fifo: Path, wav: Path) -> None:
    inspector = pool(timeout=1)
    with pytest.raises(Busy):
        await inspector.inspect(fifo, "wav")
    await inspector.inspect(wav, "wav")
    await inspector.stop()


async def test_waiting_for_a_child_has_the_same_limit(fifo: Path, wav: Path) -> None:
    inspector = pool(timeout=0.5)
    hanging = asyncio.create_task(inspector.inspect(fifo, "wav"))
    with holding(await opened(fifo)):
        waiting = [asyncio.create_task(inspector.inspect(fifo, "wav")) for _ in range(3)]
        verdicts = await asyncio.gather(hanging, *waiting, return_exceptions=True)
    await inspector.stop()
    assert [type(verdict) for verdict in verdicts] == [Busy] * 4


async def test_a_cancelled_files_answer_is_not_taken_for_the_next_ones(
    single: Inspector, wav: Path, tmp_path: Path
) -> None:
    (tmp_path / "junk").write_bytes(b"junk")
    for steps in range(1, 6):  # of the event loop: before, while and after the question is asked
        await single.inspect(wav, "wav")
        inspection = asyncio.create_task(single.inspect(wav, "wav"))
        for _ in range(steps):
            await asyncio.sleep(0)
        inspection.cancel()
        with pytest.raises(NotAudio):
            await single.inspect(tmp_path / "junk", "wav")


async def test_cancelling_a_file_that_hangs_frees_the_child(single: Inspector, fifo: Path, wav: Path) -> None:
    inspection = asyncio.create_task(single.inspect(fifo, "wav"))
    with holding(await opened(fifo)), suppress(asyncio.CancelledError):
        inspection.cancel()
        await inspection
    await single.inspect(wav, "wav")


async def test_cancelling_while_a_child_starts_leaves_its_place(wav: Path) -> None:
    inspector = pool()
    for pause in (0, 0, 0.005, 0.05):
        inspection = asyncio.create_task(inspector.inspect(wav, "wav"))
        await asyncio.sleep(pause)
        inspection.cancel()
    await inspector.inspect(wav, "wav")
    await inspector.stop()


async def test_stop_ends_what_is_under_way_and_what_waits(fifo: Path) -> None:
    inspector = pool()
    inspections = [asyncio.create_task(inspector.inspect(fifo, "wav")) for _ in range(3)]
    with holding(await opened(fifo)):
        (pid,) = pids(inspector)
        await inspector.stop()
    await ended(pid)
    verdicts = await asyncio.gather(*inspections, return_exceptions=True)
    assert [type(verdict) for verdict in verdicts] == [Draining] * 3


async def test_stop_while_a_child_starts(wav: Path) -> None:
    inspector = pool()
    inspection = asyncio.create_task(inspector.inspect(wav, "wav"))
    await asyncio.sleep(0)
    await inspector.stop()
    with pytest.raises(Draining):
        await inspection
    await inspector.stop()
    assert pids(inspector) == []


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false"])
async def test_no_child_is_the_servers_trouble(program: str, wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program)
    inspector = pool()
    with pytest.raises(Busy):
        await inspector.inspect(wav, "wav")
    await inspector.stop()


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("print('hello')", Busy),
        ("print('ready', flush=True); input(); print('<script>' * 2000)", NotAudio),
        ("print('ready', flush=True); input(); print('excellent')", NotAudio),
    ],
)
async def test_only_words_of_the_protocol_are_believed(
    program: str, error: type[Exception], wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = wav.with_name("program.py")
    script.write_text(program, encoding="ascii")
    monkeypatch.setattr(inspector, "PROGRAM", script)
    impostors = pool()
    with pytest.raises(error):
        await impostors.inspect(wav, "wav")
    await impostors.stop()


# The cage.


async def test_a_file_that_takes_too_much_memory_is_refused(tmp_path: Path, wav: Path) -> None:
    path = tmp_path / "picture.flac"
    path.write_bytes(flac_with_picture(15 * MIB))
    generous, strict = pool(), pool(memory=4 * MIB)
    await generous.inspect(path, "flac")
    with pytest.raises(NotAudio):
        await strict.inspect(path, "flac")
    await strict.inspect(wav, "wav")
    await asyncio.gather(generous.stop(), strict.stop())


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
async def test_a_child_is_confined(wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    inspector = pool(memory=100 * MIB)
    with wav.open("rb") as inherited:
        os.set_inheritable(inherited.fileno(), True)
        await inspector.inspect(wav, "wav")
    (pid,) = pids(inspector)
    proc = Path("/proc", str(pid))
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    assert resource.prlimit(pid, resource.RLIMIT_FSIZE) == (0, 0)
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (16, 16)
    assert 100 * MIB < resource.prlimit(pid, resource.RLIMIT_AS)[1] < 600 * MIB
    assert len(list((proc / "fd").iterdir())) == 3
    assert b"DATABASE_PASSWORD" not in (proc / "environ").read_bytes()
    assert os.getsid(pid) == pid  # out of reach of a terminal's Ctrl-C
    await inspector.stop()


def asked_by_hand(path: Path, seconds: float) -> subprocess.Popen[bytes]:
    """A decoder without an inspector, which was asked about a file."""
    command = [sys.executable, str(inspector.PROGRAM), str(256 * MIB), str(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={})
    assert process.stdin is not None
    process.stdin.write(f'["{path}", "wav"]\n'.encode())
    process.stdin.flush()
    return process


def test_a_child_ends_with_its_parent(wav: Path) -> None:
    with asked_by_hand(wav, 60) as process:
        answers, _ = process.communicate()  # closes standard input, as a parent's death does
    assert answers == b"ready\naudio\n"
    assert process.returncode == 0


def test_a_child_that_hangs_ends_without_its_parent(fifo: Path) -> None:
    with asked_by_hand(fifo, 0.2) as process:
        assert process.wait() == -signal.SIGALRM


def test_the_server_never_loads_ffmpeg() -> None:
    program = "import sys, maie_aiohttp.inspector; sys.exit('av' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
