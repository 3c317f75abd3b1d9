"""Upload tokens: one upload each, within its limits and its time, and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientSession, FormData, TCPConnector
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from maie_aiohttp.access.signing import Signer, secret_in
from maie_aiohttp.command import main
from maie_aiohttp.credentials import TOKEN_PREFIX, Token
from maie_aiohttp.errors import StorageFailed
from maie_aiohttp.limits.quota import Quota
from maie_aiohttp.settings import Settings, render
from maie_aiohttp.web.appkeys import ACCESS
from tests import crew
from tests.conftest import Client, configure, serving
from tests.crew import until
from tests.doors import DOORS, OCTETS, TUS, Door, raw, raw_of_unknown_length, sent, tus
from tests.keys import EVERYTHING, bearer, key, revoke
from tests.layers import query
from tests.scenarios import process
from tests.test_journal import restored
from tests.wire import COLLECTION, FORM, WAV, Edge, request

__all__ = ["restored"]

TOKENS = "/v1/upload-tokens"
USED = (409, "token-used")
SIZE = len(WAV)
NOT_AUDIO = b"These are words. " * 100
NO_KEY: Mapping[str, str] = {}
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the crew reads /proc")
every_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)


@dataclass(frozen=True, slots=True)
class Server:
    """One that knows Ada, and as many connections to it as are wanted."""

    session: ClientSession
    client: Client
    ada: Mapping[str, str]

    async def token(self, **wish: int) -> Mapping[str, str]:
        """A new one, of Ada's."""
        return bearer(await made(self.session, self.ada, **wish))


async def made(session: ClientSession, who: Mapping[str, str] = NO_KEY, **wish: int) -> str:
    """A new token."""
    async with session.post(TOKENS, json=wish, headers=who) as answer:
        assert answer.status == 201, await answer.text()
        assert answer.headers["Cache-Control"] == "no-store"
        return str((await answer.json())["token"])


@asynccontextmanager
async def running(folder: Path, **groups: dict[str, object]) -> AsyncIterator[Server]:
    async with serving(configure(folder, server={"linger": "100 ms"}, **groups)) as client:
        ada = bearer(await key(client, "ada", EVERYTHING))
        async with ClientSession(client.make_url("/"), connector=TCPConnector(limit=0)) as session:
            yield Server(session, client, ada)


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[Server]:
    """On its defaults."""
    async with running(folder) as server:
        yield server


def stored(folder: Path) -> int:
    """How many uploads there are."""
    ((count,),) = query(folder / "catalog.sqlite", "SELECT count(*) FROM uploads WHERE status = 'stored'")
    assert isinstance(count, int)
    return count


# One upload


@every_door
async def test_one_upload_and_no_other(server: Server, folder: Path, door: Door) -> None:
    token = await server.token()
    assert (await door(server.session, token, WAV)).status == 201
    for other in DOORS.values():
        refused = await other(server.session, token, WAV)
        assert (refused.status, refused.problem) == USED
    async with server.session.get(COLLECTION, headers=server.ada) as answer:
        (upload,) = (await answer.json())["uploads"]
    assert upload["owner"] == "ada"
    async with server.session.delete(upload["links"]["self"], headers=server.ada) as answer:
        assert answer.status == 204
    assert (await door(server.session, token, WAV)).status == 409
    assert stored(folder) == 0


@every_door
async def test_of_fifty_at_once_one(server: Server, folder: Path, door: Door) -> None:
    token = await server.token()
    answers = await asyncio.gather(*(door(server.session, token, WAV) for _ in range(50)))
    assert Counter(answer.status for answer in answers) == {201: 1, 409: 49}
    assert stored(folder) == 1


@linux_only
async def test_of_fifty_at_once_at_all_doors_of_two_workers_one(folder: Path) -> None:
    async with crew.serving(folder) as team:
        connector = TCPConnector(limit=0, force_close=True)
        async with ClientSession(await team.server.url(), connector=connector) as session:
            token, doors = bearer(await made(session)), list(DOORS.values())
            answers = await asyncio.gather(*(doors[turn % len(doors)](session, token, WAV) for turn in range(50)))
            assert Counter(answer.status for answer in answers) == {201: 1, 409: 49}
    assert stored(folder) == 1


