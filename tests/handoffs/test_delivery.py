"""From an upload to those who are told of it: whole servers, targets that are away, and processes that are killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from tests import audio, crew
from tests.conftest import Client, configure, send, serving
from tests.crew import Crew
from tests.handoffs.sides import HERE, SECRET, Receiver, Remote
from tests.wire import COLLECTION

RECORDING = audio.sample("amr").content


async def waiting(client: Client) -> int:
    """How many hand-offs wait."""
    async with client.get("/ready") as answer:
        count: int = (await answer.json())["handoffs_waiting"]
        return count


async def test_fault_48_with_its_target_away_an_upload_is_stored_and_told_later(folder: Path, remote: Remote) -> None:
    name = remote.handoff.name
    handoff: dict[str, object] = {"targets": [name], "first_pause": "10 ms", "longest_pause": "50 ms"}
    settings = configure(folder, handoff=handoff, **{name: remote.group})
    await remote.leave()
    async with serving(settings) as client:
        stored = [(await send(client, audio.sample("amr")))["id"] for _ in range(3)]
        assert await waiting(client) == 3
    async with serving(settings) as client:
        stored.append((await send(client, audio.sample("amr")))["id"])
        assert await waiting(client) == 4
        await remote.come_back()
        while await waiting(client):  # noqa: ASYNC110 - sooner or later
            await asyncio.sleep(0.01)
    assert {*await remote.received()} == {*stored}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks."""
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


def told(receiver: Receiver) -> list[str]:
    """The ids of events, as they came."""
    return [json.loads(call.body)["id"] for call in receiver.calls]


def settings(receiver: Receiver) -> dict[str, str]:
    """Of a server in processes of its own."""
    return {
        "handoff.targets": "webhook",
        "handoff.first_pause": "10 ms",
        "webhook.url": receiver.url,
        "webhook.secrets": SECRET,
        "webhook.private_networks": ",".join(HERE),
    }


async def upload(session: ClientSession) -> str:
    """Store a recording. Returns its id."""
    async with session.post(COLLECTION, data=RECORDING, headers={"Content-Type": "audio/amr"}) as answer:
        assert answer.status == 201
        id: str = (await answer.json())["id"]
        return id


async def test_whichever_worker_stores_it_it_is_told_once_and_at_once(folder: Path, receiver: Receiver) -> None:
    async with crew.serving(folder, settings(receiver)) as served:
        stored = []
        for worker in served.pids:
            async with served.client_of(worker) as session:
                stored.append(await upload(session))
                await crew.until(lambda: len(told(receiver)) == len(stored))
        assert told(receiver) == stored


async def stored_by(served: Crew) -> str:
    async with ClientSession(await served.server.url()) as session:
        return await upload(session)


async def test_fault_08_killed_between_the_acknowledgement_and_its_note(folder: Path, receiver: Receiver) -> None:
    async with crew.serving(folder, settings(receiver)) as served:
        before = [*served.pids]

        async def acknowledge_and_kill(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(status=200, headers={"Content-Length": "0"})
            if len(receiver.calls) == 1:
                for pid in before:
                    os.kill(pid, signal.SIGKILL)
            await response.prepare(request)
            return response

        receiver.answer = acknowledge_and_kill
        first = await stored_by(served)
        await crew.until(lambda: told(receiver) == [first, first])
        second = await stored_by(served)
        await crew.until(lambda: told(receiver) == [first, first, second])


async def test_another_worker_goes_on_where_the_first_was_killed(folder: Path, receiver: Receiver) -> None:
    """Without waiting for the successor of the first."""
    async with crew.serving(folder, settings(receiver)) as served:
        leader, other = served.pids
        async with served.client_of(other) as session:
            first = await upload(session)
            await crew.until(lambda: told(receiver) == [first])
            os.kill(leader, signal.SIGKILL)
            second = await upload(session)
            await crew.until(lambda: second in told(receiver))


async def test_a_stopping_server_tells_what_it_stored_to_the_end(folder: Path, receiver: Receiver) -> None:
    async with crew.serving(folder, settings(receiver)) as served:
        first = await stored_by(served)
        served.server.signal(signal.SIGTERM)
        assert await served.server.ended() == 0
    async with crew.serving(folder, settings(receiver)) as served:
        await crew.until(lambda: first in told(receiver))
