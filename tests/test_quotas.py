"""What one owner may send: reserved at every door before the body, never exceeded by any number at once, given back
where it is not used, and by nobody held for ever."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession, FormData, TCPConnector

from maie_aiohttp.errors import Busy
from maie_aiohttp.limits.quota import Quota
from maie_aiohttp.web.appkeys import CATALOG, INTAKE
from tests import crew
from tests.conftest import Client, configure, serving
from tests.crew import until
from tests.doors import (
    DOORS,
    OCTETS,
    TUS,
    Door,
    raw,
    raw_of_unknown_length,
    resumable,
    resumable_in_one_request,
    sent,
    tus,
    tus_in_one_request,
    tus_of_unknown_length,
)
from tests.keys import EVERYTHING, bearer, key
from tests.layers import query
from tests.scenarios import process
from tests.wire import COLLECTION, FORM, WAV, Edge, Wire, request, sized

SIZE = len(WAV)
NOT_AUDIO = b"These are words. " * 100

every_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)


@asynccontextmanager
async def limited(folder: Path, **quota: object) -> AsyncIterator[Client]:
    """A client of a server with a quota for everybody."""
    limits: dict[str, object] = {"max_size": "1 MiB"}
    async with serving(configure(folder, server={"linger": "100 ms"}, quota=quota, limits=limits)) as client:
        yield client


def sizes(count: float) -> str:
    """So many recordings, in a form with all that stands around them."""
    return f"{int(SIZE * count)} B"


@asynccontextmanager
async def session_of(client: Client) -> AsyncIterator[ClientSession]:
    """As many connections as are wanted."""
    async with ClientSession(client.make_url("/"), connector=TCPConnector(limit=0)) as session:
        yield session


# At once


@every_door
@pytest.mark.parametrize("quota", [{"size": sizes(7.5)}, {"files": 7}], ids=["bytes", "files"])
async def test_fifty_at_once_never_exceed(folder: Path, door: Door, quota: dict[str, object]) -> None:
    """Whose length is not known reserves all that is left, and others wait for it: as many get in one by one."""
    async with limited(folder, **quota) as client, session_of(client) as session:
        answers = await asyncio.gather(*(door(session, {}, WAV) for _ in range(50)))
        while answers[-1].status == 201 or len(answers) == 50:
            answers.append(await door(session, {}, WAV))
    assert all(answer.is_over for answer in answers if answer.status != 201)
    assert sum(answer.status == 201 for answer in answers) == 7
    uses = query(folder / "catalog.sqlite", "SELECT sum(size), sum(files) FROM quota_uses")
    assert uses == [(7 * SIZE, 7)]


@pytest.mark.skipif(sys.platform != "linux", reason="the crew reads /proc")
async def test_fifty_at_once_at_all_doors_of_two_workers_never_exceed(folder: Path) -> None:
    async with crew.serving(folder, {"quota.files": "20", "limits.max_size": "1 MiB"}) as team:
        connector = TCPConnector(limit=0, force_close=True)
        async with ClientSession(await team.server.url(), connector=connector) as session:
            doors = list(DOORS.values())
            answers = await asyncio.gather(*(doors[turn % len(doors)](session, {}, WAV) for turn in range(50)))
            assert Counter(answer.status for answer in answers) == {201: 20, 429: 30}
            assert all(answer.is_over for answer in answers if answer.status != 201)
    assert query(folder / "catalog.sqlite", "SELECT sum(files) FROM quota_uses") == [(20,)]


@every_door
async def test_so_many_at_a_time(folder: Path, door: Door) -> None:
    async with limited(folder, uploads=2) as client, session_of(client) as session:
        waiting = [await sent(session, {**TUS, "Upload-Length": "9"}) for _ in range(2)]
        assert (await door(session, {}, WAV)).is_over
        async with session.delete(waiting[0].location, headers=TUS) as answer:
            assert answer.status == 204
        for _ in range(3):
            assert (await door(session, {}, WAV)).status == 201


# Before the body


HEADS = {
    "raw": (),
    "form": (FORM,),
    "tus": ("Tus-Resumable: 1.0.0", OCTET_FIELD := f"Content-Type: {OCTETS['Content-Type']}", f"Upload-Length: {SIZE}"),
    "resumable": ("Upload-Complete: ?1",),
}


@pytest.mark.parametrize("fields", HEADS.values(), ids=HEADS)
async def test_what_is_over_is_refused_before_its_body(folder: Path, fields: tuple[str, ...]) -> None:
    async with limited(folder, files=1) as client, session_of(client) as session:
        assert (await raw(session, {})).status == 201
        head = request(*fields, f"Content-Length: {SIZE}", "Expect: 100-continue")
        answer = await Edge(client, folder).exchange(head)
    assert (answer.status, answer.problem) == (429, "over-quota")
    assert 86_000 < int(answer.headers["retry-after"]) <= 86_460


@pytest.mark.parametrize("door", [raw, tus, tus_in_one_request, resumable, resumable_in_one_request])
async def test_what_no_quota_would_ever_take_is_too_large(folder: Path, door: Door) -> None:
    async with limited(folder, size=sizes(0.5)) as client, session_of(client) as session:
        refused = await door(session, {}, WAV)
    assert (refused.status, refused.problem, refused.retry_after) == (413, "too-large", None)


# On the way


@pytest.mark.parametrize("door", [raw_of_unknown_length, tus_of_unknown_length])
async def test_more_than_was_left_is_cut_off(folder: Path, door: Door) -> None:
    async with limited(folder, size=sizes(1.5)) as client, session_of(client) as session:
        assert (await door(session, {}, WAV * 2)).is_over
        assert (await door(session, {}, WAV)).status == 201


async def test_a_form_of_more_files_than_are_left_leaves_none(folder: Path) -> None:
    async with limited(folder, files=3) as client, session_of(client) as session:
        for count, status in ((4, 429), (2, 201), (2, 429), (1, 201), (1, 429)):
            fields = FormData()
            for _ in range(count):
                fields.add_field("file", WAV, filename="speech.wav")
            assert (await sent(session, {}, fields)).status == status
    assert query(folder / "catalog.sqlite", "SELECT sum(size), sum(files) FROM quota_uses") == [(3 * SIZE, 3)]


async def test_parts_count_beside_what_is_made_of_them(folder: Path) -> None:
    half = {**TUS, "Upload-Length": str(SIZE // 2), "Upload-Concat": "partial"}
    async with limited(folder, size=sizes(2)) as client, session_of(client) as session:
        halves = WAV[: SIZE // 2], WAV[SIZE // 2 :]
        parts = [await sent(session, {**half, "Upload-Length": str(len(one))}) for one in halves]
        for part, one in zip(parts, halves, strict=True):
            done = await sent(session, {**OCTETS, "Upload-Offset": "0"}, one, part.location)
            assert done.status == 204
        final = {**TUS, "Upload-Concat": "final;" + " ".join(part.location for part in parts)}
        assert (await sent(session, final)).status == 201
        assert (await sent(session, final)).is_over
        for part in parts:
            async with session.delete(part.location, headers=TUS) as answer:
                assert answer.status == 204
        assert (await raw(session, {})).status == 201
        assert (await raw(session, {})).is_over


# What is told


async def test_limits_tell_what_is_left(folder: Path) -> None:
    async with limited(folder, size=sizes(3)) as client, session_of(client) as session:
        assert (await raw(session, {})).status == 201
        async with session.options(COLLECTION) as answer:
            assert answer.headers["Tus-Max-Size"] == str(2 * SIZE)
            assert f"max-size={2 * SIZE}," in answer.headers["Upload-Limit"]
        begun = await sent(session, {**TUS, "Upload-Defer-Length": "1"})
        async with session.head(begun.location) as answer:
            assert f"max-size={2 * SIZE}," in answer.headers["Upload-Limit"]
        async with session.options(COLLECTION) as answer:
            assert answer.headers["Tus-Max-Size"] == "0"


# Whose


async def test_keys_of_one_owner_share_and_owners_do_not(folder: Path) -> None:
    async with limited(folder, files=2) as client, session_of(client) as session:
        phones = [bearer(await key(client, f"phone-{number}", EVERYTHING, owner="ada")) for number in range(2)]
        bob = bearer(await key(client, "bob", EVERYTHING))
        assert [(await raw(session, who)).status for who in (*phones, phones[0], bob)] == [201, 201, 429, 201]


async def test_a_key_may_have_a_quota_of_its_own(folder: Path) -> None:
    async with limited(folder, files=2) as client, session_of(client) as session:
        usual = bearer(await key(client, "usual", EVERYTHING, owner="ada"))
        roomy = bearer(await key(client, "roomy", EVERYTHING, owner="ada", quota=Quota(files=4)))
        narrow = bearer(await key(client, "narrow", EVERYTHING, owner="ada", quota=Quota(files=1)))
        assert [(await raw(session, who)).status for who in (roomy, narrow, usual, usual)] == [201, 429, 201, 429]
        assert [(await raw(session, roomy)).status for _ in range(3)] == [201, 201, 429]


# Given back


async def refused(session: ClientSession) -> None:
    for door in DOORS.values():
        assert (await door(session, {}, NOT_AUDIO)).status == 415


async def not_what_was_declared(session: ClientSession) -> None:
    digest = {"Repr-Digest": "sha-256=:" + "A" * 43 + "=:"}
    assert (await sent(session, digest, WAV)).status == 400


async def cancelled(session: ClientSession) -> None:
    begun = await sent(session, {**TUS, "Upload-Length": "9"})
    async with session.delete(begun.location, headers=TUS) as answer:
        assert answer.status == 204


async def too_large(session: ClientSession) -> None:
    assert (await raw_of_unknown_length(session, {}, WAV * 200)).status in (413, 429)


async def expired(session: ClientSession) -> None:
    begun = await sent(session, {**TUS, "Upload-Length": "9"})
    async with asyncio.timeout(20):
        while True:
            async with session.get(begun.location) as answer:
                if (await answer.json())["status"] == "expired":
                    return


ENDS = [refused, not_what_was_declared, cancelled, too_large, expired]


@pytest.mark.parametrize("end", ENDS)
async def test_what_is_not_used_is_given_back(folder: Path, end: Callable[[ClientSession], Awaitable[None]]) -> None:
    soon: dict[str, object] = {"lifetime": "300 ms", "sweep_interval": "50 ms"} if end is expired else {}
    quota: dict[str, object] = {"files": 1, "uploads": 1, "size": sizes(2)}
    limits: dict[str, object] = {"max_size": "1 MiB"}
    server: dict[str, object] = {"linger": "100 ms"}
    settings = configure(folder, server=server, quota=quota, limits=limits, resumable=soon)
    async with serving(settings) as client, session_of(client) as session:
        await end(session)
        assert query(folder / "catalog.sqlite", "SELECT * FROM quota_reservations") == []
        assert (await raw(session, {})).status == 201
        assert (await raw(session, {})).is_over


async def test_a_client_that_is_lost_gives_back(folder: Path) -> None:
    async with limited(folder, uploads=1) as client, session_of(client) as session:
        async with Wire.connect(client) as wire:
            wire.send(sized(WAV)[:-1])
            await until(lambda: len(reservations(folder)) == 1)
            assert (await raw(session, {})).is_over
        await until(lambda: reservations(folder) == [])
        assert (await raw(session, {})).status == 201


async def test_a_request_sent_again_is_counted_once(folder: Path) -> None:
    async with limited(folder, files=2) as client, session_of(client) as session:
        for _ in range(3):
            assert (await sent(session, {"Idempotency-Key": "one"}, WAV)).status == 201
        assert (await raw(session, {})).status == 201
        assert (await sent(session, {"Idempotency-Key": "one"}, WAV)).is_over


async def test_deleting_gives_nothing_back_but_time_does(folder: Path) -> None:
    async with limited(folder, files=1, size=sizes(1)) as client, session_of(client) as session:
        stored = await raw(session, {})
        async with session.delete(stored.location) as answer:
            assert answer.status == 204
        assert (await raw(session, {})).is_over
        query(folder / "catalog.sqlite", "UPDATE quota_uses SET minute = minute - 24 * 60 - 1")
        assert (await raw(session, {})).status == 201
        query(folder / "catalog.sqlite", "UPDATE quota_uses SET minute = minute - 40 * 24 * 60")
        assert client.app is not None
        await client.app[INTAKE].quotas.tidy()
    assert query(folder / "catalog.sqlite", "SELECT * FROM quota_uses") == []


def reservations(folder: Path) -> list[tuple[object, ...]]:
    return query(folder / "catalog.sqlite", "SELECT id FROM quota_reservations")


# Crashes and failures


async def test_after_a_crash_nothing_stays_reserved_but_what_can_go_on(folder: Path) -> None:
    settings = {"quota.uploads": "2", "limits.max_size": "1 MiB"}
    async with process.serving(folder, settings) as server, ClientSession(await server.url()) as session:
        begun = await sent(session, {**TUS, "Upload-Length": str(SIZE)})
        halfway = asyncio.create_task(raw_that_stops(session))
        await until(lambda: len(reservations(folder)) == 2)
        server.signal(signal.SIGKILL)
        await server.ended()
        halfway.cancel()
        await asyncio.wait([halfway])
    async with process.serving(folder, settings) as server, ClientSession(await server.url()) as session:
        await until(lambda: len(reservations(folder)) == 1)
        assert (await raw(session, {})).status == 201
        done = await sent(session, {**OCTETS, "Upload-Offset": "0"}, WAV, begun.location)
        assert done.status == 204
    assert reservations(folder) == []


async def raw_that_stops(session: ClientSession) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield WAV
        await asyncio.Event().wait()

    await sent(session, {}, chunks())


@pytest.mark.skipif(sys.platform != "linux", reason="the crew reads /proc")
async def test_a_successor_gives_back_what_a_dead_worker_reserved(folder: Path) -> None:
    async with crew.serving(folder, {"quota.uploads": "2"}) as team:
        dies, lives = team.pids
        async with team.client_of(dies) as there, team.client_of(lives) as here:
            lost, goes_on = (asyncio.create_task(raw_that_stops(session)) for session in (there, here))
            await until(lambda: len(reservations(folder)) == 2)
            os.kill(dies, signal.SIGKILL)
            await until(lambda: len(reservations(folder)) == 1)
            assert not goes_on.done()
            for task in (lost, goes_on):
                task.cancel()
            await asyncio.wait([lost, goes_on])


async def test_what_could_not_be_given_back_is_given_back_later(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited(folder, uploads=1) as client, session_of(client) as session:
        assert client.app is not None
        book, quotas = client.app[CATALOG].quotas, client.app[INTAKE].quotas
        with monkeypatch.context() as broken:
            broken.setattr(type(book), "give_back", locked)
            assert (await raw(session, {}, NOT_AUDIO)).status == 415
        assert (await raw(session, {})).is_over
        await quotas.tidy()
        assert (await raw(session, {})).status == 201


async def locked(*_: object) -> None:
    raise Busy("The catalog is locked by another program.")


# Without a quota


async def test_without_a_quota_nobody_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with limited(folder) as client, session_of(client) as session:
        assert client.app is not None
        book = type(client.app[CATALOG].quotas)
        for question in ("reserve", "usage", "give_back"):
            monkeypatch.setattr(book, question, locked)
        for door in DOORS.values():
            assert (await door(session, {}, NOT_AUDIO)).status == 415
            assert (await door(session, {}, WAV)).status == 201
        async with session.options(COLLECTION) as answer:
            assert answer.headers["Tus-Max-Size"] == "1048576"
    assert query(folder / "catalog.sqlite", "SELECT * FROM quota_uses") == []