HEADS = {
    "raw": (),
    "form": (FORM,),
    "tus": ("Tus-Resumable: 1.0.0", f"Content-Type: {OCTETS['Content-Type']}", f"Upload-Length: {SIZE}"),
    "resumable": ("Upload-Complete: ?1",),
}


@pytest.mark.parametrize("fields", HEADS.values(), ids=HEADS)
async def test_a_second_use_is_refused_before_its_body(server: Server, folder: Path, fields: tuple[str, ...]) -> None:
    token = await server.token()
    assert (await raw(server.session, token, WAV)).status == 201
    named = [f"{name}: {value}" for name, value in token.items()]
    head = request(*fields, *named, f"Content-Length: {SIZE}", "Expect: 100-continue")
    answer = await Edge(server.client, folder).exchange(head)
    assert (answer.status, answer.problem) == USED


@every_door
async def test_what_was_refused_can_be_tried_again(server: Server, door: Door) -> None:
    token = await server.token()
    for _ in range(2):
        assert (await door(server.session, token, NOT_AUDIO)).status == 415
    assert (await door(server.session, token, WAV)).status == 201
    assert (await door(server.session, token, WAV)).status == 409


async def test_as_long_as_an_upload_may_go_on_no_other_begins(server: Server) -> None:
    token = await server.token()
    begun = await sent(server.session, {**token, **TUS, "Upload-Length": str(SIZE)})
    assert [(await door(server.session, token, WAV)).status for door in (raw, tus)] == [409, 409]
    async with server.session.delete(begun.location, headers={**token, **TUS}) as answer:
        assert answer.status == 204
    assert (await raw(server.session, token, WAV)).status == 201


async def test_a_form_brings_one_file(server: Server, folder: Path) -> None:
    token, fields = await server.token(), FormData()
    for _ in range(2):
        fields.add_field("file", WAV, filename="speech.wav")
    assert (await sent(server.session, token, fields)).status == 413
    assert stored(folder) == 0


@pytest.mark.parametrize("concat", ["partial", f"final;{COLLECTION}/8cd90ed6-c15b-4670-baa7-baa72552ef95"])
async def test_one_upload_has_no_parts(server: Server, concat: str) -> None:
    length = {"Upload-Length": "9"} if concat == "partial" else {}
    refused = await sent(server.session, {**await server.token(), **TUS, **length, "Upload-Concat": concat})
    assert (refused.status, refused.problem) == (403, "not-permitted")


# What it reaches


@pytest.mark.parametrize("fields", [TUS, {}], ids=["tus", "resumable"])
async def test_it_goes_on_with_its_upload_and_with_no_other(server: Server, fields: Mapping[str, str]) -> None:
    token, other = await server.token(), await server.token()
    begin = {"Upload-Length": str(SIZE), **({} if fields else {"Upload-Complete": "?0"})}
    hers = await sent(server.session, {**server.ada, **fields, **begin})
    mine = await sent(server.session, {**token, **fields, **begin})
    for who, place, found in (
        (token, mine, True),
        (other, mine, False),
        (token, hers, False),
        (server.ada, mine, True),
    ):
        async with server.session.head(place.location, headers={**who, **fields}) as answer:
            assert (answer.status != 404) == found
            assert ("Upload-Offset" in answer.headers) == found
        append = {**who, **OCTETS, "Upload-Offset": "1"}
        assert (await sent(server.session, append, b"", place.location)).status == (409 if found else 404)
    for who, status in ((other, 404), (token, 204)):
        async with server.session.delete(mine.location, headers={**who, **fields}) as answer:
            assert answer.status == status


@pytest.mark.parametrize("fields", [TUS, {}], ids=["tus", "resumable"])
async def test_what_it_has_stored_it_does_not_delete(server: Server, folder: Path, fields: Mapping[str, str]) -> None:
    token = await server.token()
    begun = await sent(server.session, {**token, **OCTETS, "Upload-Length": str(SIZE)}, WAV)
    async with server.session.delete(begun.location, headers={**token, **fields}) as answer:
        assert answer.status == 403
        assert (await answer.json())["type"] == "urn:maie:problem:complete"
    assert stored(folder) == 1
    async with server.session.delete(begun.location, headers={**server.ada, **fields}) as answer:
        assert answer.status == 204


