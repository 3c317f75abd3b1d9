"""The scanner's contract, against a fake of clamd and clamd itself, and what only a fake can be made to do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from maie_aiohttp.addresses import SocketAddress
from maie_aiohttp.errors import Busy, Draining, Infected, StorageFailed, TooLarge
from maie_aiohttp.inspection import scanner as scanner_module
from maie_aiohttp.inspection.clamd import Clamd
from maie_aiohttp.inspection.scanner import ClamdScanner
from tests import audio, scanners
from tests.scanners import EICAR, MAX_FILE_SIZE, STREAM_MAX_LENGTH, Fake, Gate, fake_clamd, real_clamd

WAV = audio.sample("wav-u8").content
LONG = 60.0  # seconds


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(
    params=[
        "fake, unix",
        "fake, tcp",
        *(pytest.param(f"real, {way}", marks=scanners.installed) for way in ("unix", "tcp")),
    ]
)
async def address(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SocketAddress]:
    """Where a scanner listens."""
    kind, way = request.param.split(", ")
    if kind == "fake":
        listening = fake_clamd(Fake(), tmp_path / "clamd.ctl" if way == "unix" else None)
    else:
        listening = real_clamd(tmp_path, port=None if way == "unix" else free_port())
    async with listening as address:
        yield address


def scanner(address: SocketAddress, *, timeout: float = LONG, connections: int = 2) -> ClamdScanner:
    return ClamdScanner(Clamd(address), connections=connections, timeout=timeout)


async def nothing() -> None:
    """Nobody wants to hear that a scan begins."""


async def chunks(*contents: bytes) -> AsyncGenerator[bytes, None]:
    for content in contents:
        yield content


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def scan(scanner: ClamdScanner, *contents: bytes) -> None:
    await scanner.scan(chunks(*contents), nothing)


# The contract.


async def test_answers(address: SocketAddress) -> None:
    await scanner(address).probe()
    await scanner(address).admit()


@pytest.mark.parametrize(
    "contents",
    [
        [WAV],
        [],
        [b"", WAV],
        [WAV[:1], WAV[1:]],
        [bytes([byte]) for byte in WAV[:500]],
        [bytes(MAX_FILE_SIZE // 4)] * 4,
    ],
    ids=["one", "nothing", "empty", "two", "bytes", "large"],
)
async def test_takes_what_is_clean(contents: Sequence[bytes], address: SocketAddress) -> None:
    await scan(scanner(address), *contents)


@pytest.mark.parametrize(
    "contents",
    [
        [EICAR],
        [WAV + EICAR],
        [WAV[:100] + EICAR + WAV[100:]],
        [WAV, EICAR[:30], EICAR[30:], WAV],
        [WAV, b"", EICAR],
        [bytes(MAX_FILE_SIZE // 4)] * 3 + [EICAR],
    ],
    ids=["alone", "behind", "inside", "in two", "behind nothing", "at the end"],
)
async def test_refuses_what_is_infected(contents: Sequence[bytes], address: SocketAddress) -> None:
    with pytest.raises(Infected) as refusal, capture_logs() as logs:
        await scan(scanner(address), *contents)
    assert "Eicar" not in str(refusal.value)
    assert [(line["event"], line["signature"]) for line in logs] == [("malware found", "Eicar-Test.UNOFFICIAL")]


@pytest.mark.parametrize("size", [MAX_FILE_SIZE + 1, STREAM_MAX_LENGTH + 1, 64 * 2**20], ids=["file", "stream", "much"])
async def test_what_the_scanner_does_not_look_through_is_not_taken(size: int, address: SocketAddress) -> None:
    """Also where it has answered, and closed, while most of the file was still to be sent."""
    block = bytes(65_536)
    for _ in range(5):
        with pytest.raises(TooLarge):
            await scan(scanner(address), *([block] * (size // len(block) + 1)))


async def test_many_at_once_each_get_their_own_verdict(address: SocketAddress) -> None:
    scans = scanner(address)
    contents = [WAV, WAV + EICAR, WAV] * 10
    verdicts = await asyncio.gather(*(scan(scans, content) for content in contents), return_exceptions=True)
    assert [type(verdict) for verdict in verdicts] == [Infected if EICAR in one else type(None) for one in contents]


@scanners.installed
async def test_the_real_one_may_go_and_come_back(tmp_path: Path) -> None:
    scans = scanner(str(tmp_path / "clamd.ctl"))
    for _ in range(2):
        async with real_clamd(tmp_path):
            await scan(scans, WAV)
            with pytest.raises(Infected):
                await scan(scans, WAV + EICAR)
        with pytest.raises(Busy):
            await scan(scans, WAV)


# What only a fake does.


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[Fake]:
    """A scanner to be told what to do; it listens at `tmp_path / "clamd.ctl"`."""
    fake = Fake()
    async with fake_clamd(fake, tmp_path / "clamd.ctl"):
        yield fake


async def test_the_bytes_arrive_as_they_are(fake: Fake, tmp_path: Path) -> None:
    await scan(scanner(str(tmp_path / "clamd.ctl")), WAV[:70_000], b"", WAV[70_000:])
    assert fake.seen == [WAV]


@pytest.mark.parametrize(
    "answer",
    [
        scanners.dying,
        scanners.endless,
        *map(
            scanners.saying,
            (
                b"",
                b"\0",
                b"stream: OK",
                b"stream: OK\n\0",
                b"OK\0",
                b"stream:  FOUND\0",
                b"stream: Can't allocate memory ERROR\0",
                b"COMMAND READ TIMED OUT\0",
                b"\xff\xfe\0",
            ),
        ),
    ],
)
async def test_without_a_verdict_nothing_is_taken(answer: scanners.Answer, fake: Fake, tmp_path: Path) -> None:
    scans = scanner(str(tmp_path / "clamd.ctl"))
    fake.answer = answer
    for _ in range(2):
        with pytest.raises(Busy):
            await scan(scans, WAV)
    fake.answer = scanners.honest
    await scan(scans, WAV)


@pytest.mark.parametrize("answer", [scanners.hanging, scanners.deaf])
async def test_a_scanner_that_hangs_is_not_waited_for_beyond_the_limit(
    answer: scanners.Answer, fake: Fake, tmp_path: Path
) -> None:
    fake.answer = answer
    scans = scanner(str(tmp_path / "clamd.ctl"), timeout=0.3, connections=1)
    large = [bytes(65_536)] * 20
    verdicts = await asyncio.gather(*(scan(scans, *large) for _ in range(3)), return_exceptions=True)
    assert [type(verdict) for verdict in verdicts] == [Busy] * 3  # those that waited for their turn as well
    fake.answer = scanners.honest
    await scan(scans, WAV)


@pytest.mark.parametrize("address", ["/nowhere/clamd.ctl", ("127.0.0.1", 1), ("nowhere.invalid", 3310)])
async def test_where_nobody_listens_nothing_is_taken(address: SocketAddress) -> None:
    for attempt in (scan(scanner(address), WAV), scanner(address).probe()):
        with pytest.raises(Busy):
            await attempt


async def test_so_many_files_at_a_time_and_no_more(fake: Fake, tmp_path: Path) -> None:
    scans = scanner(str(tmp_path / "clamd.ctl"), connections=3)
    fake.answer = gate = Gate()
    running = [asyncio.create_task(scan(scans, WAV)) for _ in range(50)]
    while fake.at_once < 3:  # noqa: ASYNC110 - counted in the fake's own way
        await asyncio.sleep(0)
    gate.opened.set()
    await asyncio.gather(*running)
    assert (len(fake.seen), fake.most_at_once) == (50, 3)


async def test_a_scan_that_begins_is_told_before_its_turn(fake: Fake, tmp_path: Path) -> None:
    fake.answer = gate = Gate()
    scans = scanner(str(tmp_path / "clamd.ctl"), connections=1)
    told = [asyncio.Event() for _ in range(2)]

    async def scan_and_tell(event: asyncio.Event) -> None:
        async def tell() -> None:
            event.set()

        await scans.scan(chunks(WAV), tell)

    running = [asyncio.create_task(scan_and_tell(event)) for event in told]
    await asyncio.gather(*(event.wait() for event in told))
    gate.opened.set()
    await asyncio.gather(*running)


async def test_stopping_ends_what_runs_what_waits_and_what_comes(fake: Fake, tmp_path: Path) -> None:
    fake.answer = scanners.hanging
    scans = scanner(str(tmp_path / "clamd.ctl"), connections=1)
    running = [asyncio.create_task(scan(scans, WAV)) for _ in range(3)]
    await fake.asked.wait()
    await scans.stop()
    verdicts = await asyncio.gather(*running, scan(scans, WAV), return_exceptions=True)
    assert [type(verdict) for verdict in verdicts] == [Draining] * 4


async def test_a_file_that_cannot_be_read_is_no_failure_of_the_scanner(fake: Fake, tmp_path: Path) -> None:
    async def failing() -> AsyncGenerator[bytes, None]:
        yield WAV
        raise StorageFailed("The disk fails.")

    scans = scanner(str(tmp_path / "clamd.ctl"))
    with pytest.raises(StorageFailed), capture_logs() as logs:
        await scans.scan(failing(), nothing)
    assert logs == []
    await scan(scans, WAV)


async def test_failures_are_logged_once_and_so_is_their_end(fake: Fake, tmp_path: Path) -> None:
    scans = scanner(str(tmp_path / "clamd.ctl"))
    fake.answer = scanners.saying(b"stream: Can't allocate memory ERROR\0")
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(Busy):
                await scan(scans, WAV)
        fake.answer = scanners.honest
        await scan(scans, WAV)
        await scan(scans, WAV)
    assert [line["event"] for line in logs] == ["malware scanner fails", "malware scanner answers again"]
    assert logs[0]["reason"] == "stream: Can't allocate memory ERROR"


async def test_uploads_are_admitted_again_as_soon_as_the_scanner_is_back(tmp_path: Path) -> None:
    scans = scanner(str(tmp_path / "clamd.ctl"))
    await scans.admit()  # nobody has met a failure yet
    with pytest.raises(Busy):
        await scan(scans, WAV)
    with pytest.raises(Busy):
        await scans.admit()
    async with fake_clamd(Fake(), tmp_path / "clamd.ctl"):
        await scans.admit()


async def test_what_answers_but_is_no_scanner_is_not_ready(fake: Fake, tmp_path: Path) -> None:
    fake.pings = False
    with pytest.raises(Busy):
        await scanner(str(tmp_path / "clamd.ctl")).probe()


async def test_a_scanner_that_accepts_and_is_silent_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanner_module, "PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Busy):
        await scanner(silent.getsockname()).probe()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts in Linux's /proc")
async def test_nothing_is_left_of_many_failures(fake: Fake, tmp_path: Path) -> None:
    scans = scanner(str(tmp_path / "clamd.ctl"), timeout=0.01)
    await scan(scans, WAV[:10])
    before = open_files()
    for answer in (scanners.dying, scanners.hanging, scanners.saying(b"")):
        fake.answer = answer
        for _ in range(20):
            with pytest.raises(Busy):
                await scan(scans, WAV)
    while open_files() > before:  # noqa: ASYNC110 - until the fake's ends are closed, too
        await asyncio.sleep(0.01)
    assert scans._waiting == set()
