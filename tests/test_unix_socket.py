"""The server at a path: who finds it there, who is kept from it, and what is left of it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector

from maie_aiohttp.settings import ConfigurationError
from maie_aiohttp.web import unix
from tests.crew import until
from tests.scenarios import process
from tests.test_workers import WAV, post, run
from tests.wire import COLLECTION

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

OPEN = {"access.without_keys": "anybody"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "upload.sock"


def at(path: Path, **settings: str) -> dict[str, str]:
    """Settings of a server there."""
    return {
        **OPEN,
        "server.unix_socket": str(path),
        **{key.replace("__", "."): value for key, value in settings.items()},
    }


def client(path: Path) -> ClientSession:
    return ClientSession("http://localhost", connector=UnixConnector(str(path), limit=1))


def left(path: Path) -> list[str]:
    """Whatever is in its folder."""
    return [found.name for found in path.parent.iterdir()]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_it_is_there_as_long_as_the_server(folder: Path, path: Path, workers: str) -> None:
    async with process.serving(folder, at(path, server__workers=workers)) as server:
        assert await server.url() == f"unix:{path}"
        assert mode(path) == 0o660
        for _ in range(4):
            async with client(path) as session:
                assert await post(session, WAV) == 201
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
    assert left(path) == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
async def test_curl_finds_it(folder: Path, tmp_path: Path, path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(WAV)
    async with process.serving(folder, at(path)):
        command = ["curl", "-sS", "--unix-socket", str(path), "-F", f"file=@{tmp_path / 'a.wav'}", "-w", "%{http_code}"]
        running = await asyncio.create_subprocess_exec(*command, f"http://maie{COLLECTION}", stdout=-1)
        assert (await running.communicate())[0].endswith(b"201")


@pytest.mark.parametrize(("written", "expected"), [("0600", 0o600), ("666", 0o666)])
async def test_permissions(folder: Path, path: Path, written: str, expected: int) -> None:
    async with process.serving(folder, at(path, server__unix_socket_mode=written)):
        assert mode(path) == expected


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_one_that_a_killed_server_left_is_replaced(folder: Path, path: Path, workers: str) -> None:
    async with process.serving(folder, at(path, server__workers=workers)) as server:
        pids = server.children()
        server.signal(signal.SIGKILL)
        await server.ended()
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert left(path) == [path.name]
    async with process.serving(folder, at(path, server__workers=workers)), client(path) as session:
        assert await post(session, WAV) == 201


async def refusal(folder: Path, path: Path) -> str:
    """Why a server does not start."""
    status, said = await run(folder, server__unix_socket=str(path), access__without_keys="anybody")
    assert status == 2
    assert said.startswith("server.unix_socket: cannot listen at ")
    return said.strip().rpartition(": ")[2]


async def test_a_second_server_leaves_it_alone(folder: Path, tmp_path: Path, path: Path) -> None:
    async with process.serving(folder, at(path)), client(path) as session:
        assert await refusal(tmp_path / "other", path) == "Another server listens there"
        assert await post(session, WAV) == 201
    async with process.serving(folder, at(path)), client(path) as session:
        assert await post(session, WAV) == 201


async def test_one_of_several_that_start_at_once_gets_it(tmp_path: Path, path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(4)]
    attempts = [asyncio.create_task(attempt(folder, path)) for folder in folders]
    await until(lambda: sum(task.done() for task in attempts) == 3)
    assert {task.result() for task in attempts if task.done()} == {2}
    async with client(path) as session:
        assert await post(session, WAV) == 201
    (winner,) = (task for task in attempts if not task.done())
    winner.cancel()
    await asyncio.wait([winner])
    assert left(path) == []


async def attempt(folder: Path, path: Path) -> int:
    """A server there. Returns its exit status; cancelled, ends it."""
    variables = {"MAIE_STORAGE__FOLDER": str(folder), "MAIE_SERVER__UNIX_SOCKET": str(path)}
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "maie_aiohttp"),
        env={**os.environ, **variables, "MAIE_ACCESS__WITHOUT_KEYS": "anybody", "MAIE_STORAGE__RESERVE": "0 B"},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        return await running.wait()
    finally:
        if running.returncode is None:
            running.terminate()
            await running.wait()


@contextmanager
def crowded(path: Path) -> Iterator[None]:
    """Somebody listens, and too many wait already."""
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as waiting:
        listening.bind(str(path))
        listening.listen(0)
        waiting.connect(str(path))
        yield


def test_a_busy_one_is_not_taken_for_a_dead_one(path: Path) -> None:
    with crowded(path), pytest.raises(ConfigurationError, match="Another server listens there"):
        unix.listen(path, 0o600, 1)
    unix.listen(path, 0o600, 1).close()


OTHER: dict[str, Callable[[Path], object]] = {
    "file": lambda path: path.write_text("mine"),
    "empty file": Path.touch,
    "folder": Path.mkdir,
    "FIFO": os.mkfifo,
    "link": lambda path: path.symlink_to("/dev/null"),
    "link to nothing": lambda path: path.symlink_to("nothing"),
}


@pytest.mark.parametrize("kind", OTHER)
def test_what_is_no_socket_is_not_touched(path: Path, kind: str) -> None:
    OTHER[kind](path)
    before = path.lstat()
    with pytest.raises(ConfigurationError, match="something else than a socket"):
        unix.listen(path, 0o600, 1)
    unix.remove(path)
    assert path.lstat() == before


def test_what_another_put_in_its_place_is_not_removed(path: Path) -> None:
    unix.listen(path, 0o600, 1).close()
    with unix.listen(path, 0o600, 1):
        unix.remove(path)
        assert path.is_socket()
    unix.remove(path)
    assert not path.exists()
    unix.remove(path)


async def test_a_folder_must_be_there(folder: Path, tmp_path: Path) -> None:
    assert await refusal(folder, tmp_path / "missing" / "upload.sock") == "No such file or directory"


# Who comes in


async def test_without_a_key_it_does_not_start(folder: Path, path: Path) -> None:
    status, said = await run(folder, server__unix_socket=str(path))
    assert status == 2
    assert re.match(r"access\.without_keys: .*server\.unix_socket", said)
    assert left(path) == []


async def test_nobody_there_is_a_program_of_this_machine(folder: Path, path: Path) -> None:
    async with process.serving(folder, at(path, access__without_keys="nobody")), client(path) as session:
        assert await post(session, WAV) == 401


async def test_whoever_may_use_it_is_believed_as_a_proxy(folder: Path, path: Path) -> None:
    async with process.serving(folder, at(path)), client(path) as session:
        seen = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "audio.example.org"}
        async with session.post(COLLECTION, data=WAV, headers=seen) as answer:
            assert answer.headers["Location"].startswith(f"https://audio.example.org{COLLECTION}/")
