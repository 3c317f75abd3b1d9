"""Hand-offs, as operators and owners of uploads see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from maie_aiohttp.interfaces import Outbox
from maie_aiohttp.web.appkeys import CATALOG
from tests import audio
from tests.conftest import Client, configure, send, serving
from tests.handoffs.sides import Receiver, webhook_group

HANDOFFS = "/v1/handoffs"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks."""
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


@pytest.fixture
async def client(folder: Path, receiver: Receiver) -> AsyncIterator[Client]:
    """Of a server with two targets, which gives up at the second attempt."""
    handoff: dict[str, object] = {"targets": ["log", "webhook"], "max_attempts": 2, "first_pause": "10 ms"}
    async with serving(configure(folder, handoff=handoff, webhook=webhook_group(receiver.url))) as client:
        yield client


async def get(client: Client, path: str) -> dict[str, Any]:
    async with client.get(path) as answer:
        assert answer.status == 200
        document: dict[str, Any] = await answer.json()
        return document


async def standing(client: Client, id: str, webhook: str) -> dict[str, dict[str, Any]]:
    """How far each target knows of an upload, as soon as the webhook does so far."""
    while True:
        record = await get(client, f"/v1/uploads/{id}")
        found = {one["target"]: one for one in record["handoffs"]}
        if found["webhook"]["status"] == webhook and found["log"]["status"] == "delivered":
            return found
        await asyncio.sleep(0.01)


def refuse(receiver: Receiver) -> None:
    receiver.answer = lambda _: asyncio.sleep(0, web.Response(status=500))


async def test_the_record_says_how_far_others_know_of_it(client: Client, receiver: Receiver) -> None:
    stored = await send(client, audio.sample("amr"))
    found = await standing(client, stored["id"], "delivered")
    for one in found.values():
        assert (one["attempts"], one["due_at"], one["died_at"], one["error"]) == (1, None, None, None)
        assert one["delivered_at"] > stored["stored_at"]
    assert "handoffs" not in stored
    assert len(receiver.calls) == 1


async def test_before_anybody_was_told_it_is_pending(folder: Path) -> None:
    async with serving(configure(folder, handoff={"targets": []})) as client:
        stored = await send(client, audio.sample("amr"))
        assert (await get(client, f"/v1/uploads/{stored['id']}"))["handoffs"] == []
        assert (await get(client, "/ready"))["handoffs_waiting"] == 0
    nowhere: dict[str, object] = {"url": "redis://127.0.0.1:1/0"}
    async with serving(configure(folder, handoff={"targets": ["redis"]}, redis=nowhere)) as client:
        (one,) = (await get(client, f"/v1/uploads/{stored['id']}"))["handoffs"]
        assert (one["target"], one["status"], one["delivered_at"]) == ("redis", "pending", None)
        assert (await get(client, "/ready"))["handoffs_waiting"] == 1


async def test_what_is_not_stored_is_told_to_nobody(client: Client) -> None:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "9"}
    async with client.post("/v1/uploads", headers=headers) as answer:
        assert (await get(client, answer.headers["Location"]))["handoffs"] == []


async def test_fault_49_what_was_given_up_is_shown_and_can_be_replayed(client: Client, receiver: Receiver) -> None:
    refuse(receiver)
    stored = await send(client, audio.sample("amr"))
    found = await standing(client, stored["id"], "dead")
    assert (found["webhook"]["attempts"], found["webhook"]["error"]) == (2, "The webhook answered 500.")
    assert (await get(client, "/ready"))["handoffs_dead"] == 1
    listed = await get(client, f"{HANDOFFS}?status=dead")
    assert listed["targets"] == [
        {"target": "log", "waiting": 0, "dead": 0},
        {"target": "webhook", "waiting": 0, "dead": 1},
    ]
    (dead,) = listed["handoffs"]
    link = {"upload": f"/v1/uploads/{stored['id']}"}
    assert dead == {
        "id": stored["id"],
        "type": "upload.stored",
        "time": stored["stored_at"],
        **found["webhook"],
        "links": link,
    }
    receiver.answer = Receiver().answer
    async with client.post(f"{HANDOFFS}/{stored['id']}/replay") as answer:
        assert (answer.status, await answer.json()) == (200, {"replayed": 2})
    await standing(client, stored["id"], "delivered")
    assert (await get(client, "/ready"))["handoffs_dead"] == 0
    assert {call.headers["webhook-id"] for call in receiver.calls} == {stored["id"]}


async def test_pages(client: Client) -> None:
    stored = [(await send(client, audio.sample("amr")))["id"] for _ in range(3)]
    for id in stored:
        await standing(client, id, "delivered")
    page = await get(client, f"{HANDOFFS}?limit=4&status=delivered")
    rest = await get(client, f"{HANDOFFS}?limit=4&status=delivered&cursor={page['next_cursor']}")
    seen = [(one["id"], one["target"]) for one in (*page["handoffs"], *rest["handoffs"])]
    assert rest["next_cursor"] is None
    assert seen == [(id, target) for id in reversed(stored) for target in ("webhook", "log")]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "status=stored",
        "cursor=x",
        "cursor=eA==",
        "cursor=eCB5",
        "cursor=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAgeQ==",
    ],
)
async def test_questions_that_make_no_sense(client: Client, query: str) -> None:
    async with client.get(f"{HANDOFFS}?{query}") as answer:
        assert (answer.status, (await answer.json())["type"]) == (400, "urn:maie:problem:malformed")


@pytest.mark.parametrize("id", ["8cd90ed6-c15b-4670-baa7-baa72552ef95", "x"])
async def test_nothing_to_replay(client: Client, id: str) -> None:
    async with client.post(f"{HANDOFFS}/{id}/replay") as answer:
        assert (answer.status, (await answer.json())["type"]) == (404, "urn:maie:problem:not-found")


async def test_it_is_shown_how_it_stands_without_disturbing_it(client: Client) -> None:
    assert client.app is not None
    outbox: Outbox = client.app[CATALOG].outbox
    stored = await send(client, audio.sample("amr"))
    await standing(client, stored["id"], "delivered")
    before = await outbox.list(9)
    await get(client, f"/v1/uploads/{stored['id']}")
    await get(client, HANDOFFS)
    assert await outbox.list(9) == before
