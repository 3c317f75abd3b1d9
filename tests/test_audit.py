"""The audit: who did what, one line a request, whether it was granted or not. docs/audit.md says what stands in it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import stat
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, FormData
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from structlog.testing import capture_logs

from maie_aiohttp import journal
from maie_aiohttp.access.signing import Signer
from maie_aiohttp.command import main
from maie_aiohttp.settings import ConfigurationError
from maie_aiohttp.web import forwarded
from maie_aiohttp.web.permission import Action
from tests import audio, crew
from tests.conftest import Client, configure, files, send, serving
from tests.crew import until
from tests.keys import EVERYTHING, bearer, key
from tests.scenarios import process
from tests.test_access_matrix import HALF, PIPELINE, PUBLIC, RECORDING, TABLE, TUS, TUS_BYTES
from tests.test_journal import NASTY, restored
from tests.test_keys import created, keys
from tests.wire import COLLECTION, WAV, Wire, request

__all__ = ["restored"]

DOCUMENT = (Path(__file__).parent.parent / "docs" / "audit.md").read_text(encoding="utf-8")

ACTIONS = {
    "list": "list",
    "list, head": "list",
    "show": "show",
    "content": "read",
    "content, head": "read",
    "waveform": "read",
    "events of one": "follow",
    "events of one, head": "follow",
    "events of all": "follow",
    "events of all, head": "follow",
    "make a token": "create token",
    "process": "create",
    "status": "look",
    "status, head": "look",
    "hand-offs": "list hand-offs",
    "hand-offs, head": "list hand-offs",
    "replay": "replay",
    "raw": "create",
    "form": "create",
    "tus": "create",
    "tus with bytes": "create",
    "tus, look": "look",
    "tus, append": "append",
    "tus, append by POST": "append",
    "tus, look by POST": "look",
    "tus, delete": "delete",
    "tus, delete by POST": "delete",
    "delete by PATCH": "delete",
    "ietf": "create",
    "ietf, all of it": "create",
    "ietf, look": "look",
    "ietf, append": "append",
    "ietf, cancel": "delete",
    "delete": "delete",
}
"""What each request of the access matrix, which has all routes, is called."""

NOT_AUDITED = {"/health", "/ready", "/openapi.json"}
"""Pages that tell nothing of anybody; of all other paths, `OPTIONS` alone."""

Line = MutableMapping[str, Any]


@contextmanager
def audited() -> Iterator[Sequence[Line]]:
    """The lines that are written meanwhile."""
    found: list[Line] = []
    with capture_logs() as lines:
        yield found
    found.extend(line for line in lines if line["event"] == "audit")


def test_every_route_has_its_place() -> None:
    """A new route stands in the access matrix, and here: as an action, or as one that is for everybody."""
    assert {name for name, row in TABLE.items() if row.scopes != PUBLIC} == ACTIONS.keys()
    everybody = {row.route for row in TABLE.values() if row.scopes == PUBLIC and row.method != "OPTIONS"}
    assert everybody == NOT_AUDITED


def test_every_action_is_documented() -> None:
    assert set(ACTIONS.values()) == set(Action)
    for action in (*Action, "create key", "revoke key"):
        assert re.search(rf"^\|.*`{action}`", DOCUMENT, re.MULTILINE), action


@pytest.fixture
async def complete(folder: Path) -> AsyncIterator[Client]:
    """A client of a server that has every route of the access matrix."""
    async with serving(configure(folder, handoff={"targets": ("rq",)}, rq=PIPELINE)) as client:
        yield client


@pytest.mark.parametrize("name", TABLE)
async def test_one_line_a_request(complete: Client, name: str) -> None:
    row, client = TABLE[name], complete
    ada = bearer(await key(client, "ada", "admin", owner="court"))
    path = row.route.replace("{id}", await begun(client, ada, half=row.half))
    with audited() as lines:
        async with client.request(row.method, path, headers={**row.headers, **ada}, data=row.body) as answer:
            assert answer.status == row.status
            id = answer.headers["X-Request-ID"]
            place = answer.headers.get("Location")
            answer.close()
    if name not in ACTIONS:
        assert lines == []
        return
    (line,) = lines
    assert line == {
        "event": "audit",
        "log_level": "info",
        "action": ACTIONS[name],
        "status": row.status,
        "method": row.method,
        "uploads": uploads(path if "{id}" in row.route else place or ""),
        "key": "ada",
        "owner": "court",
        "token": None,
        "address": "127.0.0.1",
        "request": id,
    }
    assert set(line) - {"event", "log_level"} <= set(re.findall(r"`(\w+)`", DOCUMENT))


def uploads(path: str) -> list[str]:
    """The id in it."""
    return re.findall(r"[0-9a-f-]{36}", path)


async def begun(client: Client, who: Mapping[str, str], *, half: bool) -> str:
    """A new upload. Returns its id."""
    length = {**TUS, "Upload-Length": str(len(RECORDING)), "Content-Type": TUS_BYTES["Content-Type"]}
    headers, body = (length, RECORDING[:HALF]) if half else ({}, RECORDING)
    async with client.post(COLLECTION, data=body, headers={**who, **headers}) as answer:
        assert answer.status == 201
        return answer.headers["Location"].rpartition("/")[2]


async def test_who_was_refused_stands_in_it(client: Client) -> None:
    ada, bob = bearer(await key(client, "ada", EVERYTHING)), bearer(await key(client, "bob", "read"))
    id = await begun(client, ada, half=False)
    with audited() as lines:
        for who in ({}, bearer("maie_guess"), bob):
            await client.delete(f"{COLLECTION}/{id}", headers=who)
        await client.get(f"{COLLECTION}/{id}/content", headers=bob)
        await client.get(f"{COLLECTION}/nonsense", headers=ada)
        await client.post(COLLECTION, data=b"no recording", headers=ada)
    assert [(line["action"], line["status"], line["key"], line["uploads"]) for line in lines] == [
        ("delete", 401, None, [id]),
        ("delete", 401, None, [id]),
        ("delete", 403, "bob", [id]),
        ("read", 404, "bob", [id]),
        ("show", 404, "ada", []),
        ("create", 415, "ada", []),
    ]


async def test_a_form_names_all_of_its_files(client: Client) -> None:
    form = FormData()
    for _ in range(3):
        form.add_field("file", WAV, filename="a.wav")
    with audited() as lines:
        async with client.post(COLLECTION, data=form) as answer:
            records = (await answer.json())["uploads"]
    assert [line["uploads"] for line in lines] == [[record["id"] for record in records]]


async def test_what_was_begun_is_named_though_its_bytes_failed(client: Client) -> None:
    with audited() as lines:
        async with Wire.connect(client) as wire:
            wire.send(request("Upload-Complete: ?0", "Transfer-Encoding: chunked", "Expect: 100-continue"))
            assert (await wire.answer()).status == 100
            wire.send(b"no chunk\r\n")
            assert (await wire.answer()).status == 400
    assert [(line["action"], line["status"], len(line["uploads"])) for line in lines] == [("create", 400, 1)]


async def test_who_leaves_before_the_answer_stands_in_it(client: Client, folder: Path) -> None:
    with capture_logs() as lines:
        async with Wire.connect(client) as wire:
            wire.send(request("Content-Length: 900000", body=WAV))
            await until(lambda: files(folder) != [])
        await until(lambda: any(line["event"] == "audit" for line in lines))
    assert [line["action"] for line in lines if line["event"] == "audit"] == ["create"]


async def test_it_is_written_before_a_byte_leaves(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    record = await send(client, audio.sample("wav"))
    monkeypatch.setattr("maie_aiohttp.pages.content._stream", broken)
    with audited() as lines:
        async with client.get(record["links"]["content"]) as answer:
            assert answer.status == 200
            answer.close()
    assert [(line["action"], line["status"]) for line in lines] == [("read", 200)]


async def broken(*_: object) -> None:
    """Ends before anything was sent."""
    raise ConnectionError


# Where from


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ({}, "127.0.0.1"),
        ({"X-Forwarded-For": "192.0.2.7"}, "192.0.2.7"),
        ({"X-Forwarded-For": "10.9.9.9, 192.0.2.7"}, "192.0.2.7"),
        ({"X-Forwarded-For": "2001:db8::1"}, "2001:db8::1"),
        ({"Forwarded": "for=192.0.2.7:4711;proto=https"}, "192.0.2.7"),
        ({"Forwarded": 'for="[2001:db8::1]:4711"'}, "2001:db8::1"),
        ({"Forwarded": 'for=192.0.2.7, for="[2001:db8::1]"'}, "2001:db8::1"),
        ({"Forwarded": "for=192.0.2.7", "X-Forwarded-For": "192.0.2.7"}, "192.0.2.7"),
        ({"Forwarded": "for=192.0.2.7", "X-Forwarded-For": "192.0.2.8"}, "127.0.0.1"),
        ({"Forwarded": "for=unknown"}, "127.0.0.1"),
        ({"Forwarded": "for=_hidden"}, "127.0.0.1"),
        ({"X-Forwarded-For": "<script>"}, "127.0.0.1"),
        ({"X-Forwarded-For": ""}, "127.0.0.1"),
    ],
)
async def test_addresses_are_those_a_trusted_proxy_reports(folder: Path, fields: dict[str, str], address: str) -> None:
    for trusted in (["127.0.0.1"], ["10.0.0.0/8"]):
        settings = configure(folder, access={"without_keys": "anybody"}, server={"trusted_proxies": trusted})
        async with serving(settings) as client:
            with audited() as lines:
                await client.get(COLLECTION, headers=fields)
        assert [line["address"] for line in lines] == [address if trusted == ["127.0.0.1"] else "127.0.0.1"]


@given(st.text() | st.from_regex(r"\[?[0-9a-f:.]*\]?(:[0-9]*)?", fullmatch=True))
def test_whatever_a_proxy_says_is_an_address_or_nothing(word: str) -> None:
    found = forwarded.client(CIMultiDict({"X-Forwarded-For": word}), lambda _: False)
    assert found is None or re.fullmatch(r"[0-9a-f:.]+(%.*)?", str(found))


# A file of its own


def written(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_the_level_of_the_log_does_not_matter(capsys: pytest.CaptureFixture[str]) -> None:
    with journal.written(level="error", style="json"):
        journal.audit("read", name=NASTY)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["action"], line["name"]) == ("audit", "read", NASTY)


@pytest.mark.parametrize("style", ["json", "console"])
def test_the_file_has_the_audit_and_the_log_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], style: str
) -> None:
    file = tmp_path / "audit.log"
    with journal.written(level="error", style=style, audit_file=file):
        journal.audit("read", name=NASTY)
        logging.getLogger("audit").error("audit")
    (line,) = written(file)
    assert (line["action"], line["name"]) == ("read", NASTY)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert NASTY not in file.read_text()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_file_that_is_moved_away_is_begun_anew(tmp_path: Path) -> None:
    file = journal.AppendedFile(tmp_path / "audit.log")
    for number in range(3):
        file.write(f"{number}\n")
        (tmp_path / "audit.log").rename(tmp_path / str(number))
    (tmp_path / "audit.log").mkdir()
    file.write("not lost\n")
    file.close()
    assert [(tmp_path / str(number)).read_text() for number in range(3)] == ["0\n", "1\n", "2\nnot lost\n"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/audit.log", "No such file or directory"),
        (".", "Is a directory"),
        ("pipe", "No such device"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_at_the_start(tmp_path: Path, name: str, reason: str) -> None:
    """Nobody reads the pipe."""
    os.mkfifo(tmp_path / "pipe")
    log = journal.written(level="info", style="json", audit_file=tmp_path / name)
    with pytest.raises(ConfigurationError, match=rf"log\.audit_file: cannot write to .*: {reason}"):
        log.__enter__()


async def test_a_full_disk_costs_no_upload(folder: Path) -> None:
    async with (
        process.serving(folder, {"log.audit_file": "/dev/full"}) as server,
        ClientSession(await server.url()) as client,
    ):
        for _ in range(3):
            async with client.post(COLLECTION, data=WAV) as answer:
                assert answer.status == 201


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_all_workers_write_to_it(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    async with crew.serving(folder, {"log.audit_file": str(file)}) as served:
        for pid in served.pids:
            async with served.client_of(pid) as client:
                await asyncio.gather(*(client.get(COLLECTION) for _ in range(50)))
        await until(lambda: len(written(file)) == 100)
    assert {line["worker"] for line in written(file)} == {0, 1}
    assert not any('"audit"' in line for line in served.server.log)


async def test_keys_that_come_and_go_stand_in_it(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "audit.log"
    (folder.parent / "config.toml").write_text(f'[log]\naudit_file = "{file}"\n')
    secret = await created(folder, "ada", "--scope", "upload,read", "--owner", "court")
    await keys(folder, "create", "ada", "--scope", "admin")
    await keys(folder, "list")
    await keys(folder, "revoke", "ada")
    await keys(folder, "revoke", "ada")
    made, revoked = written(file)
    assert (made["action"], made["name"], made["owner"]) == ("create key", "ada", "court")
    assert made["scopes"] == ["read", "upload"]
    assert (revoked["action"], revoked["name"]) == ("revoke key", "ada")
    assert made["user"] == revoked["user"]
    assert secret not in file.read_text()


def test_tokens_made_on_the_command_line_stand_in_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAIE_STORAGE__FOLDER", str(folder))
    monkeypatch.setenv("MAIE_LOG__AUDIT_FILE", str(tmp_path / "audit.log"))
    assert main(["tokens", "create", "--owner", "court"]) == 0
    text = capsys.readouterr().out.splitlines()[-1]
    token = Signer((folder / "token-secret").read_bytes()).read(text)
    (made,) = written(tmp_path / "audit.log")
    assert token is not None
    assert (made["action"], made["token"], made["owner"]) == ("create token", str(token.id), "court")
    assert made["user"]
    assert text not in (tmp_path / "audit.log").read_text()
