"""Every way in which an upload comes, as clients go it: with a length or without, in one request or in two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession, FormData

from tests.wire import COLLECTION, WAV

TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {**TUS, "Content-Type": "application/offset+octet-stream"}
Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a door."""

    status: int
    problem: str
    retry_after: str | None
    location: str

    @property
    def is_over(self) -> bool:
        """Whether it says that the quota is used up, and when to ask again."""
        told = (self.status, self.problem) == (429, "over-quota")
        return told and self.retry_after is not None and int(self.retry_after) > 0


async def sent(session: ClientSession, headers: Headers, body: Any = b"", path: str = COLLECTION) -> Answer:
    """The answer to a POST, or to a PATCH of one upload."""
    async with session.request("POST" if path == COLLECTION else "PATCH", path, data=body, headers=headers) as answer:
        problem = await answer.json() if answer.content_type == "application/problem+json" else {"type": ""}
        headers = answer.headers
        name = problem["type"].rpartition(":")[2]
        return Answer(answer.status, name, headers.get("Retry-After"), headers.get("Location", ""))


async def raw(session: ClientSession, who: Headers, content: bytes = WAV) -> Answer:
    return await sent(session, who, content)


async def raw_of_unknown_length(session: ClientSession, who: Headers, content: bytes = WAV) -> Answer:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    return await sent(session, who, chunks())


async def form(session: ClientSession, who: Headers, content: bytes = WAV) -> Answer:
    fields = FormData()
    fields.add_field("file", content, filename="speech.wav")
    return await sent(session, who, fields)


async def tus(session: ClientSession, who: Headers, content: bytes = WAV) -> Answer:
    begun = await sent(session, {**who, **TUS, "Upload-Length": str(len(content))})
    if begun.status != 201:
        return begun
    done = await sent(session, {**who, **OCTETS, "Upload-Offset": "0"}, content, begun.location)
    return begun if done.status == 204 else done


async def tus_in_one_request(session: ClientSession, who: Headers, content: bytes = WAV) -> Answer:
    return await sent(session, {**who, **OCTETS, "Upload-Length": str(len(content))}, content)


async def tus_of_unknown_length(session: ClientSession, who: Headers, content: bytes = WAV) -> Answer:
    begun = await sent(session, {**who, **TUS, "Upload-Defer-Length": "1"})
    if begun.status != 201:
        return begun
    end = {"Upload-Offset": "0", "Upload-Length": str(len(content))}
    done = await sent(session, {**who, **OCTETS, **end}, content, begun.location)
    return begun if done.status == 204 else done


async def resumable(session: ClientSession, who: Headers, content: bytes = WAV) -> Answer:
    begun = await sent(session, {**who, "Upload-Complete": "?0", "Upload-Length": str(len(content))})
    if begun.status != 201:
        return begun
    end = {"Content-Type": "application/partial-upload", "Upload-Offset": "0", "Upload-Complete": "?1"}
    return await sent(session, {**who, **end}, content, begun.location)


async def resumable_in_one_request(session: ClientSession, who: Headers, content: bytes = WAV) -> Answer:
    return await sent(session, {**who, "Upload-Complete": "?1"}, content)


Door = Callable[[ClientSession, Headers, bytes], Awaitable[Answer]]

DOORS: Mapping[str, Door] = {
    door.__name__: door
    for door in (
        raw,
        raw_of_unknown_length,
        form,
        tus,
        tus_in_one_request,
        tus_of_unknown_length,
        resumable,
        resumable_in_one_request,
    )
}
