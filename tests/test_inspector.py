from __future__ import annotations

import asyncio
import io
import os
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from maie_aiohttp.errors import Busy, Draining, NotAudio
from maie_aiohttp.formats import FORMATS
from maie_aiohttp.inspection import confinement, decoder, inspector
from maie_aiohttp.inspection.children import Pool
from maie_aiohttp.inspection.inspector import Inspector
from tests import audio
from tests.conftest import configure, files, serving
from tests.layers import no_descriptors

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


def pids(inspector: Pool) -> list[int]:
    return [child._process.pid for child in inspector._children]


async def opened(fifo: Path) -> int:
    """Wait until a child reads the FIFO, and hold its other end, so that it reads on."""
    while True:
        with suppress(OSError):  # ENXIO: no reader yet
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        await asyncio.sleep(0.01)


@contextmanager
def holding(end: int) -> Iterator[None]:
    try:
        yield
    finally:
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
    confinement.serve([f'[1, "{wav}", "wav"]\n', '[7, "/nowhere", "wav"]\n'], answers, 60, decoder.judge)
    assert answers.getvalue().splitlines() == ["ready", "1 audio", "7 unreadable"]


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


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL], ids=lambda number: number.name)
async def test_a_crash_is_tried_again_on_a_fresh_child(
    number: signal.Signals, single: Inspector, fifo: Path, wav: Path
) -> None:
    """SIGKILL is also how the system ends it for want of memory."""
    inspection = asyncio.create_task(single.inspect(fifo, "wav"))
    with holding(await opened(fifo)):
        await asyncio.to_thread(wav.rename, fifo)
        os.kill(pids(single)[0], number)
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


OBEYING = """
import json, os, signal, sys, time
print("ready", flush=True)
for line in sys.stdin:
    number, path, _ = json.loads(line)
    exec(open(path).read())
    sys.stdout.flush()
"""
"""A child that does what a file tells it to: what FFmpeg may be brought to, in the worst case."""

DEEDS = {
    "audio": "print(number, 'audio')",
    "undecodable": "print(number, 'undecodable')",
    "two answers": "print(number, 'audio'); print(number, 'audio')",
    "crash": "os.kill(os.getpid(), signal.SIGSEGV)",
    "end": "sys.exit(0)",
    "nonsense": "print(number, 'excellent')",
    "no number": "print('audio')",
    "another's number": "print(number + 1, 'audio')",
    "flood": "print('audio' * 100_000)",
    "flood without a line": "sys.stdout.write('a' * 100_000)",
    "not text": "sys.stdout.buffer.write(bytes([255, 10]))",
    "a number that is none": "print('x', 'audio')",
    "nothing": "time.sleep(60)",
    "closed": "os.close(1); time.sleep(60)",
}
REFUSING = DEEDS.keys() - {"audio", "two answers", "nothing"}


@pytest.fixture
async def obeying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inspector]:
    """An inspector with two such children, and a file for each deed."""
    program = tmp_path / "program.py"
    program.write_text(OBEYING, encoding="ascii")
    for deed, statement in DEEDS.items():
        (tmp_path / deed).write_text(statement, encoding="ascii")
    monkeypatch.setattr(inspector, "PROGRAM", program)
    obeying = pool(workers=2, timeout=2)
    yield obeying
    await obeying.stop()


@pytest.mark.parametrize("deed", sorted(REFUSING))
async def test_each_deed_costs_one_file_its_verdict(deed: str, obeying: Inspector, tmp_path: Path) -> None:
    asked = [tmp_path / deed, tmp_path / "audio", tmp_path / deed, tmp_path / "undecodable", tmp_path / "audio"]
    verdicts = await asyncio.gather(*(obeying.inspect(path, "wav") for path in asked), return_exceptions=True)
    assert [verdict is None for verdict in verdicts] == [False, True, False, False, True]
    assert {type(verdict) for verdict in verdicts} == {NotAudio, type(None)}


async def test_an_answer_too_many_is_not_the_next_files(obeying: Inspector, tmp_path: Path) -> None:
    for _ in range(4):
        await obeying.inspect(tmp_path / "two answers", "wav")
        for _ in range(2):  # one for each child
            with pytest.raises(NotAudio):
                await obeying.inspect(tmp_path / "undecodable", "wav")


async def test_whoever_says_nothing_is_no_verdict(obeying: Inspector, tmp_path: Path) -> None:
    asked = [tmp_path / "nothing", tmp_path / "audio", tmp_path / "nothing", tmp_path / "audio"]
    verdicts = await asyncio.gather(*(obeying.inspect(path, "wav") for path in asked), return_exceptions=True)
    assert [type(verdict) for verdict in verdicts] == [Busy, type(None), Busy, type(None)]