async def test_no_upload_of_others_stands_for_its_own(folder: Path) -> None:
    """The record of another one says what that is called, and when it came: reading is for keys."""
    async with running(folder, uploads={"duplicates": "reuse"}) as server:
        hers = await raw(server.session, server.ada, WAV)
        page = await raw(server.session, await server.token(), WAV)
        assert page.status == 201
        assert page.location != hers.location
    assert stored(folder) == 2


async def test_a_page_of_another_site_may_send_what_it_was_given(server: Server) -> None:
    """A browser does not add a token by itself, also where it was made without a key."""
    assert server.client.app is not None
    token = Token(uuid4(), None, "ada", None, datetime.now(UTC) + timedelta(minutes=1))
    page = {"Origin": "https://app.example.org", "Sec-Fetch-Site": "cross-site"}
    sender = bearer(server.client.app[ACCESS]._signer.sign(token))
    assert (await raw(server.session, {**page, **sender}, WAV)).status == 201


@pytest.mark.parametrize("fields", [TUS, {}], ids=["tus", "resumable"])
async def test_one_made_without_a_key_reaches_no_other_upload_either(folder: Path, fields: Mapping[str, str]) -> None:
    """What came without a key has no owner, as that token has none."""
    async with serving(configure(folder)) as client, ClientSession(client.make_url("/")) as session:
        token, begin = bearer(await made(session)), {"Upload-Length": str(SIZE), "Upload-Complete": "?0"}
        theirs = await sent(session, {**fields, **begin})
        append = {**token, **OCTETS, "Upload-Offset": "0"}
        assert (await sent(session, append, WAV, theirs.location)).status == 404
        for method in ("HEAD", "DELETE"):
            async with session.request(method, theirs.location, headers={**token, **fields}) as answer:
                assert answer.status == 404
        mine = await sent(session, {**token, **fields, **begin})
        async with session.head(mine.location, headers={**token, **fields}) as answer:
            assert answer.status in (200, 204)


async def test_no_token_is_made_with_a_token(server: Server) -> None:
    async with server.session.post(TOKENS, headers=await server.token()) as answer:
        assert answer.status == 403


# Its limits


@every_door
async def test_its_size(server: Server, door: Door) -> None:
    token = await server.token(max_size=SIZE - 1)
    refused = await door(server.session, token, WAV)
    assert (refused.status, refused.problem) == (413, "too-large")
    assert (await door(server.session, await server.token(max_size=SIZE), WAV)).status == 201


async def test_its_size_is_told(server: Server) -> None:
    token = await server.token(max_size=5_000)
    async with server.session.options(COLLECTION, headers=token) as answer:
        assert answer.headers["Tus-Max-Size"] == "5000"
        assert "max-size=5000," in answer.headers["Upload-Limit"]
    begun = await sent(server.session, {**token, **TUS, "Upload-Defer-Length": "1"})
    async with server.session.head(begun.location, headers=token) as answer:
        assert "max-size=5000," in answer.headers["Upload-Limit"]


async def test_its_time_is_for_the_beginning(server: Server) -> None:
    assert server.client.app is not None
    signer, now = server.client.app[ACCESS]._signer, datetime.now(UTC)
    token = Token(uuid4(), "ada", "ada", None, now + timedelta(hours=1))
    early, late = [bearer(signer.sign(replace(token, expires_at=end))) for end in (token.expires_at, now)]
    assert [(await door(server.session, late, WAV)).status for door in DOORS.values()] == [401] * len(DOORS)
    begun = await sent(server.session, {**early, **TUS, "Upload-Length": str(SIZE)})
    done = await sent(server.session, {**late, **OCTETS, "Upload-Offset": "0"}, WAV, begun.location)
    assert done.status == 204
    assert [(await raw(server.session, who, WAV)).status for who in (early, late)] == [409, 401]


async def test_one_made_when_nobody_needed_a_key_ends_with_that(folder: Path) -> None:
    async with serving(configure(folder)) as client, ClientSession(client.make_url("/")) as session:
        early, late = [bearer(await made(session)) for _ in range(2)]
        assert (await raw(session, early, WAV)).status == 201
        await key(client, "ada", EVERYTHING)
        assert (await raw(session, late, WAV)).status == 401


