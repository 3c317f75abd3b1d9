"""The same recording again: reported, or answered with the first one, and never across owners."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientSession, FormData

from maie_aiohttp.model import Status
from maie_aiohttp.settings import Settings
from maie_aiohttp.web.appkeys import CATALOG
from tests import audio, crew
from tests.conftest import Client, configure, files, serving
from tests.keys import EVERYTHING, key
from tests.layers import flip, query
from tests.pages.test_events import following
from tests.wire import COLLECTION

WAV = audio.sample("wav-u8").content
FLAC = audio.sample("flac").content
TUS = {"Tus-Resumable": "1.0.0"}

Record = dict[str, Any]
Asker = Client | ClientSession
Door = Callable[..., Awaitable[Record]]


async def by_form(client: Asker, content: bytes = WAV, **fields: str) -> Record:
    (record,) = await form(client, content, **fields)
    return record


async def form(client: Asker, *contents: bytes, **headers: str) -> list[Record]:
    """Store several files at once."""
    data = FormData({"case": "7"})
    for content in contents:
        data.add_field("file", content, filename="speech.wav")
    async with client.post(COLLECTION, data=data, headers=_named(headers)) as answer:
        assert answer.status == 201, await answer.text()
        records: list[Record] = (await answer.json())["uploads"]
        assert answer.headers["Location"] == records[0]["links"]["self"]
        return records


async def by_body(client: Asker, content: bytes = WAV, **headers: str) -> Record:
    async with client.post(COLLECTION, data=content, headers=_named(headers)) as answer:
        assert answer.status == 201, await answer.text()
        record: Record = await answer.json()
        assert answer.headers["Location"] == record["links"]["self"]
        return record


async def by_ietf(client: Asker, content: bytes = WAV, **headers: str) -> Record:
    return await by_body(client, content, Upload_Complete="?1", **headers)


async def by_tus(client: Asker, content: bytes = WAV, **headers: str) -> Record:
    creation = {**TUS, "Upload-Length": str(len(content)), **_named(headers)}
    async with client.post(COLLECTION, headers=creation) as begun:
        path = begun.headers["Location"]
    fields = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream", **_named(headers)}
    async with client.patch(path, data=content, headers=fields) as answer:
        assert answer.status == 204
    return await shown(client, path, **headers)


async def shown(client: Asker, path: str, **headers: str) -> Record:
    """A record as lists and events have it: without its hand-offs, which only `GET` of it tells."""
    async with client.get(path, headers=_named(headers)) as answer:
        record: Record = await answer.json()
        return {name: value for name, value in record.items() if name != "handoffs"}


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


DOORS = (by_form, by_body, by_ietf, by_tus)
AT_ONCE = (by_form, by_body)
every_door = pytest.mark.parametrize("door", DOORS)
every_door_of_one_request = pytest.mark.parametrize("door", AT_ONCE)


def reusing(folder: Path) -> Settings:
    return configure(folder, uploads={"duplicates": "reuse"})


async def listed(client: Asker, **asked: str) -> list[Record]:
    async with client.get(COLLECTION, params=asked) as answer:
        assert answer.status == 200, await answer.text()
        records: list[Record] = (await answer.json())["uploads"]
        return records


async def delete(client: Asker, record: Record) -> None:
    async with client.delete(record["links"]["self"]) as deleted:
        assert deleted.status == 204


def announced(folder: Path) -> list[str]:
    """What is handed on."""
    return [
        str(UUID(str(id))) for (id,) in query(folder / "catalog.sqlite", "SELECT upload_id FROM outbox ORDER BY number")
    ]


@every_door
async def test_a_duplicate_says_so_wherever_it_is_shown(client: Client, folder: Path, door: Door) -> None:
    first = await by_body(client)
    async with following(client) as stream:
        again = await door(client)
        *_, stored = await stream.until("stored")
        while stored.data["id"] != again["id"]:
            *_, stored = await stream.until("stored")
    assert first["duplicate_of"] is None
    assert again["duplicate_of"] == first["id"] != again["id"]
    assert stored.data == again
    assert await shown(client, again["links"]["self"]) == again
    assert await listed(client) == [again, first]
    assert announced(folder) == [first["id"], again["id"]]
    assert len(files(folder)) == 2


async def test_what_differs_is_no_duplicate(client: Client) -> None:
    records = [await by_body(client, content) for content in (WAV, WAV[:-1], WAV + b"\0", FLAC)]
    assert [record["duplicate_of"] for record in records] == [None] * 4


async def test_files_of_one_form(client: Client) -> None:
    first, other, again = await form(client, WAV, FLAC, WAV)
    assert [one["duplicate_of"] for one in (first, other, again)] == [None, None, first["id"]]


async def test_parts_of_a_concatenation_do_not_count(client: Client) -> None:
    paths = []
    for part in (WAV, FLAC):
        fields = {**TUS, "Upload-Length": str(len(part)), "Upload-Concat": "partial"}
        async with client.post(
            COLLECTION, data=part, headers={**fields, "Content-Type": "application/offset+octet-stream"}
        ) as answer:
            paths.append(answer.headers["Location"])
    assert (await by_body(client))["duplicate_of"] is None
    whole = await by_body(client, WAV + FLAC)
    async with client.post(COLLECTION, headers={**TUS, "Upload-Concat": f"final;{' '.join(paths)}"}) as answer:
        assert (await answer.json())["duplicate_of"] == whole["id"]


async def test_another_owner_does_not_learn_of_it(folder: Path) -> None:
    async with serving(reusing(folder)) as client:
        ada, eve = [f"Bearer {await key(client, name, EVERYTHING)}" for name in ("ada", "eve")]
        first = await by_body(client, Authorization=ada)
        foreign = await by_body(client, Authorization=eve)
        assert (first["duplicate_of"], foreign["duplicate_of"]) == (None, None)
        assert first["id"] != foreign["id"]
        assert (await by_body(client, Authorization=ada))["id"] == first["id"]
        for mine, known in ((ada, [first["id"]]), (eve, [foreign["id"]])):
            async with client.get(
                COLLECTION, params={"sha256": first["sha256"]}, headers={"Authorization": mine}
            ) as found:
                assert [record["id"] for record in (await found.json())["uploads"]] == known


@pytest.mark.parametrize("door", [by_form, by_body, by_ietf])
async def test_who_comes_with_a_token_does_not_learn_of_it(folder: Path, door: Door) -> None:
    """Neither where it is reported, nor where the first one would be the answer. Its owner does."""
    for settings in (reusing(folder), configure(folder)):
        async with serving(settings) as client:
            ada = f"Bearer {await key(client, f'ada-{settings.uploads.duplicates}', EVERYTHING)}"
            first = await by_body(client, Authorization=ada)
            async with client.post("/v1/upload-tokens", json={}, headers={"Authorization": ada}) as made:
                token = (await made.json())["token"]
            told = await door(client, Authorization=f"Bearer {token}")
            assert told["id"] != first["id"]
            assert told["duplicate_of"] is None
            assert (await shown(client, told["links"]["self"], Authorization=ada))["duplicate_of"] == first["id"]


async def test_uploads_are_found_by_their_bytes_before_sending(client: Client) -> None:
    digest = hashlib.sha256(WAV).hexdigest()
    assert await listed(client, sha256=digest) == []
    first, _ = await by_body(client), await by_body(client, FLAC)
    assert await listed(client, sha256=digest) == [first]
    assert await listed(client, sha256=digest.upper()) == [first]
    assert await listed(client, sha256=digest, status="damaged") == []


@pytest.mark.parametrize("sha256", ["", "x" * 64, "0" * 63, "0" * 65, "\u0660" * 64, "sha-256=:AAAA:"])
async def test_a_digest_that_is_none(client: Client, sha256: str) -> None:
    async with client.get(COLLECTION, params={"sha256": sha256}) as answer:
        assert (answer.status, (await answer.json())["type"]) == (400, "urn:maie:problem:malformed")


async def test_the_first_may_go(client: Client) -> None:
    first, second = await by_body(client), await by_body(client)
    await delete(client, first)
    third = await by_body(client)
    assert third["duplicate_of"] == second["id"]
    async with client.get(second["links"]["content"]) as answer:
        assert await answer.read() == WAV


@every_door_of_one_request
async def test_the_first_is_the_answer_where_it_may_be(folder: Path, door: Door) -> None:
    async with serving(reusing(folder)) as client:
        first = await door(client)
        async with following(client) as stream:
            assert await door(client) == first
            *_, deleted = await stream.until("deleted")
        assert deleted.data["id"] != first["id"]
        assert await listed(client) == [first]
        assert announced(folder) == [first["id"]]
        assert len(files(folder)) == 1


async def test_what_comes_with_other_fields_is_stored(folder: Path) -> None:
    """They may say what is to be made of the recording."""
    async with serving(reusing(folder)) as client:
        first = await by_body(client)
        again = await by_form(client)
        assert (again["duplicate_of"], again["metadata"]) == (first["id"], {"case": "7"})
        assert announced(folder) == [first["id"], again["id"]]


@pytest.mark.parametrize("door", [by_ietf, by_tus])
async def test_resumable_uploads_are_only_reported(folder: Path, door: Door) -> None:
    async with serving(reusing(folder)) as client:
        first = await by_body(client)
        assert (await door(client))["duplicate_of"] == first["id"]
        assert len(files(folder)) == 2


async def test_a_form_may_bring_something_new_as_well(folder: Path) -> None:
    async with serving(reusing(folder)) as client:
        first = await by_form(client)
        again, new, twice = await form(client, WAV, FLAC, FLAC)
        assert again == first
        assert twice["duplicate_of"] == new["id"]
        assert {record["id"] for record in await listed(client)} == {first["id"], new["id"], twice["id"]}
        assert len(files(folder)) == 3


@pytest.mark.parametrize("damage", ["gone", "cut", "known"])
async def test_what_is_damaged_is_no_answer(folder: Path, damage: str) -> None:
    async with serving(reusing(folder)) as client:
        first = await by_body(client)
        (stored,) = (folder / "audio").rglob("*.wav")
        if damage == "gone":
            stored.unlink()
        if damage == "cut":
            stored.chmod(0o600)
            stored.write_bytes(WAV[:100])
        if damage == "known":
            flip(stored, 100)
            await client.app[CATALOG].move(UUID(first["id"]), Status.DAMAGED)
        again = await by_body(client)
        assert again["id"] != first["id"]
        assert again["duplicate_of"] in (
            (None,) if damage == "known" else (first["id"], None)
        )  # the scrub may be first
        async with client.get(again["links"]["content"]) as answer:
            assert await answer.read() == WAV


async def test_a_deleted_one_is_no_answer(folder: Path) -> None:
    async with serving(reusing(folder)) as client:
        first = await by_body(client)
        await delete(client, first)
        again = await by_body(client)
        assert (again["id"] != first["id"], again["duplicate_of"]) == (True, None)


@every_door_of_one_request
async def test_a_key_comes_first(folder: Path, door: Door) -> None:
    async with serving(reusing(folder)) as client:
        first = await door(client, FLAC)
        answers = [await door(client, WAV, Idempotency_Key="a") for _ in range(2)]
        assert answers[0] == answers[1]
        again = [await door(client, FLAC, Idempotency_Key="b") for _ in range(2)]
        assert again == [first, first]
        await delete(client, first)
        data = {"data": FLAC} if door is by_body else {"data": _one_file(FLAC)}
        async with client.post(COLLECTION, headers={"Idempotency-Key": "b"}, **data) as answer:
            assert (answer.status, (await answer.json())["type"]) == (410, "urn:maie:problem:gone")


def _one_file(content: bytes) -> FormData:
    data = FormData({"case": "7"})
    data.add_field("file", content, filename="speech.wav")
    return data


async def test_many_at_once_are_stored_and_know_of_one_first(client: Client, folder: Path) -> None:
    records = await asyncio.gather(*(door(client) for door in DOORS * 3))
    (first,) = (record for record in records if record["duplicate_of"] is None)
    assert {record["duplicate_of"] for record in records} == {None, first["id"]}
    assert len({record["id"] for record in records}) == len(records) == len(files(folder)) == len(announced(folder))


@pytest.mark.parametrize("duplicates", ["report", "reuse"])
async def test_two_workers_know_of_one_first(folder: Path, duplicates: str) -> None:
    async with crew.serving(folder, {"uploads.duplicates": duplicates}) as server:
        one, other = server.pids
        async with server.client_of(one) as ada, server.client_of(other) as eve:
            for content in (WAV, FLAC):
                before = len(await listed(ada))
                records = await asyncio.gather(*(by_body(client, content) for client in (ada, eve)))
                records.append(await by_body(eve, content))
                firsts = {record["id"] for record in records if record["duplicate_of"] is None}
                assert len(firsts) == 1
                assert {record["duplicate_of"] for record in records} <= {None, *firsts}
                assert len({record["id"] for record in records}) == len(await listed(ada)) - before


async def test_a_deletion_at_the_same_moment_loses_nothing(folder: Path) -> None:
    """Whoever comes first: what a client is told is stored, or was until it was deleted."""
    async with serving(reusing(folder)) as client:
        for _ in range(20):
            first = await by_body(client)
            again, _ = await asyncio.gather(by_body(client), delete(client, first))
            async with client.get(again["links"]["content"]) as answer:
                if again["id"] == first["id"]:
                    assert answer.status == 404
                else:
                    assert await answer.read() == WAV
                    await delete(client, again)
            assert files(folder) == []
