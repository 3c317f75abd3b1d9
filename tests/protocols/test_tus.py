"""tus 1.0.0 (https://tus.io/protocols/resumable-upload): every rule of the table, and what only shows on the disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from maie_aiohttp.web.appkeys import DRAIN
from tests.conftest import Client, configure, files, serving
from tests.protocols.tus_rules import (
    ALL,
    HALF,
    RULES,
    SPOKEN_WORDS,
    USUAL,
    Profile,
    Rule,
    Server,
    final,
    must_be_gone,
    must_complete,
    speaking,
)
from tests.wire import COLLECTION, WAV

module_loop = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def tus(client: Client, profile: Profile = USUAL) -> AsyncIterator[Server]:
    """The server of `client`, as tus clients see it."""
    async with speaking(client.make_url("/"), profile, "/content") as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server for all rules of a profile: it must serve on after each of them."""
    profile: Profile = request.param
    settings = configure(
        tmp_path_factory.mktemp("tus") / "data",
        server={"linger": "100 ms"},
        limits={"max_size": f"{profile.max_size} B"},
        resumable={"lifetime": f"{profile.lifetime} s"},
    )
    async with serving(settings) as client, tus(client, profile) as server:
        yield server


@module_loop
@pytest.mark.parametrize(
    ("server", "rule"),
    [pytest.param(rule.profile, rule, id=rule.name.replace(" ", "-")) for rule in RULES],
    indirect=["server"],
)
async def test_rule(server: Server, rule: Rule) -> None:
    await rule.check(server)


async def test_no_rule_stands_under_the_name_of_another() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


async def test_what_was_refused_leaves_no_file(client: Client, folder: Path) -> None:
    async with tus(client) as server:
        path = await server.begin(len(SPOKEN_WORDS))
        assert (await server.append(path, 0, SPOKEN_WORDS)).status == 415
    assert files(folder) == []


async def test_what_was_deleted_leaves_no_file(client: Client, folder: Path) -> None:
    async with tus(client) as server:
        unfinished = await server.begin()
        await server.append(unfinished, 0, WAV[:HALF])
        for path in (unfinished, await server.upload(WAV), await server.part(WAV)):
            assert (await server.ask("DELETE", path)).status == 204
    assert files(folder) == []


async def test_a_refused_whole_leaves_only_its_parts(client: Client, folder: Path) -> None:
    async with tus(client) as server:
        part = await server.part(SPOKEN_WORDS)
        before = files(folder)
        assert (await server.ask("POST", COLLECTION, final(part))).status == 415
    assert files(folder) == before


async def test_a_refused_creation_leaves_nothing(client: Client, folder: Path) -> None:
    async with tus(client) as server:
        for fields in ({}, {"Upload-Length": "0"}, {"Upload-Length": "5", "Upload-Metadata": "a !!!!"}):
            assert 400 <= (await server.ask("POST", COLLECTION, fields)).status < 500
        assert (await server.exchange("GET", COLLECTION, {})).json()["uploads"] == []
    assert files(folder) == []


async def test_an_upload_goes_on_after_a_restart(folder: Path) -> None:
    async with serving(configure(folder)) as client, tus(client) as server:
        path, part = await server.begin(), await server.part(WAV)
        await server.append(path, 0, WAV[:HALF])
        deleted = await server.begin()
        await server.ask("DELETE", deleted)
    async with serving(configure(folder)) as client, tus(client) as server:
        assert await server.offset(path) == HALF
        await must_complete(server, path, WAV)
        await must_be_gone(server, deleted)
        assert await server.content(await server.create(final(part))) == WAV


async def test_a_stalled_patch_is_ended_and_keeps_what_arrived(folder: Path) -> None:
    settings = configure(folder, limits={"idle_timeout": "200 ms"}, server={"linger": "100 ms"})
    async with serving(settings) as client, tus(client) as server:
        path = await server.begin()
        async with server.holding(path, ALL) as holder:
            holder.send(WAV[:HALF])
            assert (await holder.answer()).status == 408
        assert await server.offset(path) == HALF
        await must_complete(server, path, WAV)


async def test_a_stopping_server_keeps_what_arrived(folder: Path) -> None:
    async with serving(configure(folder)) as client, tus(client) as server:
        path = await server.begin()
        async with server.holding(path, ALL) as holder:
            holder.send(WAV[:HALF])
            assert await client.app[DRAIN].run(0.1, nothing) == 1
            assert (await holder.answer()).status == 503
    async with serving(configure(folder)) as client, tus(client) as server:
        assert await server.offset(path) == HALF
        await must_complete(server, path, WAV)


async def nothing() -> None:
    """There is nobody else to tell."""


async def test_a_restart_does_not_forget_what_the_check_saw(folder: Path) -> None:
    async with serving(configure(folder)) as client, tus(client) as server:
        path = await server.begin(len(SPOKEN_WORDS))
        assert (await server.append(path, 0, SPOKEN_WORDS[:1000])).status == 204
    async with serving(configure(folder)) as client, tus(client) as server:
        assert (await server.append(path, 1000, SPOKEN_WORDS[1000:])).status == 415
        await must_be_gone(server, path)
