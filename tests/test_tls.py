"""TLS without a proxy: what clients get to see of it, and the exchange of certificates while they are connected."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import pytest
from aiohttp import ClientSession, TCPConnector
from structlog.testing import capture_logs

from maie_aiohttp.command import main
from maie_aiohttp.web.tls import Certificate
from tests import audio, certificates
from tests.certificates import Pair, issue
from tests.crew import until
from tests.scenarios import process
from tests.scenarios.process import Process
from tests.test_workers import WAV, Slow, post
from tests.wire import COLLECTION

pytestmark = [
    pytest.mark.skipif(certificates.MISSING, reason="openssl makes the certificates"),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return issue(tmp_path / "first")


@pytest.fixture
def other(tmp_path: Path) -> Pair:
    return issue(tmp_path / "second")


@asynccontextmanager
async def serving(
    folder: Path, pair: Pair, workers: int = 1, settings: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[Process]:
    """The server, once all of it serves."""
    async with process.serving(folder, {**pair.settings, **settings, "server.workers": str(workers)}) as server:
        await logged(server, '"event": "ready"', workers)
        yield server


async def logged(server: Process, text: str, times: int = 1) -> None:
    """Wait until so many lines have it in them."""
    await until(lambda: sum(text in line for line in server.log) >= times)


async def shown(server: Process) -> bytes:
    """The certificate that a new connection sees, in DER."""
    host, _, port = (await server.url()).removeprefix("https://").rpartition(":")
    return ssl.PEM_cert_to_DER_cert(await asyncio.to_thread(ssl.get_server_certificate, (host, int(port))))


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())


@asynccontextmanager
async def client_of(server: Process, pair: Pair) -> AsyncIterator[ClientSession]:
    """One that trusts this certificate, and keeps its connection."""
    context = ssl.create_default_context(cafile=pair.certificate)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    async with ClientSession(await server.url(), connector=TCPConnector(ssl=context, limit=1)) as client:
        yield client


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
@pytest.mark.parametrize("workers", [1, 2])
async def test_curl_uploads_and_finds_its_upload_again(folder: Path, tmp_path: Path, pair: Pair, workers: int) -> None:
    (tmp_path / "a.wav").write_bytes(WAV)
    async with serving(folder, pair, workers) as server:
        url = await server.url()
        assert url.startswith("https://127.0.0.1:")
        told = await curl(pair, "-F", f"file=@{tmp_path / 'a.wav'}", "-D", "-", "-o", "/dev/null", url + COLLECTION)
        (location,) = (line.split()[1] for line in told.splitlines() if line.startswith("Location: "))
        again = await curl(pair, "-o", "/dev/null", "-w", "%{http_code} %{scheme}", f"{url}{location}/content")
        assert again.lower() == "200 https"


async def curl(pair: Pair, *arguments: str) -> str:
    """What it says. Raises CalledProcessError if it does not trust the server, or does not understand it."""
    command = ["curl", "-sS", "--cacert", str(pair.certificate), *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    ("newest", "spoken"),
    [(ssl.TLSVersion.TLSv1_1, None), (ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")],
)
async def test_versions(folder: Path, pair: Pair, newest: ssl.TLSVersion, spoken: str | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pair.certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1") if spoken is None else nullcontext():
        context.minimum_version, context.maximum_version = newest, newest
    async with serving(folder, pair) as server:
        port = int((await server.url()).rpartition(":")[2])
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        except (ssl.SSLError, ConnectionError):
            assert spoken is None
            return
        connection = writer.get_extra_info("ssl_object")
        assert (connection.version(), connection.selected_alpn_protocol()) == (spoken, "http/1.1")
        writer.close()


@asynccontextmanager
async def _plain(server: Process) -> AsyncIterator[asyncio.StreamReader]:
    port = int((await server.url()).rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    yield reader
    writer.close()


async def test_who_does_not_speak_tls_gets_nothing(folder: Path, pair: Pair) -> None:
    async with serving(folder, pair) as server, _plain(server) as reader:
        assert b"HTTP" not in await reader.read()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_new_certificate_is_for_new_connections(folder: Path, pair: Pair, other: Pair, workers: int) -> None:
    async with serving(folder, pair, workers) as server, client_of(server, pair) as before:
        body = Slow()
        upload = asyncio.create_task(post(before, body))
        await body.sent.wait()
        pair.install(other)
        server.signal(signal.SIGHUP)
        await logged(server, '"event": "certificate renewed"', workers)
        assert {await shown(server) for _ in range(4 * workers)} == {der(other)}
        body.go_on.set()
        assert await upload == 201
        assert await post(before, WAV) == 201


def missing(pair: Pair, _: Pair) -> None:
    pair.key.unlink()


def empty(pair: Pair, _: Pair) -> None:
    pair.certificate.write_bytes(b"")


def text(pair: Pair, _: Pair) -> None:
    pair.certificate.write_text("no certificate")


def half(pair: Pair, other: Pair) -> None:
    pair.certificate.write_bytes(other.certificate.read_bytes()[:300])


def of_others(pair: Pair, other: Pair) -> None:
    pair.key.write_bytes(other.key.read_bytes())


def locked(pair: Pair, other: Pair) -> None:
    pair.install(issue(other.key.parent / "locked", locked_with="1234"))


def folders(pair: Pair, _: Pair) -> None:
    pair.certificate.unlink()
    pair.certificate.mkdir()


BROKEN = (missing, empty, text, half, of_others, locked, folders)

Break = Callable[[Pair, Pair], None]


async def test_a_broken_certificate_is_not_taken(folder: Path, pair: Pair, other: Pair) -> None:
    good, first = issue(folder.parent / "good"), der(pair)
    good.install(pair)
    async with serving(folder, pair) as server:
        for number, spoil in enumerate(BROKEN, 1):
            spoil(pair, other)
            server.signal(signal.SIGHUP)
            await logged(server, '"reason": "server.tls_', number)
            assert await shown(server) == first
            if pair.certificate.is_dir():
                pair.certificate.rmdir()
            pair.install(good)
        server.signal(signal.SIGHUP)
        await logged(server, '"event": "certificate renewed"')


async def test_a_successor_has_the_last_good_certificate(folder: Path, pair: Pair, other: Pair) -> None:
    async with serving(folder, pair, workers=2) as server:
        second = der(other)
        pair.install(other)
        server.signal(signal.SIGHUP)
        await logged(server, '"event": "certificate renewed"', 2)
        pair.key.unlink()
        server.signal(signal.SIGHUP)
        await logged(server, '"event": "certificate not renewed"', 2)
        for pid in server.children():
            os.kill(pid, signal.SIGKILL)
        await logged(server, '"event": "ready"', 4)
        assert {await shown(server) for _ in range(8)} == {second}


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("spoil", BROKEN)
def test_no_start_with_a_broken_one(
    folder: Path,
    pair: Pair,
    other: Pair,
    spoil: Break,
    workers: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(pair, other)
    for name, value in {**pair.settings, "storage.folder": str(folder), "server.workers": workers}.items():
        monkeypatch.setenv(f"MAIE_{name.replace('.', '__')}".upper(), value)
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("server.tls_")


async def test_both_may_be_in_one_file(folder: Path, pair: Pair) -> None:
    expected = der(pair)
    pair.certificate.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    async with process.serving(folder, {"server.tls_certificate": str(pair.certificate)}) as server:
        assert await shown(server) == expected


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [
        (-HOUR, 90 * DAY, []),
        (-HOUR, 15 * DAY, []),
        (-80 * DAY, 15 * DAY, []),
        (-80 * DAY, 13 * DAY, ["certificate ends soon"]),
        (-5 * DAY, 1.2 * DAY, ["certificate ends soon"]),
        (-5 * DAY, 1.3 * DAY, []),
        (-5 * DAY, -HOUR, ["certificate has ended"]),
        (HOUR, 5 * DAY, ["certificate is not valid yet"]),
    ],
)
async def test_its_end_is_told_ahead(
    tmp_path: Path, begins: timedelta, ends: timedelta, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = issue(tmp_path / "pair", begins, ends)
    monkeypatch.setattr("maie_aiohttp.web.tls.DAY", 0.01)
    with capture_logs() as lines:
        async with Certificate(pair.certificate, pair.key).kept():
            await asyncio.sleep(0)
            if said:
                await until(lambda: len(lines) > 1)
    assert {line["event"] for line in lines} == set(said)


async def test_megabytes_come_through_whole(folder: Path, pair: Pair) -> None:
    async with serving(folder, pair) as server, client_of(server, pair) as client:
        body = b"".join(audio.long_wav(3_000_000))
        async with client.post(COLLECTION, data=BytesIO(body)) as answer:
            record = await answer.json()
        async with client.get(record["links"]["content"]) as content:
            assert await content.read() == body
