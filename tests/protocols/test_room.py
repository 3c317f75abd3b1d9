"""Room on the disk: promised before a byte is taken, kept as long as the upload may go on, given back at its end."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from maie_aiohttp.web.appkeys import CATALOG, INTAKE
from tests import audio
from tests.conftest import configure, serving
from tests.layers import MIB, as_root, memory_disk
from tests.wire import DEADLINE, FORM, Answer, Edge, Wire, file, request, sized

pytestmark = as_root

TUS = "Tus-Resumable: 1.0.0"
OCTETS = "Content-Type: application/offset+octet-stream"
LARGE = b"".join(audio.long_wav(5 * MIB))
FULL = (507, "storage-full")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for one large upload, and not for two."""
    with memory_disk(tmp_path / "small", "size=8m,mode=750") as folder:
        yield folder


@asynccontextmanager
async def edge_on(disk: Path, **groups: dict[str, object]) -> AsyncIterator[Edge]:
    """A server with its data there."""
    async with serving(configure(disk, server={"linger": "100 ms"}, **groups)) as client:
        yield Edge(client, disk)


@pytest.fixture
async def edge(disk: Path) -> AsyncIterator[Edge]:
    """A server on the small disk."""
    async with edge_on(disk) as edge:
        yield edge


def creation(size: int = len(LARGE)) -> bytes:
    """Of an upload without bytes."""
    return request(TUS, f"Upload-Length: {size}", "Content-Length: 0")


def patch(path: str, offset: int, body: bytes) -> bytes:
    """Some of its bytes."""
    fields = TUS, OCTETS, f"Upload-Offset: {offset}", f"Content-Length: {len(body)}"
    return request(*fields, line=f"PATCH {path} HTTP/1.1", body=body)


async def begun(edge: Edge) -> str:
    """The path of a new large upload."""
    answer = await edge.exchange(creation())
    assert answer.status == 201, answer.body
    return answer.headers["location"]


def told(answer: Answer) -> tuple[int, str]:
    """What a refusal says."""
    return answer.status, answer.problem


DOORS = {
    "raw": request(f"Content-Length: {len(LARGE)}", "Expect: 100-continue"),
    "form": request(f"Content-Length: {len(LARGE)}", FORM, "Expect: 100-continue"),
    "tus": creation(),
    "tus, with bytes": request(
        TUS, OCTETS, f"Upload-Length: {len(LARGE)}", f"Content-Length: {len(LARGE)}", "Expect: 100-continue"
    ),
    "resumable": request("Upload-Complete: ?0", f"Upload-Length: {len(LARGE)}", "Content-Length: 0"),
    "resumable, with bytes": request("Upload-Complete: ?1", f"Content-Length: {len(LARGE)}", "Expect: 100-continue"),
}


@pytest.mark.parametrize("second", DOORS.values(), ids=DOORS)
async def test_room_is_promised_once(edge: Edge, second: bytes) -> None:
    """And the answer is there before `100 Continue`."""
    await begun(edge)
    assert told(await edge.exchange(second)) == FULL


HELD = {
    "raw": (sized(LARGE)[: -len(LARGE)], LARGE),
    "form": (request(f"Content-Length: {len(file(LARGE))}", FORM), file(LARGE)),
    "tus": (request(TUS, OCTETS, f"Upload-Length: {len(LARGE)}", f"Content-Length: {len(LARGE)}"), LARGE),
    "resumable": (request("Upload-Complete: ?1", f"Content-Length: {len(LARGE)}"), LARGE),
}