async def test_what_a_page_calls_its_request_is_its_own(server: Server) -> None:
    same = {"Idempotency-Key": "one"}
    hers = await sent(server.session, {**server.ada, **same}, WAV)
    page = await sent(server.session, {**await server.token(), **same}, WAV)
    assert page.status == 201
    assert page.location != hers.location


async def test_its_key_must_be_valid(server: Server) -> None:
    token = await server.token()
    await revoke(server.client, "ada")
    assert (await raw(server.session, token, WAV)).status == 401


async def test_it_uses_the_quota_of_its_key(folder: Path) -> None:
    async with running(folder) as server:
        bob = bearer(await key(server.client, "bob", EVERYTHING, quota=Quota(files=1)))
        first, second = [bearer(await made(server.session, bob)) for _ in range(2)]
        assert (await raw(server.session, first, WAV)).status == 201
        assert (await raw(server.session, second, WAV)).is_over


# Its text


@settings(deadline=None)
@given(st.data())
def test_nothing_else_is_one(data: st.DataObject) -> None:
    """The same bytes may be written in several ways; but then they say the same."""
    signer = Signer(b"x" * 32)
    token = Token(UUID(int=7), "ada", "ada", 5, datetime(2026, 3, 1, tzinfo=UTC))
    text = signer.sign(token)
    assert signer.read(text) == token
    place = data.draw(st.integers(len(TOKEN_PREFIX), len(text) - 2))
    other = data.draw(st.characters(codec="utf-8").filter(lambda one: one != text[place]))
    assert signer.read(text[:place] + other + text[place + 1 :]) in (None, token)
    assert signer.read(text[:place]) is None
    assert Signer(b"y" * 32).read(text) is None
    assert signer.read(data.draw(st.text())) is None


def other_letter(text: str) -> str:
    """The text with one letter changed, whatever it was."""
    return text[:20] + ("B" if text[20] == "A" else "A") + text[21:]


@pytest.mark.parametrize("change", [lambda text: text[:-3], other_letter, lambda _: ""])
async def test_a_forged_one_opens_nothing(server: Server, change: Any) -> None:
    (text,) = (await server.token()).values()
    forged = bearer(TOKEN_PREFIX + change(text.removeprefix(f"Bearer {TOKEN_PREFIX}")))
    for door in DOORS.values():
        assert (await door(server.session, forged, WAV)).status == 401


async def test_bytes_that_are_no_text_open_nothing(server: Server, folder: Path) -> None:
    head = request(f"Authorization: Bearer {TOKEN_PREFIX}\xff.\xfe.a", "Content-Length: 5", "Expect: 100-continue")
    assert (await Edge(server.client, folder).exchange(head)).status == 401


async def test_the_log_names_it_and_never_shows_it(server: Server) -> None:
    token = await made(server.session, server.ada)
    with capture_logs() as lines:
        await raw(server.session, bearer(token), WAV)
        await raw(server.session, bearer(token), WAV)
        await raw(server.session, bearer(f"{token}x"), WAV)
    told = [(line["status"], line["key"], bool(line["token"])) for line in lines if line["event"] == "audit"]
    assert told == [(201, "ada", True), (409, "ada", True), (401, None, False)]
    assert token not in str(lines)
    assert token[-20:] not in str(lines)


# How it is asked for


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "", 201),
        (b"{}", "application/json", 201),
        (b'{"max_size": 5, "expires_in": 60}', "application/json", 201),
        (b'{"max_size": 5}', "text/plain", 415),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"max_size": "5"}', "application/json", 400),
        (b'{"max_size": 0}', "application/json", 400),
        (b'{"max_size": 99999999999999999999}', "application/json", 400),
        (b'{"expires_in": 1.5}', "application/json", 400),
        (b'{"expires_in": 86401}', "application/json", 400),
        (b'{"owner": "bob"}', "application/json", 400),
        (b" " * 5_000, "application/json", 413),
    ],
)
async def test_what_may_be_asked_for(server: Server, body: bytes, kind: str, status: int) -> None:
    headers = {**server.ada, "Content-Type": kind} if kind else server.ada
    async with server.session.post(TOKENS, data=body or None, headers=headers) as answer:
        assert answer.status == status
        document = await answer.json()
    if status == 201:
        assert document["max_size"] in (5, 500 * 1024 * 1024)
        left = datetime.fromisoformat(document["expires_at"]) - datetime.now(UTC)
        assert timedelta(0) < left <= timedelta(minutes=15, seconds=1)


