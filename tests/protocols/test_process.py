"""MAIE's door, as MAIE's clients use it. The queue is somewhere where nobody listens: what is taken is kept here."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from maie_aiohttp.web.appkeys import CATALOG
from tests import audio
from tests.clients.service import run
from tests.conftest import Client, configure, serving
from tests.keys import key
from tests.wire import END, FORM, Answer, Edge, Wire, file, request, text

PROCESS = "POST /v1/process HTTP/1.1"
MAIE: dict[str, dict[str, object]] = {
    "handoff": {"targets": ("rq",)},
    "rq": {"url": "redis://127.0.0.1:9/0"},
}
"""Its workers are somewhere where nobody is."""
WAV = audio.sample("wav-u8").content
CLEAN, SUMMARY = text("features", b"clean_transcript"), text("features", b"summary")
TEMPLATE = text("template_id", b"meeting_notes_v1")
BAD = text("vad_threshold", b"much")
REFUSED = (422, "invalid-task")


@pytest.fixture
async def edge(folder: Path) -> AsyncIterator[Edge]:
    """A server that hands recordings to MAIE."""
    async with serving(configure(folder, server={"linger": "100 ms"}, **MAIE)) as client:
        yield Edge(client, folder)


def sent(*parts: bytes, end: bytes = END, headers: tuple[str, ...] = ()) -> bytes:
    body = b"".join(parts) + end
    return request(FORM, f"Content-Length: {len(body)}", *headers, body=body, line=PROCESS)


async def record_of(client: Client, answer: Answer) -> Mapping[str, Any]:
    """Of what was taken."""
    assert (answer.status, answer.json()["status"], set(answer.json())) == (202, "PENDING", {"task_id", "status"})
    async with client.get(f"/v1/uploads/{answer.json()['task_id']}") as shown:
        record: Mapping[str, Any] = await shown.json()
        return record


async def test_a_task_is_a_stored_upload_with_its_wishes(edge: Edge) -> None:
    answer = await edge.exchange(sent(file(), CLEAN, SUMMARY, TEMPLATE, text("title", b"Monday")))
    record = await record_of(edge.client, answer)
    assert record["status"] == "stored"
    assert record["metadata"] == {
        "features": ["clean_transcript", "summary"],
        "template_id": "meeting_notes_v1",
        "title": "Monday",
    }
    assert answer.headers["location"] == f"/v1/status/{record['id']}"
    assert "repr-digest" in answer.headers
    async with edge.client.get(answer.headers["location"]) as status:
        assert await status.json() == {
            "task_id": record["id"],
            "status": "PENDING",
            "submitted_at": record["stored_at"].replace("Z", "+00:00"),
            **dict.fromkeys(["error", "error_code", "stage", "completed_at", "versions", "metrics", "results"]),
        }


async def test_it_is_announced_as_every_upload(edge: Edge) -> None:
    answer = await edge.exchange(sent(file()))
    assert edge.client.app is not None
    assert (await edge.client.app[CATALOG].outbox.backlog("rq")).waiting == 1
    assert answer.status == 202


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_the_command_of_maies_readme_works_unchanged(edge: Edge, tmp_path: Path) -> None:
    secret = await key(edge.client, "ada", "upload")
    (tmp_path / "x.wav").write_bytes(WAV)
    fields = ("features=clean_transcript", "features=summary", "template_id=meeting_notes_v1")
    command = ("curl", "-sS", "-X", "POST", str(edge.client.make_url("/v1/process")), "-H", f"X-API-Key: {secret}")
    form = [option for field in (f"file=@{tmp_path}/x.wav", *fields) for option in ("-F", field)]
    answer = json.loads(await run(*command, *form))
    assert answer["status"] == "PENDING"
    status = await run("curl", "-sS", str(edge.client.make_url(f"/v1/status/{answer['task_id']}")), *command[5:7])
    assert json.loads(status)["status"] == "PENDING"


@pytest.mark.parametrize(
    "parts",
    [(file(), BAD), (BAD, file()), (file(), SUMMARY), (SUMMARY, file()), (file(), TEMPLATE, TEMPLATE)],
    ids=["after the file", "before the file", "no template, after", "no template, before", "two templates"],
)
async def test_what_is_no_task_leaves_nothing(edge: Edge, parts: tuple[bytes, ...]) -> None:
    assert await edge.refuse(sent(*parts)) == REFUSED


async def test_a_wrong_field_before_the_file_is_refused_before_the_file_comes(edge: Edge) -> None:
    async with Wire.connect(edge.client) as wire:
        wire.send(request(FORM, "Content-Length: 100000000", line=PROCESS) + BAD + file()[:100])
        assert (await wire.answer()).status == 422


@pytest.mark.parametrize(
    ("parts", "outcome"),
    [
        ((CLEAN,), (422, "empty")),
        ((file(), file()), (413, "too-large")),
        ((file(b"no audio, but long enough to be looked at" * 9),), (415, "not-audio")),
        ((file(), text("features", b"\xff")), (400, "malformed")),
    ],
    ids=["no file", "two files", "no audio", "no text"],
)
async def test_the_rules_of_the_form_door_hold(edge: Edge, parts: tuple[bytes, ...], outcome: tuple[int, str]) -> None:
    assert await edge.refuse(sent(*parts)) == outcome


@pytest.mark.parametrize("header", ["Content-Type: audio/wav", "X-Other: nothing"])
async def test_only_forms_are_tasks(edge: Edge, header: str) -> None:
    whole = request(header, f"Content-Length: {len(WAV)}", body=WAV, line=PROCESS)
    assert await edge.refuse(whole) == (415, "unsupported-media-type")


async def test_a_form_that_breaks_off_is_no_task(edge: Edge) -> None:
    assert await edge.refuse(sent(file(), CLEAN, end=b"")) == (400, "truncated")


async def test_a_request_sent_again_is_one_task_and_none_of_the_form_door(edge: Edge) -> None:
    again = sent(file(), CLEAN, headers=('Idempotency-Key: "k"',))
    first, second = await edge.exchange(again), await edge.exchange(again)
    assert first.json() == second.json()
    assert len(await edge.stored()) == 1
    other_door = again.replace(PROCESS.encode(), b"POST /v1/uploads HTTP/1.1")
    assert (await edge.exchange(other_door)).problem == "idempotency-key-reused"


async def test_a_server_without_a_queue_says_so(client: Client, folder: Path) -> None:
    edge = Edge(client, folder)
    assert await edge.refuse(sent(file())) == (404, "not-configured")
    answer = await edge.exchange(sent(file()).replace(PROCESS.encode(), b"POST /v1/uploads HTTP/1.1"))
    id = answer.json()["uploads"][0]["id"]
    async with client.get(f"/v1/status/{id}") as status:
        assert (status.status, (await status.json())["type"]) == (404, "urn:maie:problem:not-configured")


async def test_a_full_queue_is_said_before_the_body_is_read(folder: Path) -> None:
    async with serving(configure(folder, **{**MAIE, "rq": {**MAIE["rq"], "max_queue_depth": 2}})) as client:
        edge = Edge(client, folder)
        assert [(await edge.exchange(sent(file()))).status for _ in range(2)] == [202, 202]
        async with Wire.connect(client) as wire:
            wire.send(request(FORM, "Content-Length: 1000", "Expect: 100-continue", line=PROCESS))
            answer = await wire.answer()
        assert (answer.status, answer.problem) == (429, "queue-full")
        assert int(answer.headers["retry-after"]) > 0
        plain = sent(file()).replace(PROCESS.encode(), b"POST /v1/uploads HTTP/1.1")
        assert (await edge.exchange(plain)).status == 201
