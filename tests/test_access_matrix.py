"""Every route and door, asked by everybody: nothing is answered but what the table says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from maie_aiohttp.credentials import Scope
from tests import audio
from tests.conftest import Client, configure, serving
from tests.keys import EVERYTHING, bearer, key, revoke
from tests.wire import COLLECTION

pytestmark = pytest.mark.asyncio(loop_scope="module")

ONE = f"{COLLECTION}/{{id}}"
CONTENT = f"{ONE}/content"
EVENTS = f"{ONE}/events"
WAVEFORM = f"{ONE}/waveform"

RECORDING = audio.sample("amr").content
HALF = len(RECORDING) // 2

TUS = {"Tus-Resumable": "1.0.0"}
TUS_BYTES = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": str(HALF)}
IETF_BYTES = {
    "Content-Type": "application/partial-upload",
    "Upload-Offset": str(HALF),
    "Upload-Complete": "?1",
}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
IN_A_FORM = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.amr"\r\n\r\n' + RECORDING + b"\r\n--x--\r\n"

PUBLIC: frozenset[Scope] = frozenset()
READ = frozenset({Scope.READ, Scope.ADMIN})
UPLOAD = frozenset({Scope.UPLOAD, Scope.ADMIN})
DELETE = frozenset({Scope.DELETE, Scope.ADMIN})
LOOK = READ | UPLOAD
OPERATE = frozenset({Scope.ADMIN})


@dataclass(frozen=True, slots=True)
class Row:
    """A request, and what it takes."""

    method: str
    route: str
    scopes: frozenset[Scope]
    """Any one of them; none for what everybody may do."""
    status: int
    """Of the answer to those who may."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    half: bool = False
    """Whether it is for an upload that came half-way, and not for a stored one."""

    @property
    def is_of_one(self) -> bool:
        """Whether it tells something of one upload, which belongs to somebody, and not to operators only."""
        return "{id}" in self.route and self.scopes not in (PUBLIC, OPERATE)


TABLE = {
    "list": Row("GET", COLLECTION, READ, 200),
    "list, head": Row("HEAD", COLLECTION, READ, 200),
    "show": Row("GET", ONE, READ, 200),
    "content": Row("GET", CONTENT, READ, 200),
    "content, head": Row("HEAD", CONTENT, READ, 200),
    "waveform": Row("GET", WAVEFORM, READ, 200),
    "events of one": Row("GET", EVENTS, READ, 200),
    "events of one, head": Row("HEAD", EVENTS, READ, 200),
    "events of all": Row("GET", "/v1/events", READ, 200),
    "events of all, head": Row("HEAD", "/v1/events", READ, 200),
    "hand-offs": Row("GET", "/v1/handoffs", OPERATE, 200),
    "hand-offs, head": Row("HEAD", "/v1/handoffs", OPERATE, 200),
    "replay": Row("POST", "/v1/handoffs/{id}/replay", OPERATE, 200),
    "process": Row("POST", "/v1/process", UPLOAD, 202, FORM, IN_A_FORM),
    "status": Row("GET", "/v1/status/{id}", LOOK, 200),
    "status, head": Row("HEAD", "/v1/status/{id}", LOOK, 200),
    "health": Row("GET", "/health", PUBLIC, 200),
    "health, head": Row("HEAD", "/health", PUBLIC, 200),
    "ready": Row("GET", "/ready", PUBLIC, 200),
    "ready, head": Row("HEAD", "/ready", PUBLIC, 200),
    "openapi": Row("GET", "/openapi.json", PUBLIC, 200),
    "openapi, head": Row("HEAD", "/openapi.json", PUBLIC, 200),
    "options of all": Row("OPTIONS", COLLECTION, PUBLIC, 204),
    "options of one": Row("OPTIONS", ONE, PUBLIC, 204),
    "make a token": Row("POST", "/v1/upload-tokens", UPLOAD, 201),
    "raw": Row("POST", COLLECTION, UPLOAD, 201, body=RECORDING),
    "form": Row("POST", COLLECTION, UPLOAD, 201, FORM, IN_A_FORM),
    "tus": Row("POST", COLLECTION, UPLOAD, 201, {**TUS, "Upload-Length": "9"}),
    "tus with bytes": Row("POST", COLLECTION, UPLOAD, 201, {**TUS_BYTES, "Upload-Length": "9999"}, RECORDING),
    "tus, look": Row("HEAD", ONE, LOOK, 200, TUS, half=True),
    "tus, append": Row("PATCH", ONE, UPLOAD, 204, TUS_BYTES, RECORDING[HALF:], half=True),
    "tus, append by POST": Row(
        "POST", ONE, UPLOAD, 204, {**TUS_BYTES, "X-HTTP-Method-Override": "PATCH"}, RECORDING[HALF:], half=True
    ),
    "tus, look by POST": Row("POST", ONE, LOOK, 200, {**TUS, "X-HTTP-Method-Override": "HEAD"}, half=True),
    "tus, delete": Row("DELETE", ONE, DELETE, 204, TUS, half=True),
    "tus, delete by POST": Row("POST", ONE, DELETE, 204, {**TUS, "X-HTTP-Method-Override": "DELETE"}, half=True),
    "delete by PATCH": Row("PATCH", ONE, DELETE, 204, {"X-HTTP-Method-Override": "DELETE"}, half=True),
    "ietf": Row("POST", COLLECTION, UPLOAD, 201, {"Upload-Complete": "?0"}, RECORDING[:HALF]),
    "ietf, all of it": Row("POST", COLLECTION, UPLOAD, 201, {"Upload-Complete": "?1"}, RECORDING),
    "ietf, look": Row("HEAD", ONE, LOOK, 204, half=True),
    "ietf, append": Row("PATCH", ONE, UPLOAD, 201, IETF_BYTES, RECORDING[HALF:], half=True),
    "ietf, cancel": Row("DELETE", ONE, DELETE, 204, half=True),
    "delete": Row("DELETE", ONE, DELETE, 204),
}


