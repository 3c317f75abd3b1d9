"""Listing, showing and deleting records."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import audio
from tests.conftest import Client, files, send

NOBODY = "abcdef00-0000-4000-8000-000000000001"


async def test_list_is_newest_first_and_pages_without_gap_or_repeat(client: Client) -> None:
    sent = [(await send(client, audio.sample("wav")))["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        answer = await client.get(f"/v1/uploads?limit=2{cursor}")
        page = await answer.json()
        seen += [upload["id"] for upload in page["uploads"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == sent[::-1]


async def test_list_filters_by_status(client: Client) -> None:
    upload = await send(client, audio.sample("wav"))
    stored = await (await client.get("/v1/uploads?status=stored")).json()
    damaged = await (await client.get("/v1/uploads?status=damaged")).json()
    assert [found["id"] for found in stored["uploads"]] == [upload["id"]]
    assert damaged["uploads"] == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=007",
        "limit=00000000120000000",
        "limit=ten",
        "limit=-1",
        "limit=",
        "limit=\u0661",
        "status=lost",
        "cursor=!",
        "cursor=eA==",
    ],
)
async def test_list_refuses_what_it_does_not_understand(client: Client, query: str) -> None:
    answer = await client.get(f"/v1/uploads?{query}")
    assert answer.status == 400
    assert (await answer.json())["type"] == "urn:maie:problem:malformed"


async def test_cursor_without_time_zone_is_refused(client: Client) -> None:
    cursor = "MjAyNi0wMS0wMVQwMDowMDowMCAxMjM0NTY3OC0xMjM0LTEyMzQtMTIzNC0xMjM0NTY3ODEyMzQ="
    assert (await client.get(f"/v1/uploads?cursor={cursor}")).status == 400


async def test_record_is_what_the_upload_answered(client: Client) -> None:
    upload = await send(client, audio.sample("mp3"))
    answer = await client.get(upload["links"]["self"])
    assert answer.status == 200
    shown = await answer.json()
    del shown["handoffs"]
    assert shown == upload


@pytest.mark.parametrize("id", [NOBODY, "x", "..%2f..%2fetc%2fpasswd", NOBODY.upper(), NOBODY.replace("-", "")])
async def test_unknown_upload_is_404(client: Client, id: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
        answer = await client.request(method, f"/v1/uploads/{id}{path}")
        assert answer.status == 404
        assert answer.content_type == "application/problem+json"


async def test_deleted_upload_is_gone_with_its_bytes(client: Client, folder: Path) -> None:
    upload = await send(client, audio.sample("wav"))
    assert (await client.delete(upload["links"]["self"])).status == 204
    assert (await client.delete(upload["links"]["self"])).status == 404
    assert (await client.get(upload["links"]["content"])).status == 404
    assert files(folder) == []
    assert (await (await client.get("/v1/uploads")).json())["uploads"] == []


async def test_other_methods_name_those_allowed(client: Client) -> None:
    answer = await client.put("/v1/uploads")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert answer.content_type == "application/problem+json"
