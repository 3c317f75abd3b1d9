"""What the OpenAPI document says is what the server does: all of it, and nothing else.

Schemathesis loads this module as well, for what it is to send and to check.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha1
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import strategies as st

from maie_aiohttp.model import Finding, Handed, Status, Upload
from maie_aiohttp.protocols import resumable, tus
from maie_aiohttp.web import cors
from maie_aiohttp.web.headers import PROTECTIVE
from maie_aiohttp.web.problems import HTTP_KINDS, KINDS, Kind
from maie_aiohttp.web.records import as_json
from tests import audio
from tests.conftest import Client, configure, send, serving

Case = schemathesis.Case[Any]

PROBLEMS: tuple[Kind, ...] = (*KINDS.values(), *HTTP_KINDS.values())

RECORDING = audio.sample("amr").content
HALF = len(RECORDING) // 2

TUS = {"Tus-Resumable": "1.0.0"}
LENGTH = {"Upload-Length": str(len(RECORDING))}
BYTES = ("audio/*", "application/octet-stream", tus.CONTENT_TYPE, resumable.PARTIAL_UPLOAD)
RAW, _, OFFSET_BYTES, PARTIAL_BYTES = BYTES

CONFIGURATION = f"""
hooks = "{__name__}"
max-stream-events = 1
request-timeout = 5
continue-on-failure = true
warnings = false

[generation]
deterministic = true
max-examples = 5