@dataclass(frozen=True, slots=True)
class World:
    """A server that knows Ada, Bob, and those who may do one thing only."""

    client: Client
    keys: Mapping[str, str | None]

    async def token(self) -> str:
        """Which lets somebody send an upload of Ada's."""
        ada = bearer(str(self.keys["ada"]))
        async with self.client.post("/v1/upload-tokens", headers=ada) as answer:
            return str((await answer.json())["token"])

    async def upload(self, *, half: bool, secret: str | None = None) -> str:
        """One of Ada's, sent with her key or with a token. Returns its id."""
        ada = bearer(secret or str(self.keys["ada"]))
        length = {**TUS, "Upload-Length": str(len(RECORDING)), "Content-Type": TUS_BYTES["Content-Type"]}
        headers, body = (length, RECORDING[:HALF]) if half else ({}, RECORDING)
        async with self.client.post(COLLECTION, data=body, headers={**ada, **headers}) as answer:
            assert answer.status == 201
            return answer.headers["Location"].rpartition("/")[2]

    async def ask(self, row: Row, who: str, *, by: str = "Authorization") -> int:
        """The status that somebody gets."""
        id = await self.upload(half=row.half) if "{id}" in row.route else ""
        return await self.ask_with(row, self.keys[who], id, by=by)

    async def ask_with(self, row: Row, secret: str | None, id: str = "", *, by: str = "Authorization") -> int:
        """The status that one gets with this key or token."""
        words = {"Authorization": f"Bearer {secret}", "X-API-Key": str(secret)}
        sent = {} if secret is None else {by: words[by]}
        path = row.route.replace("{id}", id)
        async with self.client.request(row.method, path, headers={**row.headers, **sent}, data=row.body) as answer:
            challenge = answer.headers.get("WWW-Authenticate")
            assert challenge == ("Bearer" if answer.status == 401 else None)
            answer.close()  # some never end
            return answer.status