async def test_no_descriptor_for_a_child_is_the_servers_trouble(obeying: Inspector, tmp_path: Path) -> None:
    with no_descriptors(), pytest.raises(Busy):
        await obeying.inspect(tmp_path / "audio", "wav")
    await obeying.inspect(tmp_path / "audio", "wav")


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
async def test_nothing_is_left_of_a_hundred_hostile_files(obeying: Inspector, tmp_path: Path) -> None:
    await asyncio.gather(*(obeying.inspect(tmp_path / "audio", "wav") for _ in range(4)))
    before = leftovers()
    for _ in range(10):
        deeds = ["audio", *sorted(REFUSING), "audio"]
        asked = (obeying.inspect(tmp_path / deed, "wav") for deed in deeds)
        verdicts = await asyncio.gather(*asked, return_exceptions=True)
        assert [deed for deed, verdict in zip(deeds, verdicts, strict=True) if verdict is None] == ["audio", "audio"]
    await asyncio.gather(*(obeying.inspect(tmp_path / "audio", "wav") for _ in range(4)))
    while obeying._burials:  # noqa: ASYNC110 - those of the last children
        await asyncio.sleep(0.01)
    assert leftovers() == before


def leftovers() -> tuple[int, int, int]:
    """Open files, child processes (zombies included), tasks."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text(encoding="ascii").split()
    return len(list(Path("/proc/self/fd").iterdir())), len(children), len(asyncio.all_tasks())


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
async def test_nothing_is_left_of_a_thousand_files_whose_children_are_killed_now_and_then(
    tmp_path: Path, wav: Path
) -> None:
    (tmp_path / "junk").write_bytes(b"junk" * 1000)
    inspector = pool(workers=2)
    await inspector.start()
    await asyncio.gather(*(inspector.inspect(wav, "wav") for _ in range(4)))
    before = leftovers()
    for _ in range(10):
        files = [wav, tmp_path / "junk"] * 50
        running = [asyncio.create_task(inspector.inspect(file, "wav")) for file in files]
        await running[20]
        os.kill(pids(inspector)[0], signal.SIGKILL)
        verdicts = await asyncio.gather(*running, return_exceptions=True)
        assert [type(verdict) for verdict in verdicts] == [type(None), NotAudio] * 50
    while len(pids(inspector)) < 2:
        await asyncio.gather(*(inspector.inspect(wav, "wav") for _ in range(4)))
    while inspector._burials:  # noqa: ASYNC110 - those of the last children
        await asyncio.sleep(0.01)
    assert leftovers() == before
    await inspector.stop()


# The cage.


def hungry_mp4(samples: int) -> bytes:
    """A recording of a kilobyte whose index speaks of many samples of one byte each: FFmpeg makes a table of 24 bytes
    for each of them."""
    content = bytearray(audio.sample("m4a").content)
    for box, offset, number in ((b"stsz", 8, 1), (b"stsz", 12, samples), (b"stsc", 16, samples)):
        start = content.index(box) + offset
        content[start : start + 4] = number.to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize("samples", [1 << 20, 1 << 23, 1 << 24, 1 << 28, (1 << 32) - 1])
async def test_a_small_file_that_asks_for_gigabytes_is_refused(samples: int, single: Inspector, tmp_path: Path) -> None:
    (tmp_path / "hungry").write_bytes(hungry_mp4(samples))
    (tmp_path / "m4a").write_bytes(audio.sample("m4a").content)
    with pytest.raises(NotAudio):
        await single.inspect(tmp_path / "hungry", "mov")
    await single.inspect(tmp_path / "m4a", "mov")


async def test_a_hostile_upload_costs_no_other_its_answer(folder: Path) -> None:
    hostile = flac_with_picture(15 * MIB), hungry_mp4(1 << 28)
    mp3, wav = audio.sample("mp3").content, audio.sample("wav").content
    async with serving(configure(folder, inspector={"memory": "4 MiB"})) as client:

        async def upload(content: bytes) -> int:
            async with client.post("/v1/uploads", data=io.BytesIO(content)) as answer:
                return answer.status

        sent = [mp3, *hostile, wav, mp3] * 3
        statuses = await asyncio.gather(*map(upload, sent))
    assert statuses == [415 if content in hostile else 201 for content in sent]
    assert len(files(folder)) == statuses.count(201)


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
    assert os.getpgid(pid) == pid  # out of reach of a terminal's Ctrl-C
    await inspector.stop()


def decoder_for(seconds: float) -> list[str]:
    """The command that starts one."""
    return [sys.executable, str(inspector.PROGRAM), str(256 * MIB), str(seconds)]


def asked_by_hand(path: Path, seconds: float) -> subprocess.Popen[bytes]:
    """A decoder without an inspector, which was asked about a file."""
    process = subprocess.Popen(decoder_for(seconds), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={})
    assert process.stdin is not None
    process.stdin.write(f'[1, "{path}", "wav"]\n'.encode())
    process.stdin.flush()
    return process


def test_a_child_ends_with_its_parent(wav: Path) -> None:
    with asked_by_hand(wav, 60) as process:
        answers, _ = process.communicate()  # closes standard input, as a parent's death does
    assert answers == b"ready\n1 audio\n"
    assert process.returncode == 0


PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
child.stdin.write(sys.argv[1].encode())
child.stdin.flush()
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's PR_SET_PDEATHSIG")
async def test_a_child_at_work_ends_with_its_parent(fifo: Path) -> None:
    question = f'[1, "{fifo}", "wav"]\n'
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, question, *decoder_for(60))
    writer = await opened(fifo)
    with holding(writer):
        parent.kill()
        await parent.wait()
        reader = select.poll()
        reader.register(writer, 0)
        assert reader.poll(30_000) == [(writer, select.POLLERR)]  # it is gone, after seconds at the most


def test_a_child_that_hangs_ends_without_its_parent(fifo: Path) -> None:
    with asked_by_hand(fifo, 0.2) as process:
        assert process.wait() == -signal.SIGALRM


# Interruptions


async def test_an_interrupted_child_stands_still_until_it_goes_on(single: Inspector, fifo: Path, wav: Path) -> None:
    inspection = asyncio.create_task(single.inspect(fifo, "wav"))
    with holding(await opened(fifo)):
        (pid,) = pids(single)
        single.interrupt()
        await in_state("T", pid)
        await asyncio.to_thread(wav.rename, fifo)  # at its second look, it reads that
    await asyncio.sleep(0.2)
    assert not inspection.done()
    single.go_on()
    await inspection
    assert pids(single) == [pid]


async def in_state(letter: str, pid: int) -> None:
    """See proc_pid_stat(5)."""
    while Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != letter:  # noqa: ASYNC110, ASYNC240
        await asyncio.sleep(0.001)


async def test_an_interruption_is_not_taken_for_a_hang(fifo: Path, wav: Path) -> None:
    inspector = pool(timeout=1)
    await inspector.inspect(wav, "wav")
    inspection = asyncio.create_task(inspector.inspect(fifo, "wav"))
    with holding(await opened(fifo)):
        inspector.interrupt()
        await asyncio.sleep(1.5)
        assert not inspection.done()
        inspector.go_on()
        with pytest.raises(Busy):
            await inspection
    await inspector.stop()


async def test_who_asks_during_an_interruption_waits(single: Inspector, wav: Path) -> None:
    single.interrupt()
    inspections = [asyncio.create_task(single.inspect(wav, "wav")) for _ in range(3)]
    await asyncio.sleep(0.5)
    assert not any(inspection.done() for inspection in inspections)
    single.go_on()
    await asyncio.gather(*inspections)


async def test_a_child_may_start_during_an_interruption(wav: Path) -> None:
    inspector = pool()
    inspector.interrupt()
    inspection = asyncio.create_task(inspector.inspect(wav, "wav"))
    await asyncio.sleep(0.5)
    assert not inspection.done()
    inspector.go_on()
    await inspection
    await inspector.stop()


async def test_stop_ends_an_interruption(fifo: Path, wav: Path) -> None:
    inspector = pool()
    await inspector.inspect(wav, "wav")
    inspections = [asyncio.create_task(inspector.inspect(fifo, "wav")) for _ in range(3)]
    with holding(await opened(fifo)):
        (pid,) = pids(inspector)
        inspector.interrupt()
        await in_state("T", pid)
        await inspector.stop()
    await ended(pid)
    verdicts = await asyncio.gather(*inspections, return_exceptions=True)
    assert [type(verdict) for verdict in verdicts] == [Draining] * 3


async def test_a_child_that_dies_interrupted_is_replaced(single: Inspector, fifo: Path, wav: Path) -> None:
    inspection = asyncio.create_task(single.inspect(fifo, "wav"))
    with holding(await opened(fifo)):
        await asyncio.to_thread(wav.rename, fifo)
        (pid,) = pids(single)
        single.interrupt()
        os.kill(pid, signal.SIGKILL)
        await ended(pid)
    single.interrupt()
    single.go_on()
    await inspection
    assert pids(single) != [pid]


INTERRUPTING_PARENT = """
import asyncio, signal, sys
from pathlib import Path
from maie_aiohttp.inspection.inspector import Inspector

async def inspect():
    inspector = Inspector(workers=1, timeout=60, memory=1 << 28)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, inspector.interrupt)
    await inspector.start()
    print(*(child._process.pid for child in inspector._children), flush=True)
    await inspector.inspect(Path(sys.argv[1]), "wav")

asyncio.run(inspect())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's PR_SET_PDEATHSIG")
async def test_an_interrupted_child_ends_with_its_parent(fifo: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", INTERRUPTING_PARENT, fifo, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    with holding(await opened(fifo)):
        parent.send_signal(signal.SIGUSR1)
        await in_state("T", child)
        parent.kill()
        await parent.wait()
        with suppress(FileNotFoundError):  # whoever inherits it may wait for it at once, or never
            await in_state("Z", child)


async def test_a_child_that_starts_is_not_interrupted() -> None:
    """It would not end with its parent yet."""
    inspector = pool()
    await inspector.start()
    inspector.interrupt()
    (child,) = inspector._children
    async with asyncio.timeout(60):
        await child.ready()
    await inspector.stop()


def test_the_server_never_loads_ffmpeg() -> None:
    program = "import sys, maie_aiohttp.inspection.inspector; sys.exit('av' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
