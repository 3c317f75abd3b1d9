"""`python -m maie_aiohttp handoffs`: beside a server, beside several workers, and without any."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from maie_aiohttp.command import main
from tests import audio
from tests.conftest import configure, send, serving
from tests.handoffs.sides import SECRET, Receiver, webhook_group

GIVES_UP: dict[str, object] = {"targets": ["webhook"], "max_attempts": 1}


@pytest.fixture
def receiver() -> Receiver:
    """Nobody is there, until it is started."""
    return Receiver()


@pytest.fixture
def configured(tmp_path: Path, folder: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Groups for a server, and the same for the command."""
    (tmp_path / "config.toml").write_text(
        f'[storage]\nfolder = "{folder}"\n[handoff]\ntargets = ["webhook"]\n[webhook]\nurl = "{receiver.url}"\n'
        f'secrets = ["{SECRET}"]\n'
    )
    monkeypatch.chdir(tmp_path)
    return {"handoff": GIVES_UP, "webhook": webhook_group(receiver.url)}


async def handoffs(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str]]:
    """Run the command. Returns its status and what it said."""
    capfd.readouterr()
    status = await asyncio.to_thread(main, ["handoffs", *words])
    said = capfd.readouterr()
    logged = re.compile(r"\S*\d{4}-\d\d-\d\d \d\d:")  # by the server of this process
    return status, [line for line in (said.out + said.err).splitlines() if not logged.match(line)]


async def given_up(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """What is said of it, as soon as everything was given up."""
    while True:
        _, (backlog, *lines) = await handoffs(capfd, "list")
        if "0 waiting" in backlog:
            return [backlog, *lines]
        await asyncio.sleep(0.01)


async def test_lists_what_was_given_up_and_begins_it_anew_beside_a_server(
    folder: Path, configured: dict[str, Any], receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving(configure(folder, **configured)) as client:
        first, second = [(await send(client, audio.sample("amr")))["id"] for _ in range(2)]
        backlog, *lines = await given_up(capfd)
        assert backlog == "webhook: 0 waiting, 2 dead"
        assert [line.split()[0] for line in lines] == [second, first]
        dead = r"attempts 1, given up \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ: The webhook cannot be reached: .+\."
        assert re.fullmatch(rf"{second} webhook: dead, {dead}", lines[0])
        assert await handoffs(capfd, "list", "--dead") == (0, [backlog, *lines])
        await receiver.start()
        assert (await handoffs(capfd, "replay", first))[0] == 0
        while not receiver.calls:  # noqa: ASYNC110 - another process rang
            await asyncio.sleep(0.01)
        assert (await handoffs(capfd, "list", "--dead"))[1][1:] == lines[:1]
        assert (await handoffs(capfd, "replay", "--dead"))[0] == 0
        while len(receiver.calls) < 2:  # noqa: ASYNC110 - another process rang
            await asyncio.sleep(0.01)
        assert {call.headers["webhook-id"] for call in receiver.calls} == {first, second}
        assert await given_up(capfd) == ["webhook: 0 waiting, 0 dead"]
        status, (line,) = await handoffs(capfd, "list", first)
        assert (status, line.startswith(f"{first} webhook: delivered, attempts 1, delivered ")) == (0, True)
        assert await handoffs(capfd, "list", first, "--dead") == (0, [])
    await receiver.stop()


async def test_what_is_replayed_without_a_server_is_delivered_by_the_next(
    folder: Path, configured: dict[str, Any], receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving(configure(folder, **configured)) as client:
        await send(client, audio.sample("amr"))
        await given_up(capfd)
    assert (await handoffs(capfd, "replay", "--dead"))[0] == 0
    assert await handoffs(capfd, "replay", "--dead") == (
        1,
        ["There is no such hand-off. What nobody was told of yet needs no replay."],
    )
    (backlog, line) = (await handoffs(capfd, "list"))[1]
    assert (backlog, "pending, attempts 0, due" in line) == ("webhook: 1 waiting, 0 dead", True)
    await receiver.start()
    async with serving(configure(folder, **configured)):
        await given_up(capfd)
    assert len(receiver.calls) == 1
    await receiver.stop()


async def test_nothing_to_replay(folder: Path, configured: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    async with serving(configure(folder, **configured)):
        pass
    assert (await handoffs(capfd, "replay", str(uuid4())))[0] == 1
    assert await handoffs(capfd, "list", str(uuid4())) == (0, [])


async def test_where_no_server_ever_was(configured: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    status, (line,) = await handoffs(capfd, "list")
    assert (status, "No such file" in line) == (1, True)


@pytest.mark.parametrize(
    "words", [[], ["replay"], ["replay", "x"], ["replay", "--dead", "8cd90ed6-c15b-4670-baa7-baa72552ef95"], ["send"]]
)
def test_words_that_say_nothing(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["handoffs", *words])
    assert ended.value.code == 2
