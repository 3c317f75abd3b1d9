"""The request of one upload, whichever client sends it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

from aiohttp import ClientSession
from yarl import URL

from benchmarks.clients.recording import DISPOSITION, FILENAME, FORM_TYPE, MEDIA_TYPE
from benchmarks.contenders import Door
from benchmarks.failures import Failed
from benchmarks.server import Server

TUS = {"Tus-Resumable": "1.0.0"}


@dataclass(frozen=True, slots=True)
class Request:
    """All but the body, and its length."""

    method: str
    url: URL
    headers: Mapping[str, str]


async def prepared(server: Server, door: Door, size: int) -> Request:
    """For one file of so many bytes. Through tus, the upload is created first. Raises Failed."""
    route = server.contender.doors[door]
    url = server.url.with_path(route.path.replace("{name}", str(uuid4())))
    match door:
        case Door.FORM:
            return Request(route.method, url, {"Content-Type": FORM_TYPE})
        case Door.RAW:
            return Request(route.method, url, {"Content-Type": MEDIA_TYPE, "Content-Disposition": DISPOSITION})
        case Door.TUS:
            headers = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
            return Request("PATCH", await _created(url, size), headers)


async def _created(url: URL, size: int) -> URL:
    """A tus upload without bytes."""
    metadata = f"filename {b64encode(FILENAME.encode()).decode()}"
    headers = {**TUS, "Upload-Length": str(size), "Upload-Metadata": metadata}
    async with ClientSession() as session, session.post(url, headers=headers) as response:
        if response.status != 201:
            raise Failed(f"{response.status} {await response.text()}")
        return url.join(URL(response.headers["Location"]))
