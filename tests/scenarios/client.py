"""A client of all doors that decides itself when each byte goes out."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from tests.scenarios.process import Process
from tests.scenarios.recordings import Recording

UPLOADS = "/v1/uploads"
PAGE = 200

Record = Mapping[str, Any]
"""An upload as the server describes it."""

Pace = Callable[[Recording], AsyncIterator[bytes]]
"""Gives the content of a recording, when it is time to send it."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What stands around a recording on the wire."""

    fields: Mapping[str, str]
    """Of the header."""
    head: bytes = b""
    tail: bytes = b""


Door = Callable[[Recording], Envelope]


def form(recording: Recording) -> Envelope:
    """`multipart/form-data` with one file."""
    disposition = f'Content-Disposition: form-data; name="file"; filename="{recording.filename}"'
    head = f"--scenario\r\n{disposition}\r\n\r\n".encode()
    return Envelope({"Content-Type": "multipart/form-data; boundary=scenario"}, head, b"\r\n--scenario--\r\n")


def raw(recording: Recording) -> Envelope:
    """The body is the file."""
    return Envelope({"Content-Disposition": f'attachment; filename="{recording.filename}"'})


def tus(recording: Recording) -> Envelope:
    """A creation that holds all of the bytes."""
    filename = base64.b64encode(recording.filename.encode()).decode()
    return Envelope(
        {
            "Tus-Resumable": "1.0.0",
            "Upload-Length": str(recording.size),
            "Upload-Metadata": f"filename {filename}",
            "Content-Type": "application/offset+octet-stream",
        }
    )


def resumable(recording: Recording) -> Envelope:
    """A creation of the IETF's protocol that is complete."""
    return Envelope({**raw(recording).fields, "Upload-Complete": "?1"})


DOORS: tuple[Door, ...] = (form, raw, tus, resumable)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to an upload."""

    status: int
    headers: Mapping[str, str]
    document: Record

    @property
    def record(self) -> Record:
        """The upload it speaks of. Raises AssertionError if it was refused."""
        assert self.status == 201, f"{self.status}: {self.document}"
        record: Record = self.document.get("uploads", [self.document])[0]
        return record


@asynccontextmanager
async def client(server: Process, *, anew: bool = False) -> AsyncIterator[ClientSession]:
    """Any number of connections to a server, for as long as it takes; `anew`, one for each request. None is repeated
    where its connection is lost: a deletion that was done would meet a 404."""
    connector = TCPConnector(limit=0, force_close=anew)
    async with ClientSession(await server.url(), connector=connector, timeout=ClientTimeout(total=None)) as session:
        session._retry_connection = False
        yield session


async def flowing(recording: Recording) -> AsyncIterator[bytes]:
    """The recording, as fast as the server takes it."""
    for piece in recording.pieces():
        yield piece


async def upload(
    session: ClientSession,
    door: Door,
    recording: Recording,
    pace: Callable[[Recording], AsyncIterator[bytes]] = flowing,
) -> Answer:
    """Send a recording, at the pace of the iterator that `pace` makes of it. Raises `aiohttp.ClientError`."""
    envelope = door(recording)
    length = len(envelope.head) + recording.size + len(envelope.tail)
    headers = {"Content-Type": "application/octet-stream", **envelope.fields, "Content-Length": str(length)}
    async with session.post(UPLOADS, data=_body(envelope, pace(recording)), headers=headers) as response:
        return Answer(response.status, response.headers, await response.json(content_type=None))


async def _body(envelope: Envelope, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield envelope.head
    async for piece in pieces:
        yield piece
    yield envelope.tail


async def delete(session: ClientSession, id: str) -> int:
    """Returns the status."""
    async with session.delete(f"{UPLOADS}/{id}") as response:
        return response.status


async def listed(session: ClientSession) -> Mapping[str, Record]:
    """Every upload the server lists, by its id."""
    records: dict[str, Record] = {}
    query = {"limit": str(PAGE)}
    while True:
        async with session.get(UPLOADS, params=query) as response:
            page = await response.json()
        records |= {record["id"]: record for record in page["uploads"]}
        if page["next_cursor"] is None:
            return records
        query["cursor"] = page["next_cursor"]


async def read_back(session: ClientSession, id: str) -> tuple[int, str]:
    """The size of what the server gives out for an upload, in bytes, and its SHA-256, hexadecimal. Raises
    `aiohttp.ClientError`."""
    size, digest = 0, hashlib.sha256()
    async with session.get(f"{UPLOADS}/{id}/content", raise_for_status=True) as response:
        async for piece in response.content.iter_any():
            size += len(piece)
            digest.update(piece)
    return size, digest.hexdigest()
