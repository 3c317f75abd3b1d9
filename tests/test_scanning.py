"""A server with a malware scanner: nothing infected is ever stored, and without a verdict nothing is."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientSession, FormData

from maie_aiohttp.model import Status
from maie_aiohttp.upkeep.expiry import sweep
from maie_aiohttp.web.appkeys import CATALOG, DRAIN, INTAKE
from tests import audio, scanners
from tests.conftest import Client, configure, files, serving
from tests.layers import query
from tests.scanners import EICAR, Fake, Gate, as_setting, fake_clamd, real_clamd
from tests.scenarios import process
from tests.wire import COLLECTION

WAV = b"".join(audio.long_wav(800_000))
INFECTED = WAV[:300_000] + EICAR + WAV[300_000 + len(EICAR) :]
"""A recording like any other, to everybody but a scanner."""

TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}

Answer = tuple[int, dict[str, Any]]
Send = Callable[[ClientSession | Client, str, bytes], Awaitable[Answer]]


async def by_form(client: ClientSession | Client, root: str, content: bytes) -> Answer:
    form = FormData()
    form.add_field("file", content, filename="speech.wav")
    async with client.post(f"{root}{COLLECTION}", data=form) as answer:
        return answer.status, await answer.json()


async def raw(client: ClientSession | Client, root: str, content: bytes) -> Answer:
    async with client.post(f"{root}{COLLECTION}", data=content, headers={"Content-Type": "audio/wav"}) as answer:
        return answer.status, await answer.json()


async def by_tus(client: ClientSession | Client, root: str, content: bytes) -> Answer:
    return await append(client, root, await begin(client, root, len(content)), content)


async def by_ietf(client: ClientSession | Client, root: str, content: bytes) -> Answer:
    headers = {"Upload-Complete": "?1", "Content-Type": "audio/wav"}
    async with client.post(f"{root}{COLLECTION}", data=content, headers=headers) as answer:
        return answer.status, await answer.json()


DOORS = [by_form, raw, by_tus, by_ietf]
RESUMABLE = (by_tus, by_ietf)


async def begin(client: ClientSession | Client, root: str, size: int) -> str:
    """A tus upload without bytes; returns its id."""
    async with client.post(f"{root}{COLLECTION}", headers={**TUS, "Upload-Length": str(size)}) as answer:
        assert answer.status == 201
        return answer.headers["Location"].rpartition("/")[2]


async def append(
    client: ClientSession | Client, root: str, id: str, content: bytes, offset: int = 0
) -> tuple[int, dict[str, Any]]:
    """All bytes from an offset on."""
    headers = {**BYTES, "Upload-Offset": str(offset)}
    async with client.patch(f"{root}{COLLECTION}/{id}", data=content[offset:], headers=headers) as answer:
        return answer.status, await answer.json() if answer.status != 204 else {}


async def offset(client: ClientSession | Client, root: str, id: str) -> int:
    """What a tus client is told."""
    async with client.head(f"{root}{COLLECTION}/{id}", headers=TUS) as answer:
        assert answer.status == 200
        return int(answer.headers["Upload-Offset"])


async def record(client: ClientSession | Client, root: str, id: str) -> dict[str, Any]:
    async with client.get(f"{root}{COLLECTION}/{id}") as answer:
        assert answer.status == 200
        found: dict[str, Any] = await answer.json()
        return found


async def records(client: Client, status: str = "") -> list[dict[str, Any]]:
    async with client.get(COLLECTION, params={"status": status} if status else {}) as answer:
        found: list[dict[str, Any]] = (await answer.json())["uploads"]
        return found


def outbox(folder: Path) -> int:
    """How many uploads are to be handed on."""
    return len(query(folder / "catalog.sqlite", "SELECT * FROM outbox"))


def clean_up(folder: Path) -> bool:
    return files(folder) == [] and outbox(folder) == 0


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[Fake]:
    """A scanner to be told what to do."""
    fake = Fake()
    async with fake_clamd(fake, tmp_path / "clamd.ctl"):
        yield fake


@asynccontextmanager
async def scanned(folder: Path, **scan: object) -> AsyncIterator[Client]:
    """A server whose scanner is to be found beside the data folder."""
    address = as_setting(str(folder.parent / "clamd.ctl"))
    async with serving(configure(folder, scan={"clamd": address, **scan})) as client:
        yield client


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[Client]:
    """Of such a server."""
    async with scanned(folder) as client:
        yield client


# Verdicts.


@pytest.mark.parametrize("kind", ["fake", pytest.param("real", marks=scanners.installed)])
@pytest.mark.parametrize("send", DOORS)
async def test_what_is_infected_is_not_stored_and_what_is_clean_is(
    send: Send, kind: str, folder: Path, tmp_path: Path
) -> None:
    beside = fake_clamd(Fake(), tmp_path / "clamd.ctl") if kind == "fake" else real_clamd(tmp_path)
    async with beside, scanned(folder) as client:
        status, problem = await send(client, "", INFECTED)
        assert (status, problem["type"]) == (422, "urn:maie:problem:infected")
        assert clean_up(folder)
        refused = [(one["status"], one["reason"]) for one in await records(client)]
        assert refused == ([("rejected", problem["detail"])] if send in RESUMABLE else [])
        status, _ = await send(client, "", WAV)
        assert status in (201, 204)
        (stored,) = await records(client, "stored")
        assert (folder / files(folder)[0]).read_bytes() == WAV
        assert (stored["size"], len(files(folder)), outbox(folder)) == (len(WAV), 1, 1)


async def test_a_refused_upload_takes_no_more_bytes(fake: Fake, client: Client) -> None:
    id = await begin(client, "", len(INFECTED))
    assert (await append(client, "", id, INFECTED))[0] == 422
    assert (await append(client, "", id, INFECTED))[0] == 410
    async with client.get(f"{COLLECTION}/{id}/content") as answer:
        assert answer.status == 410


async def test_one_infected_file_of_a_form_costs_all(fake: Fake, client: Client, folder: Path) -> None:
    form = FormData()
    for content in (WAV, INFECTED):
        form.add_field("file", content, filename="speech.wav")
    async with client.post(COLLECTION, data=form) as answer:
        assert answer.status == 422
    assert clean_up(folder)
    assert await records(client) == []


async def test_what_is_put_together_is_scanned_as_a_whole(fake: Fake, client: Client, folder: Path) -> None:
    """Neither part is infected."""
    cut = INFECTED.index(EICAR) + 30
    places = []
    for content in (INFECTED[:cut], INFECTED[cut:]):
        headers = {**BYTES, "Upload-Length": str(len(content)), "Upload-Concat": "partial"}
        async with client.post(COLLECTION, data=content, headers=headers) as answer:
            assert answer.status == 201
            places.append(answer.headers["Location"])
    async with client.post(COLLECTION, headers={**TUS, "Upload-Concat": f"final;{' '.join(places)}"}) as answer:
        assert answer.status == 422
    assert fake.seen == [INFECTED]
    assert outbox(folder) == 0
    assert [one["status"] for one in await records(client)] == ["rejected"]


@pytest.mark.parametrize("send", DOORS)
async def test_what_the_scanner_does_not_take_is_too_large(
    send: Send, fake: Fake, client: Client, folder: Path
) -> None:
    fake.answer = scanners.saying(b"INSTREAM size limit exceeded. ERROR\0")
    status, problem = await send(client, "", WAV)
    assert (status, problem["type"]) == (413, "urn:maie:problem:too-large")
    assert clean_up(folder)


# While it runs.


async def test_what_is_being_scanned_is_shown_and_not_given_out(fake: Fake, client: Client, folder: Path) -> None:
    fake.answer = gate = Gate()
    id = await begin(client, "", len(WAV))
    sending = asyncio.create_task(append(client, "", id, WAV))
    await fake.asked.wait()
    shown = await client.get(f"{COLLECTION}/{id}")
    assert (await shown.json())["status"] == "scanning"
    assert "Upload-Offset" not in shown.headers
    assert [one["id"] for one in await records(client, "scanning")] == [id]
    async with client.get(f"{COLLECTION}/{id}/content") as answer:
        assert answer.status == 404
    assert outbox(folder) == 0
    assert [Path(name).parent.name for name in files(folder)] == ["incoming"]
    gate.opened.set()
    assert (await sending)[0] == 204
    assert (await record(client, "", id))["status"] == "stored"


async def test_nobody_is_told_the_end_before_the_verdict(fake: Fake, client: Client) -> None:
    assert client.app is not None
    fake.answer = gate = Gate()
    id = await begin(client, "", len(WAV))
    sending = asyncio.create_task(append(client, "", id, WAV))
    await fake.asked.wait()
    client.app[INTAKE].locks._patience = 0.1
    async with client.head(f"{COLLECTION}/{id}", headers=TUS) as answer:
        assert answer.status == 423
    client.app[INTAKE].locks._patience = 60
    asking = asyncio.create_task(offset(client, "", id))
    await asyncio.sleep(0.05)
    assert not asking.done()
    gate.opened.set()
    assert await asking == len(WAV)
    await sending


async def events(client: Client, path: str, last: str) -> list[str]:
    """The names of all events up to `last`, without counts."""
    names: list[str] = []
    async with client.get(path) as stream:
        async for encoded in stream.content:
            line = encoded.decode().strip()
            if line.startswith("event: ") and line != "event: received":
                names.append(line.removeprefix("event: "))
            if names and names[-1] == last and not line:
                break
    return names


async def listening(client: Client, path: str) -> asyncio.Task[list[str]]:
    """Begin to listen up to `stored`."""
    assert client.app is not None
    task = asyncio.create_task(events(client, path, "stored"))
    while not client.app[INTAKE].hub._listeners:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.01)
    return task


@pytest.mark.parametrize("send", DOORS)
async def test_a_scan_is_told_to_those_who_listen(send: Send, fake: Fake, client: Client) -> None:
    heard = await listening(client, "/v1/events")
    await send(client, "", WAV)
    assert await heard == ["receiving", "scanning", "stored"]


async def test_a_client_that_is_lost_meanwhile_has_its_upload_stored(fake: Fake, client: Client, folder: Path) -> None:
    fake.answer = gate = Gate()
    id = await begin(client, "", len(WAV))
    async with ClientSession(client.make_url("/")) as lost:
        sending = asyncio.create_task(append(lost, "", id, WAV))
        await fake.asked.wait()
        sending.cancel()
    gate.opened.set()
    assert await offset(client, "", id) == len(WAV)
    assert outbox(folder) == 1


# Without a verdict.


async def test_without_a_scanner_nothing_is_taken_and_the_server_is_not_ready(folder: Path, client: Client) -> None:
    for send in (by_form, raw, by_ietf):
        async with client.get("/ready") as ready:
            assert ready.status == 503
        assert (await send(client, "", WAV))[0] == 503
    assert outbox(folder) == 0
    assert await records(client, "stored") == []
    async with fake_clamd(Fake(), folder.parent / "clamd.ctl"):
        async with client.get("/ready") as ready:
            assert ready.status == 200
        for send in DOORS:
            assert (await send(client, "", WAV))[0] in (201, 204)


async def test_who_is_refused_for_want_of_a_scanner_is_told_when_to_come_back(folder: Path, client: Client) -> None:
    for _ in range(2):
        async with client.post(COLLECTION, data=WAV, headers={"Content-Type": "audio/wav"}) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert (await answer.json())["type"] == "urn:maie:problem:busy"
        assert clean_up(folder)


async def test_after_one_failure_no_other_client_sends_its_bytes_in_vain(client: Client) -> None:
    assert (await raw(client, "", WAV))[0] == 503
    sent: list[int] = []

    async def bytes_of_a_recording() -> AsyncIterator[bytes]:
        sent.append(len(WAV))
        yield WAV

    async with client.post(COLLECTION, data=bytes_of_a_recording(), expect100=True) as answer:
        assert answer.status == 503
    async with client.post(COLLECTION, headers={**TUS, "Upload-Length": str(len(WAV))}) as answer:
        assert answer.status == 503
    assert sent == []


FAILURES = {
    "dying": scanners.dying,
    "hanging": scanners.hanging,
    "garbage": scanners.saying(b"<html>\0"),
    "error": scanners.saying(b"stream: Can't allocate memory ERROR\0"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_resumable_upload_without_a_verdict_goes_on(failure: str, fake: Fake, folder: Path) -> None:
    async with scanned(folder, timeout="500 ms") as client:
        fake.answer = FAILURES[failure]
        id = await begin(client, "", len(WAV))
        heard = await listening(client, f"{COLLECTION}/{id}/events")
        assert (await append(client, "", id, WAV))[0] == 503
        assert (await record(client, "", id))["status"] == "receiving"
        assert outbox(folder) == 0
        fake.answer = scanners.honest
        reached = await offset(client, "", id)
        assert reached < len(WAV)
        assert (await append(client, "", id, WAV, reached))[0] == 204
        assert await heard == ["receiving", "scanning", "receiving", "scanning", "stored"]
        assert fake.seen == [WAV]


async def test_an_upload_that_passed_but_cannot_be_stored_goes_on(fake: Fake, client: Client, folder: Path) -> None:
    id = await begin(client, "", len(WAV))
    place = folder / "audio" / id[:2] / f"{id}.wav"
    place.write_bytes(b"in the way")
    assert (await append(client, "", id, WAV))[0] == 500
    assert (await record(client, "", id))["status"] == "receiving"
    place.unlink()
    assert (await append(client, "", id, WAV, await offset(client, "", id)))[0] == 204


async def test_a_stop_does_not_wait_for_the_scanner(fake: Fake, client: Client, folder: Path) -> None:
    assert client.app is not None
    fake.answer = scanners.hanging
    id = await begin(client, "", len(WAV))
    sending = [asyncio.create_task(append(client, "", id, WAV)), asyncio.create_task(raw(client, "", WAV))]
    while fake.at_once < 2:  # noqa: ASYNC110 - counted in the fake's own way
        await asyncio.sleep(0.01)
    await client.app[DRAIN].run(0, client.app[INTAKE].give_up)
    for status, problem in await asyncio.gather(*sending):
        assert (status, problem["type"]) == (503, "urn:maie:problem:draining")
    assert (await record(client, "", id))["status"] == "receiving"
    assert files(folder) == [f"incoming/{id}.part"]


# A scan whose process is gone.


@pytest.fixture
async def left(client: Client, fake: Fake) -> str:
    """An upload whose record says that it is being scanned, and nobody does so; returns its id."""
    assert client.app is not None
    id = await begin(client, "", len(WAV))
    async with client.patch(
        f"{COLLECTION}/{id}", data=WAV[:500_000], headers={**BYTES, "Upload-Offset": "0"}
    ) as answer:
        assert answer.status == 204
    catalog = client.app[CATALOG]
    expires_at = (await catalog.get(UUID(id))).expires_at
    await catalog.move(UUID(id), Status.SCANNING, expires_at=expires_at)
    return id


async def test_it_can_go_on(left: str, client: Client, folder: Path) -> None:
    assert await offset(client, "", left) == 500_000
    assert (await append(client, "", left, WAV[:700_000], 500_000))[0] == 204
    assert (await record(client, "", left))["status"] == "receiving"
    assert (await append(client, "", left, WAV, 700_000))[0] == 204
    assert (await record(client, "", left))["status"] == "stored"
    assert outbox(folder) == 1


async def test_it_can_be_deleted(left: str, client: Client, folder: Path) -> None:
    async with client.delete(f"{COLLECTION}/{left}") as answer:
        assert answer.status == 204
    assert clean_up(folder)


async def test_it_expires(left: str, client: Client, folder: Path) -> None:
    assert client.app is not None
    query(folder / "catalog.sqlite", "UPDATE uploads SET expires_at = 1")
    assert await sweep(client.app[INTAKE]) == 1
    assert (await record(client, "", left))["status"] == "expired"
    assert clean_up(folder)


async def test_a_kill_while_scanning_loses_nothing_and_leaves_nothing(folder: Path, fake: Fake) -> None:
    fake.answer = scanners.hanging
    settings = {"scan.clamd": as_setting(str(folder.parent / "clamd.ctl"))}
    async with process.serving(folder, settings) as server, ClientSession() as client:
        root = await server.url()
        id = await begin(client, root, len(WAV))
        sending = [asyncio.create_task(send) for send in (append(client, root, id, WAV), raw(client, root, WAV))]
        while fake.at_once < 2:  # noqa: ASYNC110 - counted in the fake's own way
            await asyncio.sleep(0.01)
        server.signal(signal.SIGKILL)
        await asyncio.wait(sending)
        assert all(task.exception() is not None for task in sending)
    assert query(folder / "catalog.sqlite", "SELECT status FROM uploads") == [("scanning",)]
    fake.answer = scanners.honest
    async with process.serving(folder, settings) as server, ClientSession() as client:
        root = await server.url()
        assert files(folder) == [f"incoming/{id}.part"]
        assert (await record(client, root, id))["status"] == "receiving"
        reached = await offset(client, root, id)
        assert reached < len(WAV)
        assert (await append(client, root, id, WAV, reached))[0] == 204
        assert (await record(client, root, id))["status"] == "stored"
    assert fake.seen == [WAV]
    assert outbox(folder) == 1


async def join(client: ClientSession, root: str, *places: str) -> int:
    async with client.post(
        f"{root}{COLLECTION}", headers={**TUS, "Upload-Concat": f"final;{' '.join(places)}"}
    ) as answer:
        return answer.status


async def test_a_killed_concatenation_leaves_nothing(folder: Path, fake: Fake) -> None:
    fake.answer = scanners.hanging
    settings = {"scan.clamd": as_setting(str(folder.parent / "clamd.ctl"))}
    async with process.serving(folder, settings) as server, ClientSession() as client:
        root = await server.url()
        headers = {**BYTES, "Upload-Length": str(len(WAV)), "Upload-Concat": "partial"}
        async with client.post(f"{root}{COLLECTION}", data=WAV, headers=headers) as answer:
            place = answer.headers["Location"]
        joining = asyncio.create_task(join(client, root, place))
        await fake.asked.wait()
        server.signal(signal.SIGKILL)
        await asyncio.wait([joining])
    async with process.serving(folder, settings):
        statuses = query(folder / "catalog.sqlite", "SELECT status, partial FROM uploads")
    assert statuses == [("receiving", 1)]
    assert len(files(folder)) == 1