# No schema can say what is audio, which headers belong together, or that what cannot be read counts as not sent.
[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.enabled = false
missing_required_header.expected-statuses = [400, 404, 405, 412, 415]

[phases.coverage]
unexpected-methods = ["PUT"]
"""

ON_ALL = {"connection", "content-length", "content-type", "date", "tus-resumable", "transfer-encoding", "x-request-id"}
ON_ALL |= {name.lower() for name in PROTECTIVE}
"""Said of all answers, or of no interest."""

FOR_THE_BROWSER = {"Allow", "Cache-Control", "X-Accel-Buffering"}
"""Not for scripts of other origins, or shown to them unasked."""

schemathesis.openapi.media_type(BYTES[0], st.sampled_from([RECORDING, RECORDING[:HALF], b""]), aliases=BYTES[1:])


@schemathesis.check
def fields_are_documented(_: schemathesis.CheckContext, answer: schemathesis.Response, case: Case) -> None:
    """An answer has no header field that the document does not know."""
    documented = case.operation.responses.find_by_status_code(answer.status_code)
    if documented is not None:
        names = {name.lower() for name, _ in documented.headers.items()}
        assert set(answer.headers) - names - ON_ALL == set()


@pytest.fixture
async def document(client: Client) -> dict[str, Any]:
    """As the server gives it."""
    answer: dict[str, Any] = await (await client.get("/openapi.json")).json()
    return answer


def test_it_is_openapi(document: dict[str, Any]) -> None:
    schemathesis.openapi.from_dict(document).validate()
    del document["info"]["version"]
    with pytest.raises(jsonschema_rs.ValidationError):
        schemathesis.openapi.from_dict(document).validate()


async def test_it_names_version_and_address(folder: Path, document: dict[str, Any]) -> None:
    assert document["info"]["version"] == version("maie-aiohttp")
    assert document["servers"] == [{"url": "/"}]
    public: dict[str, object] = {"public_url": "https://example.org/audio"}
    async with serving(configure(folder / "other", access={"without_keys": "nobody"}, server=public)) as client:
        answer = await (await client.get("/openapi.json")).json()
    assert answer["servers"] == [{"url": "https://example.org/audio"}]


def test_it_has_every_route_and_no_other(client: Client, document: dict[str, Any]) -> None:
    assert client.app is not None
    routes = {
        (route.resource.canonical, route.method.lower())
        for route in client.app.router.routes()
        if route.resource is not None and route.method != "*"
    }
    assert set(operations(document)) == routes


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Paths and methods."""
    for path, item in document["paths"].items():
        for method in item.keys() - {"parameters"}:
            yield path, method


def test_it_has_every_problem_and_no_other(document: dict[str, Any]) -> None:
    types = document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert sorted(types) == sorted({kind.type for kind in PROBLEMS})


@pytest.mark.parametrize("kind", PROBLEMS, ids=lambda kind: kind.slug)
def test_every_problem_is_explained_at_its_status(document: dict[str, Any], kind: Kind) -> None:
    assert f"`{kind.slug}`: " in document["components"]["responses"][kind.title.replace(" ", "")]["description"]


def test_it_has_every_status_and_finding_and_no_other(document: dict[str, Any]) -> None:
    assert document["components"]["schemas"]["Status"]["enum"] == list(Status)
    assert document["components"]["schemas"]["Finding"]["enum"] == list(Finding)


def test_it_has_every_state_of_a_hand_off_and_no_other(document: dict[str, Any]) -> None:
    assert document["components"]["schemas"]["Handed"]["enum"] == list(Handed)


def test_it_has_every_member_of_a_record_and_no_other(document: dict[str, Any]) -> None:
    record = as_json(Upload(UUID(int=0), Status.RECEIVING, None, None, 0, datetime.now(UTC), {}), "")
    schema = document["components"]["schemas"]["Upload"]
    assert list(schema["properties"]) == schema["required"] == list(record)


def test_pages_of_other_origins_may_send_and_see_its_headers(document: dict[str, Any]) -> None:
    parameters = document["components"]["parameters"].values()
    sent = {parameter["name"] for parameter in parameters if parameter["in"] == "header"}
    assert sent - set(cors.SENT) == set()
    assert document["components"]["headers"].keys() - set(cors.SHOWN) == FOR_THE_BROWSER


class Reader:
    """A client that knows no more than the document says, and holds every answer against it."""

    def __init__(self, document: dict[str, Any], address: str) -> None:
        self._schema = schemathesis.openapi.from_dict(document)
        self._address = address

    async def ask(self, operation: str, status: int, **request: Any) -> schemathesis.Response:
        """Send the request of a `Case` of Schemathesis. Raises what is wrong with the answer."""
        case = self._schema.find_operation_by_id(operation).Case(**request)
        answer = await asyncio.to_thread(case.call, self._address)
        case.validate_response(answer)
        assert answer.status_code == status, answer.text
        return answer

    async def create(self, **request: Any) -> dict[str, str]:
        """Store or begin an upload. Returns the parameters of its path."""
        answer = await self.ask("createUpload", 201, **request)
        return {"id": answer.headers["location"][0].rpartition("/")[2]}


@pytest.fixture
def reader(client: Client, document: dict[str, Any]) -> Reader:
    """Of a server on its defaults."""
    return Reader(document, str(client.make_url("/")))


async def test_reading_is_as_documented(reader: Reader) -> None:
    there = await reader.create(body={"file": RECORDING, "case": "114"}, media_type="multipart/form-data")
    await reader.create(body=RECORDING, media_type=RAW, headers={"Content-Disposition": 'attachment; filename="a.amr"'})
    page = await reader.ask("listUploads", 200, query={"limit": 1})
    await reader.ask("listUploads", 200, query={"cursor": page.json()["next_cursor"]})
    await reader.ask("listUploads", 200, query={"codec": "amr_nb", "duration_min": 0.5, "finding": "silent"})
    await reader.ask("showUpload", 200, path_parameters=there)
    await reader.ask("showUpload", 200, path_parameters=there, query={"include": "tags"})
    await reader.ask("getWaveform", 200, path_parameters=there, query={"points": 10})
    whole = await reader.ask("getContent", 200, path_parameters=there)
    tag = whole.headers["etag"][0]
    await reader.ask("getContent", 206, path_parameters=there, headers={"Range": "bytes=5-9", "If-Range": tag})
    await reader.ask("getContent", 304, path_parameters=there, headers={"If-None-Match": tag})
    await reader.ask("getContent", 412, path_parameters=there, headers={"If-Match": '"other"'})
    await reader.ask("getContent", 416, path_parameters=there, headers={"Range": "bytes=99999-"})
    await reader.ask("headContent", 200, path_parameters=there)
    events = await reader.ask("followUpload", 200, path_parameters=there)
    seen = events.text.partition("\nid: ")[2].partition("\n")[0]
    await reader.ask("followUpload", 204, path_parameters=there, headers={"Last-Event-ID": seen})
    await reader.ask("deleteUpload", 204, path_parameters=there)
    await reader.ask("getContent", 404, path_parameters=there)


async def test_hand_offs_are_as_documented(client: Client, reader: Reader) -> None:
    stored = await send(client, audio.sample("amr"))
    while (await (await client.get("/ready")).json())["handoffs_waiting"]:  # noqa: ASYNC110 - sooner or later
        await asyncio.sleep(0.01)
    await reader.ask("showUpload", 200, path_parameters={"id": stored["id"]})
    page = await reader.ask("listHandoffs", 200, query={"limit": 1, "status": "delivered"})
    assert [one["id"] for one in page.json()["handoffs"]] == [stored["id"]]
    await reader.ask("listHandoffs", 400, query={"cursor": "x"})
    await reader.ask("replayHandoffs", 200, path_parameters={"id": stored["id"]})
    await reader.ask("replayHandoffs", 404, path_parameters={"id": str(UUID(int=0))})


async def test_tus_is_as_documented(reader: Reader) -> None:
    there = await reader.create(headers=TUS | LENGTH | {"Upload-Metadata": "case MTE0"})
    await reader.ask("lookUp", 200, path_parameters=there, headers=TUS)
    await reader.ask("headContent", 200, path_parameters=there, query={"follow": 1}, headers={"Prefer": "wait=1"})
    begin = {"path_parameters": there, "body": RECORDING[:HALF], "media_type": OFFSET_BYTES}
    rest = {"path_parameters": there, "body": RECORDING[HALF:], "media_type": OFFSET_BYTES}
    broken = {"Upload-Checksum": f"sha1 {base64.b64encode(sha1(b'').digest()).decode()}"}  # noqa: S324 - tus demands it
    await reader.ask("appendToUpload", 460, **begin, headers=at(0) | TUS | broken)
    await reader.ask("appendToUpload", 204, **begin, headers=at(0) | TUS)
    await reader.ask("appendToUpload", 409, **begin, headers=at(0) | TUS)
    await reader.ask("appendToUpload", 412, **rest, headers=at(HALF) | {"Tus-Resumable": "0.2.2"})
    await reader.ask("appendToUpload", 415, **rest | {"media_type": PARTIAL_BYTES}, headers=at(HALF) | TUS)
    await reader.ask("overrideMethod", 204, **rest, headers=at(HALF) | TUS | {"X-HTTP-Method-Override": "PATCH"})
    await reader.ask("appendToUpload", 403, **rest, headers=at(len(RECORDING)) | TUS)
    await reader.ask("deleteUpload", 204, path_parameters=there, headers=TUS)
    await reader.ask("lookUp", 404, path_parameters=there, headers=TUS)


async def test_the_protocol_of_the_ietf_is_as_documented(reader: Reader) -> None:
    there = await reader.create(body=RECORDING[:HALF], media_type=RAW, headers={"Upload-Complete": "?0"})
    await reader.ask("lookUp", 204, path_parameters=there)
    rest = {"path_parameters": there, "body": RECORDING[HALF:], "media_type": PARTIAL_BYTES}
    await reader.ask("appendToUpload", 409, **rest, headers=at(0) | {"Upload-Complete": "?1"})
    await reader.ask("appendToUpload", 400, **rest, headers=at(HALF) | {"Upload-Complete": "?1", "Upload-Length": "7"})
    await reader.ask("appendToUpload", 400, **rest, headers=at(HALF))
    nothing = rest | {"body": b""}
    await reader.ask("appendToUpload", 204, **nothing, headers=at(HALF) | {"Upload-Complete": "?0"})
    await reader.ask("appendToUpload", 201, **rest, headers=at(HALF) | {"Upload-Complete": "?1"})
    await reader.ask("appendToUpload", 201, **nothing, headers=at(len(RECORDING)) | {"Upload-Complete": "?1"})


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, {"body": RECORDING, "media_type": RAW, "headers": {"Repr-Digest": "sha-256=:AAAA:"}}),
        (412, {"headers": {"Tus-Resumable": "2.0.0"}}),
        (413, {"headers": TUS | {"Upload-Length": "999999999999"}}),
        (413, {"body": b"x", "media_type": RAW, "headers": {"Upload-Complete": "?0", "Upload-Length": "999999999999"}}),
        (415, {"body": b"no audio" * 999, "media_type": RAW}),
        (422, {"body": b"", "media_type": RAW}),
        (422, {"body": {"case": "114"}, "media_type": "multipart/form-data"}),
    ],
)
async def test_refusals_are_as_documented(reader: Reader, status: int, request_: dict[str, Any]) -> None:
    await reader.ask("createUpload", status, **request_)


async def test_what_was_refused_is_gone_as_documented(reader: Reader) -> None:
    there = await reader.create(headers=TUS | {"Upload-Length": "8000"})
    refused = {"path_parameters": there, "body": b"no audio" * 1000, "media_type": OFFSET_BYTES}
    await reader.ask("appendToUpload", 415, **refused, headers=at(0) | TUS)
    await reader.ask("lookUp", 410, path_parameters=there, headers=TUS)
    await reader.ask("getContent", 410, path_parameters=there)


def at(offset: int) -> dict[str, str]:
    """Where bytes begin."""
    return {"Upload-Offset": str(offset)}


async def test_whatever_is_sent_the_answers_are_as_documented(client: Client, tmp_path: Path) -> None:
    await send(client, audio.sample("amr"))
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    command = sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration), "run", "--no-color"
    without_content = "--exclude-operation-id-regex", "^head"
    process = await asyncio.create_subprocess_exec(
        *command,
        *without_content,
        str(client.make_url("/openapi.json")),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
