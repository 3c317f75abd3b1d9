"""Several workers on one port: whichever a client meets, it is the same server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from tests import audio, crew
from tests.conftest import files
from tests.crew import Crew, until
from tests.scenarios import process
from tests.wire import COLLECTION

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LONG = b"".join(audio.long_wav(400_000))
WAV = audio.sample("wav-u8").content
TUS = {"Tus-Resumable": "1.0.0"}
DRAFT = {"Upload-Draft-Interop-Version": "8"}


class Slow:
    """A body that waits between its halves."""

    def __init__(self, content: bytes = LONG) -> None:
        self.sent, self.go_on = asyncio.Event(), asyncio.Event()
        self._content = content

    async def pieces(self) -> AsyncIterator[bytes]:
        middle = len(self._content) // 2
        yield self._content[:middle]
        self.sent.set()
        await self.go_on.wait()
        yield self._content[middle:]


async def post(client: ClientSession, body: bytes | Slow, **fields: str) -> int:
    """Send a plain body. Returns the status; 0 where the connection was lost."""
    data = body.pieces() if isinstance(body, Slow) else body
    length = {"Content-Length": str(len(LONG))} if isinstance(body, Slow) else {}
    try:
        async with client.post(COLLECTION, data=data, headers={**length, **fields}) as answer:
            await answer.read()
            return answer.status
    except ClientError:
        return 0


async def records(client: ClientSession) -> list[dict[str, Any]]:
    async with client.get(COLLECTION) as answer:
        listed: list[dict[str, Any]] = (await answer.json())["uploads"]
        return listed


async def test_all_workers_serve_and_know_the_same(folder: Path) -> None:
    async with crew.serving(folder) as served:
        for pid in served.pids:
            async with served.client_of(pid) as client:
                assert await post(client, WAV) == 201
        for number in range(2):
            await served.logged("upload stored", f'"worker": {number}')
        for pid in served.pids:
            async with served.client_of(pid) as client:
                assert len(await records(client)) == 2


Step = Callable[[ClientSession, str, int, int], Awaitable[None]]


async def by_tus(client: ClientSession, path: str, start: int, stop: int) -> None:
    fields = {**TUS, "Upload-Offset": str(start), "Content-Type": "application/offset+octet-stream"}
    async with client.head(path, headers=TUS) as answer:
        assert answer.headers["Upload-Offset"] == str(start)
    async with client.patch(path, data=LONG[start:stop], headers=fields) as answer:
        assert answer.status == 204, await answer.text()


async def by_draft(client: ClientSession, path: str, start: int, stop: int) -> None:
    last = "?1" if stop == len(LONG) else "?0"
    fields = {
        **DRAFT,
        "Upload-Offset": str(start),
        "Upload-Complete": last,
        "Content-Type": "application/partial-upload",
    }
    async with client.head(path, headers=DRAFT) as answer:
        assert answer.headers["Upload-Offset"] == str(start)
    async with client.patch(path, data=LONG[start:stop], headers=fields) as answer:
        assert answer.status in (200, 201, 204), await answer.text()


@pytest.mark.parametrize(
    ("step", "fields"),
    [
        (by_tus, {**TUS, "Upload-Length": str(len(LONG))}),
        (by_draft, {**DRAFT, "Upload-Complete": "?0", "Upload-Length": str(len(LONG))}),
    ],
)
async def test_pieces_of_one_upload_may_meet_different_workers(
    folder: Path, step: Step, fields: dict[str, str]
) -> None:
    """Also one that has kept the running digest from before another went on."""
    async with crew.serving(folder) as served, AsyncExitStack() as clients:
        one, other = [await clients.enter_async_context(served.client_of(pid)) for pid in served.pids]
        async with one.post(COLLECTION, headers=fields) as answer:
            path = answer.headers["Location"]
        size = len(LONG) // 8
        for number, client in zip(range(8), cycle((one, other, other, one, one)), strict=False):
            await step(client, path, number * size, (number + 1) * size)
        async with other.get(path) as answer:
            record = await answer.json()
        assert (record["status"], record["sha256"]) == ("stored", sha256(LONG).hexdigest())
        async with one.delete(path) as answer:
            assert answer.status == 204
        assert files(folder) == []


async def test_a_writer_is_asked_to_stop_by_another_worker(folder: Path) -> None:
    async with crew.serving(folder) as served, AsyncExitStack() as clients:
        one, other = [await clients.enter_async_context(served.client_of(pid)) for pid in served.pids]
        async with one.post(COLLECTION, headers={**TUS, "Upload-Length": str(len(LONG))}) as answer:
            path = answer.headers["Location"]
        body = Slow()
        fields = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}

        async def append() -> str:
            async with one.patch(path, data=body.pieces(), headers=fields) as answer:
                return str((await answer.json())["type"])

        appending = asyncio.create_task(append())
        await until(lambda: any(part.stat().st_size for part in (folder / "incoming").iterdir()))
        async with other.head(path, headers=TUS) as answer:
            offset = int(answer.headers["Upload-Offset"])
        body.go_on.set()
        assert (await appending).endswith("superseded")
        await by_tus(other, path, offset, len(LONG))


async def test_a_killed_worker_is_replaced_and_cleared_up_after(folder: Path) -> None:
    async with crew.serving(folder) as served, AsyncExitStack() as clients:
        dying, living = served.pids
        bodies = [Slow() for _ in range(6)]
        connections = [await clients.enter_async_context(served.client_of(pid)) for pid in (dying, living) * 3]
        posting = [asyncio.create_task(post(client, body)) for client, body in zip(connections, bodies, strict=True)]
        await served.left(6)
        await served.replaced(dying)
        await served.left(3)
        for body in bodies:
            body.go_on.set()
        assert await asyncio.gather(*posting) == [0, 201] * 3
        assert living in served.pids
        assert len(served.pids) == 2
        (successor,) = set(served.pids) - {living}
        async with served.client_of(successor) as client:
            assert len(await records(client)) == 3
        assert len(files(folder)) == 3


async def test_what_a_client_can_go_on_with_survives_its_worker(folder: Path) -> None:
    async with crew.serving(folder) as served:
        dying, living = served.pids
        async with served.client_of(dying) as client:
            async with client.post(COLLECTION, headers={**TUS, "Upload-Length": str(len(LONG))}) as answer:
                path = answer.headers["Location"]
            await by_tus(client, path, 0, 100_000)
        await served.replaced(dying)
        async with served.client_of(living) as client:
            await by_tus(client, path, 100_000, len(LONG))


async def test_another_worker_keeps_house_when_the_first_dies(folder: Path) -> None:
    settings = {"resumable.lifetime": "100 ms", "resumable.sweep_interval": "100 ms"}
    async with crew.serving(folder, settings) as served:
        for _ in range(2):
            path = await begun(await served.server.url())
            await served.logged(f'"upload": "{path.rpartition("/")[2]}", "event": "upload expired"')
            await served.replaced(served.pids[0])
            await served.replaced(served.pids[0])


async def begun(url: str) -> str:
    """The path of an upload that nobody will continue."""
    async with (
        ClientSession(url) as client,
        client.post(COLLECTION, headers={**TUS, "Upload-Length": "9"}) as answer,
    ):
        return answer.headers["Location"]


async def test_abandoned_uploads_can_be_swept_beside(folder: Path) -> None:
    async with crew.serving(folder):
        status, said = await run(folder, "sweep")
        assert status == 0
        assert "swept" in said


async def run(folder: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    """Another process on the folder. Returns its exit status and what it said."""
    variables = {f"MAIE_{name.upper()}": value for name, value in settings.items()}
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "maie_aiohttp", *arguments),
        env={**os.environ, "MAIE_STORAGE__FOLDER": str(folder), "MAIE_SERVER__PORT": "0", **variables},
        stderr=PIPE,
    )
    _, said = await running.communicate()
    assert running.returncode is not None
    return running.returncode, said.decode()


async def test_a_second_server_is_turned_away(folder: Path) -> None:
    async with crew.serving(folder) as served:
        for workers in ("1", "2"):
            status, said = await run(folder, server__workers=workers)
            assert status == 1
            assert "Another server is using the data folder" in said
        async with ClientSession(await served.server.url()) as client:
            assert await post(client, WAV) == 201
    async with process.serving(folder) as server:
        status, said = await run(folder, server__workers="2")
        assert (status, "Another server" in said) == (1, True)
        assert await server.url()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"server__workers": "0"}, "MAIE_SERVER__WORKERS"),
        ({"server__workers": "65"}, "MAIE_SERVER__WORKERS"),
        ({"server__workers": "3"}, "server.workers: inspector.workers"),
        ({"server__workers": "2", "storage__block_budget": "512 KiB"}, "server.workers: storage.block_budget"),
        ({"server__workers": "2", "audio__extra_formats": "mp3"}, "audio.extra_formats"),
    ],
)
async def test_settings_that_cannot_be_end_the_whole(folder: Path, settings: dict[str, str], named: str) -> None:
    status, said = await run(folder, **settings)
    assert status == 2
    assert named in said


@pytest.fixture
def damaged(folder: Path) -> Path:
    """A data folder whose catalog is none."""
    folder.mkdir()
    (folder / "catalog.sqlite").write_bytes(b"no database" * 100)
    return folder


async def test_a_catalog_that_cannot_be_opened_ends_the_whole(damaged: Path) -> None:
    status, said = await run(damaged, server__workers="2")
    assert status == 1
    assert "The server cannot run: The catalog file is damaged." in said


async def test_a_taken_port_ends_the_whole(folder: Path, tmp_path: Path) -> None:
    async with process.serving(tmp_path / "other") as other:
        port = (await other.url()).rpartition(":")[2]
        status, said = await run(folder, server__workers="2", server__port=port)
    assert status == 1
    assert "The server cannot run: " in said


async def test_a_hang_up_changes_nothing_in_a_single_process(folder: Path) -> None:
    """`systemctl reload` sends it, whether or not there is a certificate to read again."""
    async with process.serving(folder) as server, ClientSession(await server.url()) as client:
        server.signal(signal.SIGHUP)
        for _ in range(2):
            assert await post(client, WAV) == 201


async def test_a_hang_up_changes_nothing(folder: Path) -> None:
    async with crew.serving(folder) as served:
        pids = served.pids
        served.server.signal(signal.SIGHUP)
        for pid in pids:
            os.kill(pid, signal.SIGHUP)
        for pid in pids:
            async with served.client_of(pid) as client:
                assert await post(client, WAV) == 201
        assert served.pids == pids


async def uploading(served: Crew, stack: AsyncExitStack) -> tuple[list[asyncio.Task[int]], list[Slow]]:
    """One upload in the middle with each worker."""
    bodies = [Slow() for _ in served.pids]
    clients = [await stack.enter_async_context(served.client_of(pid)) for pid in served.pids]
    tasks = [asyncio.create_task(post(client, body)) for client, body in zip(clients, bodies, strict=True)]
    await served.left(len(tasks))
    return tasks, bodies


async def test_a_signal_to_every_process_is_one_stop(folder: Path) -> None:
    """As systemd sends it."""
    async with crew.serving(folder) as served, AsyncExitStack() as stack:
        tasks, bodies = await uploading(served, stack)
        for pid in served.pids:
            os.kill(pid, signal.SIGTERM)
        served.server.signal(signal.SIGTERM)
        await served.logged("stopping")
        for body in bodies:
            body.go_on.set()
        assert await asyncio.gather(*tasks) == [201, 201]
        assert await served.server.ended() == 0
        assert len(files(folder)) == 2


async def test_a_worker_alone_can_be_made_to_start_anew(folder: Path) -> None:
    async with crew.serving(folder) as served, AsyncExitStack() as stack:
        tasks, bodies = await uploading(served, stack)
        first, second = served.pids
        os.kill(first, signal.SIGTERM)
        await served.logged("stopping")
        for body in bodies:
            body.go_on.set()
        assert await asyncio.gather(*tasks) == [201, 201]
        await served.logged(f'"died": {first}, "of": "exit status 0"')
        assert second in served.pids


async def test_workers_do_not_outlive_their_supervisor(folder: Path) -> None:
    async with crew.serving(folder) as served, AsyncExitStack() as stack:
        tasks, bodies = await uploading(served, stack)
        served.server.signal(signal.SIGKILL)
        await served.logged("stopping")
        for body in bodies:
            body.go_on.set()
        assert await asyncio.gather(*tasks) == [201, 201]
        await served.server.ended()
    async with process.serving(folder) as server, ClientSession(await server.url()) as client:
        assert len(await records(client)) == 2


async def test_who_dies_at_once_is_replaced_after_a_while(folder: Path) -> None:
    """Where no worker can start, the server waits for better times, and ends when it is told to."""
    async with crew.serving(folder) as served:
        (folder / "locks").unlink()
        (folder / "locks").mkdir()
        await served.replaced(served.pids[0])
        await served.logged("worker does not run")
        (folder / "locks").rmdir()
        await served.logged('"event": "ready"', times=3)
        served.server.signal(signal.SIGTERM)
        assert await served.server.ended() == 0


async def test_the_second_signal_ends_it_at_once(folder: Path) -> None:
    async with crew.serving(folder) as served, AsyncExitStack() as stack:
        tasks, _ = await uploading(served, stack)
        served.server.signal(signal.SIGTERM)
        await served.logged("stopping")
        served.server.signal(signal.SIGTERM)
        assert await asyncio.gather(*tasks) == [0, 0]
        assert await served.server.ended() == 128 + signal.SIGTERM