# Restarts and crashes


async def test_a_restart_changes_nothing(folder: Path) -> None:
    async with process.serving(folder) as server, ClientSession(await server.url()) as session:
        used, begun, new = [bearer(await made(session)) for _ in range(3)]
        assert (await raw(session, used, WAV)).status == 201
        place = (await sent(session, {**begun, **TUS, "Upload-Length": str(SIZE)})).location
        server.signal(signal.SIGKILL)
        await server.ended()
    async with process.serving(folder) as server, ClientSession(await server.url()) as session:
        assert [(await raw(session, token, WAV)).status for token in (used, begun, new, new)] == [409, 409, 201, 409]
        assert (await sent(session, {**begun, **OCTETS, "Upload-Offset": "0"}, WAV, place)).status == 204
        assert (await raw(session, begun, WAV)).status == 409


async def test_a_crash_in_the_middle_leaves_it_for_another_try(folder: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield WAV
        await asyncio.Event().wait()

    async with process.serving(folder) as server, ClientSession(await server.url()) as session:
        token = bearer(await made(session))
        halfway = asyncio.create_task(sent(session, token, endless()))
        await until(lambda: query(folder / "catalog.sqlite", "SELECT id FROM token_uses") != [])
        assert (await raw(session, token, WAV)).status == 409
        server.signal(signal.SIGKILL)
        await server.ended()
        halfway.cancel()
        await asyncio.wait([halfway])
    async with process.serving(folder) as server, ClientSession(await server.url()) as session:
        assert [(await raw(session, token, WAV)).status for _ in range(2)] == [201, 409]


# The secret


def test_the_secret_is_made_once_for_the_eyes_of_the_server_only(tmp_path: Path) -> None:
    file, umask = tmp_path / "token-secret", os.umask(0)
    try:
        with ProcessPoolExecutor(4) as processes:
            secrets = {*processes.map(secret_in, [file] * 16)}
    finally:
        os.umask(umask)
    assert secrets == {file.read_bytes()}
    assert len(file.read_bytes()) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["token-secret"]


def test_a_secret_that_is_none_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "token-secret"
    file.write_bytes(b"short")
    with pytest.raises(StorageFailed, match="damaged"):
        secret_in(file)
    file.unlink()
    file.symlink_to(Path(__file__))
    with pytest.raises(StorageFailed):
        secret_in(file)


async def test_a_secret_from_the_settings(folder: Path) -> None:
    secret = "a secret of at least so many characters"  # noqa: S105 - for this test
    async with running(folder, tokens={"secret": secret}) as server:
        token = Token(uuid4(), None, "bob", None, datetime.now(UTC) + timedelta(minutes=1))
        theirs = bearer(Signer(secret.encode()).sign(token))
        assert (await raw(server.session, theirs, WAV)).status == 201
    assert not (folder / "token-secret").exists()
    shown = render(Settings.model_validate({"tokens": {"secret": secret}}))
    assert secret not in shown
    assert 'secret = "***"' in shown


# The command


async def test_the_command_makes_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("MAIE_STORAGE__FOLDER", str(folder))
    words = ["tokens", "create", "--owner", "ada", "--max-size", f"{SIZE} B", "--expires", "5 min"]
    assert main(words) == 0
    token = bearer(capsys.readouterr().out.splitlines()[-1])
    async with running(folder) as server:
        assert (await raw(server.session, token, WAV * 2)).status == 413
        assert (await raw(server.session, token, WAV)).status == 201
        assert (await raw_of_unknown_length(server.session, token, WAV)).status == 409
        async with server.session.get(COLLECTION, headers=server.ada) as answer:
            assert len((await answer.json())["uploads"]) == 1
    assert main([*words[:-1], "2 d"]) == 2
    assert capsys.readouterr().err.startswith("tokens.longest: ")


@pytest.mark.parametrize(
    "words", [[], ["create"], ["create", "--owner", "a b"], ["create", "--owner", "a", "--expires", "0 min"]]
)
def test_what_makes_no_sense_is_refused(folder: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["tokens", *words])
    assert ended.value.code == 2
    assert not folder.exists()