PIPELINE: dict[str, object] = {"url": "redis://127.0.0.1:9/0", "max_queue_depth": 1_000}
"""One that is not there: nothing here waits for it."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """For all questions."""
    settings = configure(
        tmp_path_factory.mktemp("access") / "data",
        server={"linger": "100 ms"},
        handoff={"targets": ("rq",)},
        rq=PIPELINE,
    )
    async with serving(settings) as client:
        keys: dict[str, str | None] = {"nobody": None, "a guess": "maie_guess", "nonsense": "b, c"}
        for scope in Scope:
            keys[scope] = await key(client, f"only-{scope}", scope, owner="ada")
        keys["ada"] = await key(client, "ada", EVERYTHING)
        keys["bob"] = await key(client, "bob", EVERYTHING)
        keys["bob as admin"] = await key(client, "root", "admin", owner="bob")
        keys["expired"] = await key(client, "old", "admin", ends_in=-1)
        keys["revoked"] = await key(client, "lost", "admin")
        await revoke(client, "lost")
        yield World(client, keys)


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
@pytest.mark.parametrize("who", ["nobody", "a guess", "nonsense", "expired", "revoked"])
async def test_without_a_valid_key_nothing_is_answered(world: World, row: Row, who: str) -> None:
    assert await world.ask(row, who) == (row.status if row.scopes == PUBLIC else 401)


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
@pytest.mark.parametrize("scope", Scope)
async def test_a_scope_allows_what_it_says(world: World, row: Row, scope: Scope) -> None:
    allowed = row.scopes == PUBLIC or scope in row.scopes
    assert await world.ask(row, scope) == (row.status if allowed else 403)
    assert await world.ask(row, scope, by="X-API-Key") == (row.status if allowed else 403)


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
async def test_what_belongs_to_others_is_not_there(world: World, row: Row) -> None:
    for_others = 403 if row.scopes == OPERATE else row.status
    assert await world.ask(row, "bob") == (404 if row.is_of_one else for_others)
    assert await world.ask(row, "bob as admin") == row.status


KEYS_ONLY = {"/v1/upload-tokens", "/v1/process", "/v1/status/{id}"}
"""Routes for which a token is not enough."""


def with_a_token(row: Row) -> int:
    """What a token allows: to begin an upload, and to go on with it."""
    if row.scopes == PUBLIC:
        return row.status
    if not row.scopes & (UPLOAD | DELETE) - {Scope.ADMIN} or row.route in KEYS_ONLY:
        return 403
    return row.status if row.half or row.route == COLLECTION else 404


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
@pytest.mark.parametrize("by", ["Authorization", "X-API-Key"])
async def test_a_token_is_for_one_upload(world: World, row: Row, by: str) -> None:
    token, other = await world.token(), await world.token()
    if "{id}" not in row.route:
        assert await world.ask_with(row, token, by=by) == with_a_token(row)
        return
    id = await world.upload(half=row.half, secret=token)
    assert await world.ask_with(row, other, id, by=by) == (404 if row.half else with_a_token(row))
    assert await world.ask_with(row, token, id, by=by) == with_a_token(row)


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
async def test_a_token_that_nobody_signed_is_a_guess(world: World, row: Row) -> None:
    token = await world.token()
    id = await world.upload(half=row.half)
    assert await world.ask_with(row, f"{token[:-5]}aaaaa", id) == (row.status if row.scopes == PUBLIC else 401)


async def test_every_route_is_in_the_table(world: World) -> None:
    assert world.client.app is not None
    routes = {
        (route.method, route.resource.canonical)
        for route in world.client.app.router.routes()
        if route.resource is not None and route.method != "*"
    }
    assert {(row.method, row.route) for row in TABLE.values()} == routes


@pytest.mark.parametrize("who", ["nobody", "bob"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("PUT", COLLECTION, 405), ("GET", f"{COLLECTION}/no-id", {"nobody": 401, "bob": 404})],
)
async def test_elsewhere_there_is_nothing(world: World, who: str, method: str, path: str, status: object) -> None:
    row = Row(method, path, PUBLIC, 0)
    assert await world.ask(row, who) == (status[who] if isinstance(status, dict) else status)