@pytest.mark.parametrize(("head", "body"), HELD.values(), ids=HELD)
async def test_while_it_comes_in_the_rest_is_promised(edge: Edge, head: bytes, body: bytes) -> None:
    """What is written is on the disk, what is not is promised: together it is never more, and never less."""
    async with Wire.connect(edge.client) as wire:
        wire.send(head)
        for start in range(0, len(body) - MIB, MIB):
            wire.send(body[start : start + MIB])
            await asyncio.sleep(0.15)
            assert told(await edge.exchange(creation(3 * MIB + MIB // 2))) == FULL
            small = await edge.exchange(creation(2 * MIB))
            assert small.status == 201
            await ended(edge, small.headers["location"])


async def ended(edge: Edge, path: str) -> None:
    """Delete it."""
    assert (await edge.exchange(request(TUS, line=f"DELETE {path} HTTP/1.1"))).status == 204


async def test_fifty_creations_at_once_never_exceed(edge: Edge) -> None:
    """And each that was admitted can be finished."""
    half = b"".join(audio.long_wav(MIB // 2))
    answers = await asyncio.gather(*(edge.exchange(creation(len(half))) for _ in range(50)))
    admitted = [answer.headers["location"] for answer in answers if answer.status == 201]
    assert 10 <= len(admitted) < 16
    assert {told(answer) for answer in answers if answer.status != 201} == {FULL}
    finished = await asyncio.gather(*(edge.exchange(patch(path, 0, half)) for path in admitted))
    assert [answer.status for answer in finished] == [204] * len(admitted)


async def test_a_paused_upload_keeps_its_room(edge: Edge) -> None:
    path = await begun(edge)
    assert (await edge.exchange(patch(path, 0, LARGE[: 2 * MIB]))).status == 204
    assert told(await edge.exchange(creation())) == FULL
    assert (await edge.exchange(patch(path, 2 * MIB, LARGE[2 * MIB :]))).status == 204


async def test_a_lost_client_keeps_its_room(edge: Edge) -> None:
    path = await begun(edge)
    async with Wire.connect(edge.client) as wire:
        wire.send(patch(path, 0, LARGE)[: -3 * MIB])
        await wire.sent()
    head = await edge.exchange(request(TUS, line=f"HEAD {path} HTTP/1.1"))
    assert told(await edge.exchange(creation())) == FULL
    offset = int(head.headers["upload-offset"])
    assert (await edge.exchange(patch(path, offset, LARGE[offset:]))).status == 204


async def test_broken_bytes_take_no_room_from_whole_ones(edge: Edge) -> None:
    """They are still on the disk when the same bytes come again."""
    path = await begun(edge)
    digest = base64.b64encode(hashlib.sha256(LARGE).digest()).decode()
    whole = patch(path, 0, LARGE).replace(
        b"Upload-Offset", b"Upload-Checksum: sha256 %b\r\nUpload-Offset" % digest.encode()
    )
    assert (await edge.exchange(whole[:-1] + b"x")).status == 460
    assert (await edge.exchange(whole)).status == 204


async def test_its_room_survives_a_restart(disk: Path) -> None:
    async with edge_on(disk) as edge:
        path = await begun(edge)
        await edge.exchange(patch(path, 0, LARGE[:MIB]))
    async with edge_on(disk) as edge:
        await edge.client.app[INTAKE].claims.restore(edge.client.app[CATALOG])
        assert told(await edge.exchange(creation())) == FULL
        assert (await edge.exchange(creation(2 * MIB))).status == 201
        assert (await edge.exchange(patch(path, MIB, LARGE[MIB:]))).status == 204


async def deleted(edge: Edge, path: str) -> None:
    await ended(edge, path)


async def refused(edge: Edge, path: str) -> None:
    """It is no audio."""
    assert (await edge.exchange(patch(path, 0, bytes(MIB)))).status == 415


async def stored_and_deleted(edge: Edge, path: str) -> None:
    assert (await edge.exchange(patch(path, 0, LARGE))).status == 204
    await ended(edge, path)


async def expired(edge: Edge, path: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while (await edge.exchange(request(TUS, line=f"GET {path} HTTP/1.1"))).json()["status"] != "expired":
            pass


async def ended_by_another_process(edge: Edge, path: str) -> None:
    """As `sweep` does."""
    await edge.client.app[CATALOG].remove(UUID(path.rpartition("/")[2]))
    await edge.client.app[INTAKE].claims.restore(edge.client.app[CATALOG])


@pytest.mark.parametrize("end", [deleted, refused, stored_and_deleted, expired, ended_by_another_process])
async def test_whatever_its_end_the_room_is_given_back(disk: Path, end: Callable[[Edge, str], Awaitable[None]]) -> None:
    soon: dict[str, object] = {"lifetime": "300 ms", "sweep_interval": "50 ms"} if end is expired else {}
    async with edge_on(disk, resumable=soon) as edge:
        path = await begun(edge)
        await end(edge, path)
        async with asyncio.timeout(DEADLINE):  # whoever examines it may have it open for a moment longer
            while (await edge.exchange(creation())).status == 507:
                pass


async def test_a_form_gives_back_what_it_did_not_use(edge: Edge) -> None:
    broken = request(f"Content-Length: {len(LARGE)}", FORM, body=file(b"These are words."))
    for _ in range(3):
        assert (await edge.exchange(broken.replace(b"speech.wav", b"speech.txt"))).status == 415
    await begun(edge)


async def test_a_full_disk_recovers_by_itself(edge: Edge, disk: Path) -> None:
    (disk / "other").write_bytes(bytes(6 * MIB))
    assert told(await edge.exchange(creation())) == FULL
    (disk / "other").unlink()
    await begun(edge)
