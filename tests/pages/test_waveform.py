"""Outlines over HTTP: drawn once, kept as long as the recording, and honest where there is none."""

from __future__ import annotations

import asyncio
import io
from array import array
from pathlib import Path
from typing import Any
from uuid import uuid5

import pytest
from aiohttp import ClientResponse

from maie_aiohttp.errors import Busy
from maie_aiohttp.upkeep import outlines
from maie_aiohttp.upkeep.outlines import DRAWING
from maie_aiohttp.web.appkeys import ANALYST, INTAKE
from tests import audio
from tests.conftest import Client, configure, send, serving
from tests.layers import query
from tests.test_facts import tone, wav
from tests.test_inspector import ended, pids
from tests.wire import COLLECTION


async def asked(client: Client, id: str, query: str = "") -> ClientResponse:
    return await client.get(f"{COLLECTION}/{id}/waveform{query}")


async def outline(client: Client, id: str, query: str = "") -> dict[str, Any]:
    answer = await asked(client, id, query)
    assert answer.status == 200, await answer.text()
    said: dict[str, Any] = await answer.json()
    return said


async def problem(answer: ClientResponse) -> tuple[int, str]:
    return answer.status, (await answer.json())["type"].removeprefix("urn:maie:problem:")


async def stored(client: Client, content: bytes | io.BytesIO) -> str:
    id: str = (await (await client.post(COLLECTION, data=content)).json())["id"]
    return id


async def test_is_that_of_the_recording(client: Client) -> None:
    half = array("h", [0] * 16_000) + tone(0.5, 1.0)
    id = await stored(client, wav(half))
    said = await outline(client, id, "?points=100")
    data = said.pop("data")
    assert said == {
        "version": 2,
        "channels": 1,
        "sample_rate": 16_000,
        "samples_per_pixel": 320,
        "bits": 16,
        "length": 100,
    }
    assert data[:100] == [0] * 100
    assert min(data[100:]) == pytest.approx(-16_384, abs=2)
    assert max(data[100:]) == pytest.approx(16_384, abs=2)
    assert all(low <= high for low, high in zip(data[::2], data[1::2], strict=True))


@pytest.mark.parametrize("name", audio.NAMES)
async def test_there_is_one_of_every_format(name: str, client: Client) -> None:
    said = await outline(client, (await send(client, audio.sample(name)))["id"])
    assert said["length"] * 2 == len(said["data"])
    assert 500 <= said["length"] <= 1_000 or said["samples_per_pixel"] == 16
    assert max(said["data"]) > 3_000


async def test_has_a_point_for_each_stretch_at_the_most(client: Client) -> None:
    id = await stored(client, wav(tone(0.5, 1.0)))
    assert [(await outline(client, id, f"?points={points}"))["length"] for points in (1, 7, 1000, 10_000)] == [
        *(1, 7, 1000, 1000),
    ]


@pytest.mark.parametrize("points", ["0", "10001", "x", "", "-1", "007", "1.5"])
async def test_other_numbers_of_points_are_refused(client: Client, points: str) -> None:
    id = await stored(client, wav(tone(0.5)))
    assert await problem(await asked(client, id, f"?points={points}")) == (400, "malformed")


async def test_is_drawn_once_for_all_who_ask_and_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Path] = []
    async with serving(configure(folder)) as client:
        id = await stored(client, wav(tone(0.5)))
        analyst = client.app[ANALYST]  # it is served
        draw = analyst.outline

        async def counted(path: Path, format: str) -> object:
            drawn.append(path)
            return await draw(path, format)

        monkeypatch.setattr(analyst, "outline", counted)
        said = await asyncio.gather(*(outline(client, id) for _ in range(10)))
    async with serving(configure(folder)) as client:
        said.append(await outline(client, id))
        assert pids(client.app[ANALYST]) == []
    assert len(drawn) == 1
    assert all(one == said[0] for one in said)


async def test_ends_with_the_recording(client: Client, folder: Path) -> None:
    id = await stored(client, wav(tone(0.5)))
    await outline(client, id)
    assert query(folder / "catalog.sqlite", "SELECT count(*) FROM waveforms") == [(1,)]
    await client.delete(f"{COLLECTION}/{id}")
    assert query(folder / "catalog.sqlite", "SELECT count(*) FROM waveforms") == [(0,)]
    assert await problem(await asked(client, id)) == (404, "not-found")


async def test_of_what_is_not_stored_there_is_none(client: Client) -> None:
    begun = await client.post(COLLECTION, headers={"Tus-Resumable": "1.0.0", "Upload-Length": "9"})
    assert await problem(await asked(client, begun.headers["Location"].rpartition("/")[2])) == (404, "not-found")
    assert await problem(await asked(client, "no-id")) == (404, "not-found")


async def test_of_a_damaged_recording_there_is_none(client: Client, folder: Path) -> None:
    id = await stored(client, wav(tone(0.5)))
    (file,) = (folder / "audio").rglob("*.wav")
    file.unlink()
    assert await problem(await asked(client, id)) == (500, "damaged")


async def test_what_cannot_be_decoded_says_so_every_time(folder: Path) -> None:
    impatient = configure(folder, waveforms={"timeout": "1 ms"})
    async with serving(impatient) as client:
        id = await stored(client, wav(tone(0.5)))
        assert await problem(await asked(client, id)) == (422, "undecodable")
        assert await problem(await asked(client, id)) == (422, "undecodable")
        assert pids(client.app[ANALYST]) == []  # the second time, nobody tried


async def test_nobody_waits_for_ever_and_the_drawing_goes_on(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    id = await stored(client, wav(tone(0.5)))
    monkeypatch.setattr(outlines, "PATIENCE", 0.001)
    assert await problem(await asked(client, id)) == (503, "busy")
    while (await asked(client, id)).status != 200:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.02)


async def test_another_process_draws_it_already(client: Client) -> None:
    id = await stored(client, wav(tone(0.5)))
    with client.app[INTAKE].locks.own(uuid5(DRAWING, id)):
        assert await problem(await asked(client, id)) == (503, "busy")
    assert (await asked(client, id)).status == 200


async def test_too_many_at_once_are_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "MOST", 0)
    assert await problem(await asked(client, await stored(client, wav(tone(0.5))))) == (503, "busy")


async def test_without_a_child_it_is_not_undecodable(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    id = await stored(client, wav(tone(0.5)))

    async def unable(_path: Path, _format: str) -> object:
        raise Busy("No decoder could be started.")

    with monkeypatch.context() as patch:
        patch.setattr(client.app[ANALYST], "outline", unable)
        assert await problem(await asked(client, id)) == (503, "busy")
    assert (await asked(client, id)).status == 200


async def test_tags_do_not_wait_for_it(client: Client) -> None:
    id = await stored(client, audio.sample("mp3").content)
    async with client.app[ANALYST]._lent_child(), asyncio.timeout(10):
        assert (await client.get(f"{COLLECTION}/{id}?include=tags")).status == 200


async def test_a_server_that_stops_ends_the_drawing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "PATIENCE", 0.001)
    async with serving(configure(folder, server={"linger": "100 ms"})) as client:
        id = await stored(client, io.BytesIO(b"".join(audio.long_wav(20_000_000))))
        await asked(client, id)
        children = client.app[ANALYST]
        while not pids(children):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        (pid,) = pids(children)
    await ended(pid)
