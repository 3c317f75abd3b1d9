"""What tus 1.0.0 asks of a server, rule by rule, as a client sees it: for this server and for any other."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from functools import cache
from typing import Any
from uuid import uuid4

from aiohttp import ClientSession, ClientTimeout, TCPConnector
from yarl import URL

from tests import audio
from tests.wire import COLLECTION, DEADLINE, WAV, Answer, Wire, request

KIB = 1024
MIB = 1024 * KIB

OCTETS = "application/offset+octet-stream"
ALGORITHMS = ("md5", "sha1", "sha256", "sha512")
GONE = (404, 410)

HALF = len(WAV) // 2
ALL = f"Content-Length: {len(WAV)}"
SPOKEN_WORDS = b"These are words, but nobody has spoken them.\n" * 2_000
"""No audio, and more than the first look takes."""

NO_NUMBERS = ("", "-1", "+1", "1.0", "1e3", "0x10", "1_0", "1 0", "1, 1", "\u0661", "ten")
"""What `Upload-Offset` and `Upload-Length` cannot be. Python's `int` would take three of them."""

Body = bytes | AsyncIterator[bytes]
Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Profile:
    """How a server is set up."""

    max_size: int = 500 * MIB
    """Bytes."""
    lifetime: int = 24 * 60 * 60
    """Seconds until an unfinished upload expires."""


USUAL = Profile()
SMALL = Profile(max_size=64 * KIB)
BRIEF = Profile(lifetime=1)


@dataclass(frozen=True, slots=True)
class Server:
    """A tus server, and how to speak to it."""

    session: ClientSession
    origin: URL
    profile: Profile = USUAL
    content_path: str = ""
    """What the path of an upload is followed by to be that of its bytes."""

    async def exchange(self, method: str, path: str, fields: Fields, body: Body = b"") -> Answer:
        """One request with exactly these fields, besides those of the framing."""
        url = self.origin.join(URL(path, encoded=True))
        async with self.session.request(method, url, headers=fields, data=body, allow_redirects=False) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, headers, await answer.read())

    async def ask(self, method: str, path: str, fields: Fields | None = None, body: Body = b"") -> Answer:
        """One request of tus 1.0.0."""
        return await self.exchange(method, path, {"Tus-Resumable": "1.0.0", **(fields or {})}, body)

    async def create(self, fields: Fields, body: Body = b"") -> str:
        """A new upload. Returns its path."""
        answer = await self.ask("POST", COLLECTION, fields, body)
        must("status of the creation", answer.status, 201)
        return self.created(answer)

    def created(self, answer: Answer) -> str:
        """The path of the upload that a 201 tells of, be its `Location` absolute or relative."""
        must("having a Location", "location" in answer.headers, True)
        return self.origin.join(URL(COLLECTION)).join(URL(answer.headers["location"], encoded=True)).raw_path

    async def begin(self, length: int = len(WAV), **fields: str) -> str:
        """A new upload of `length` bytes; `fields` by their names, with `_` for `-`. Returns its path."""
        return await self.create({"Upload-Length": str(length), **_named(fields)})

    async def append(self, path: str, offset: int, body: Body, **fields: str) -> Answer:
        """A PATCH with the bytes that begin at `offset`."""
        return await self.ask("PATCH", path, {**placed(offset), **_named(fields)}, body)

    async def upload(self, content: bytes, **fields: str) -> str:
        """A finished upload. Returns its path."""
        path = await self.begin(len(content), **fields)
        must("status of the PATCH", (await self.append(path, 0, content)).status, 204)
        return path

    async def part(self, content: bytes) -> str:
        """A finished partial upload. Returns its path."""
        return await self.upload(content, Upload_Concat="partial")

    async def head(self, path: str) -> Answer:
        """The answer to a HEAD that must succeed."""
        answer = await self.ask("HEAD", path)
        must("status of the HEAD", answer.status, 200, 204)
        return answer

    async def offset(self, path: str) -> int:
        """Where the upload goes on, in bytes."""
        return int((await self.head(path)).headers["upload-offset"])

    async def content(self, path: str) -> bytes:
        """The bytes of a finished upload."""
        answer = await self.exchange("GET", path + self.content_path, {})
        must("status of the download", answer.status, 200)
        return answer.body

    async def record(self, path: str) -> Any:
        """What this product says of an upload in JSON."""
        answer = await self.exchange("GET", path, {})
        must("status of the record", answer.status, 200)
        return answer.json()

    async def options(self) -> dict[str, str]:
        """The fields of the answer to OPTIONS, by name in lower case."""
        answer = await self.exchange("OPTIONS", COLLECTION, {})
        must("status of OPTIONS", answer.status, 200, 204)
        return answer.headers

    async def extensions(self) -> set[str]:
        """The extensions it offers."""
        return set(listed((await self.options()).get("tus-extension", "")))

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Wire]:
        """A connection for bytes that no HTTP library would send."""
        reader, writer = await asyncio.open_connection(self.origin.host, self.origin.port)
        try:
            yield Wire(reader, writer)
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def holding(self, path: str, *fields: str) -> AsyncIterator[Wire]:
        """A PATCH from the beginning, of which the server reads the body, and no byte is there yet."""
        async with self.connect() as wire:
            wire.send(patch(path, *fields, "Expect: 100-continue"))
            must("interim status", (await wire.answer()).status, 100)
            yield wire


@asynccontextmanager
async def speaking(origin: URL, profile: Profile, content_path: str) -> AsyncIterator[Server]:
    """A server at `origin`, and a new connection for each request to it."""
    async with ClientSession(
        connector=TCPConnector(force_close=True),
        timeout=ClientTimeout(DEADLINE),
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        auto_decompress=False,
    ) as session:
        yield Server(session, origin, profile, content_path)


Check = Callable[[Server], Awaitable[None]]


class Source(Enum):
    """Who makes a rule."""

    SPECIFICATION = auto()
    CHOICE = auto()
    """The specification leaves it open, or this product decides otherwise on purpose."""
    PRODUCT = auto()
    """This product, in terms that no other server knows."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table."""

    section: str
    """Of the specification."""
    check: Check
    source: Source
    profile: Profile

    @property
    def name(self) -> str:
        """The rule in words."""
        return self.check.__name__.replace("_", " ")

    @property
    def extension(self) -> str | None:
        """The extension it belongs to; None for the core protocol."""
        return EXTENSIONS.get(self.section)


EXTENSIONS = {
    "Creation": "creation",
    "Upload-Defer-Length": "creation-defer-length",
    "Upload-Metadata": "creation",
    "Creation With Upload": "creation-with-upload",
    "Expiration": "expiration",
    "Checksum": "checksum",
    "Termination": "termination",
    "Concatenation": "concatenation",
}
"""By section."""

RULES: list[Rule] = []


def rule(section: str, source: Source = Source.SPECIFICATION, profile: Profile = USUAL) -> Callable[[Check], Check]:
    """Add a rule to the table."""

    def add(check: Check) -> Check:
        RULES.append(Rule(section, check, source, profile))
        return check

    return add


def must(what: str, found: object, *allowed: object) -> None:
    """Raises `AssertionError` in words, for tables."""
    if found not in allowed:
        raise AssertionError(f"{what} is {found!r}, not {' or '.join(map(repr, allowed))}")


def must_refuse(answer: Answer, what: str = "request") -> None:
    """The client is told that it is wrong."""
    must(f"refusing the {what} ({answer.status})", 400 <= answer.status < 500, True)


def must_tell(answer: Answer, **fields: str) -> None:
    """The answer has these fields, named with `_` for `-`."""
    for name, value in _named(fields).items():
        must(name, answer.headers.get(name.lower()), value)


async def must_stand(server: Server, path: str, offset: int) -> None:
    """The upload goes on at `offset`."""
    must("offset", await server.offset(path), offset)


async def must_be_gone(server: Server, path: str) -> None:
    """There is nothing to continue, and no offset that would invite to it."""
    answer = await server.ask("HEAD", path)
    must("status of the HEAD", answer.status, *GONE)
    must("Upload-Offset", answer.headers.get("upload-offset"), None)
    must("status of the PATCH", (await server.append(path, 0, WAV)).status, *GONE)


async def must_complete(server: Server, path: str, content: bytes) -> None:
    """A client that asks for the offset and sends the rest ends up with `content`, byte for byte."""
    offset = await server.offset(path)
    must(f"offset {offset} within the content", 0 <= offset <= len(content), True)
    if offset < len(content):
        answer = await server.append(path, offset, content[offset:])
        must("status of the resumed PATCH", answer.status, 204)
        must_tell(answer, Upload_Offset=str(len(content)))
    must("having exactly these bytes", await server.content(path) == content, True)


def _named(fields: Fields) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in fields.items()}


def placed(offset: object) -> dict[str, str]:
    """The fields of a PATCH."""
    return {"Upload-Offset": str(offset), "Content-Type": OCTETS}


def patch(path: str, *fields: str) -> bytes:
    """The head of a PATCH from the beginning, the last request of its connection."""
    return request(
        "Connection: close",
        "Tus-Resumable: 1.0.0",
        f"Content-Type: {OCTETS}",
        "Upload-Offset: 0",
        *fields,
        line=f"PATCH {path} HTTP/1.1",
    )


def listed(value: str) -> list[str]:
    """The members of a list (RFC 9110, section 5.6.1)."""
    return [member.strip() for member in value.split(",") if member.strip()]


def encoded(text: str) -> str:
    """As metadata values are."""
    return b64encode(text.encode()).decode()


def checksum(algorithm: str, content: bytes) -> str:
    """The value of `Upload-Checksum`."""
    return f"{algorithm} {b64encode(hashlib.new(algorithm, content).digest()).decode()}"


async def trickle(content: bytes, size: int) -> AsyncIterator[bytes]:
    """`content` in pieces of `size` bytes."""
    for piece in cut(content, size):
        yield piece
        await asyncio.sleep(0)


def cut(content: bytes, size: int) -> Iterator[bytes]:
    """`content` in pieces of `size` bytes."""
    return (content[at : at + size] for at in range(0, len(content), size))


@cache
def recording(size: int) -> bytes:
    """A recording of `size` bytes."""
    return b"".join(audio.long_wav(size))


# Versions


@rule("Tus-Resumable")
async def another_version_is_refused_with_those_served(server: Server) -> None:
    path = await server.begin()
    for method, target in (("HEAD", path), ("PATCH", path), ("DELETE", path), ("POST", COLLECTION)):
        fields = {**placed(0), "Upload-Length": "5", "Tus-Resumable": "0.2.2"}
        answer = await server.exchange(method, target, fields)
        must(f"status of the {method}", answer.status, 412)
        must_tell(answer, Tus_Version="1.0.0")


@rule("Tus-Resumable")
async def a_request_of_another_version_is_not_processed(server: Server) -> None:
    path = await server.begin()
    await server.exchange("PATCH", path, {**placed(0), "Tus-Resumable": "0.2.2"}, WAV[:HALF])
    await server.exchange("DELETE", path, {"Tus-Resumable": "2.0.0"})
    await must_stand(server, path, 0)


@rule("Tus-Resumable", Source.CHOICE)
async def a_patch_without_a_version_is_not_processed(server: Server) -> None:
    path = await server.begin()
    answer = await server.exchange("PATCH", path, placed(0), WAV[:HALF])
    must("status", answer.status, 412)
    must_tell(answer, Tus_Version="1.0.0")
    await must_stand(server, path, 0)


@rule("Tus-Resumable")
async def every_response_names_the_version(server: Server) -> None:
    path = await server.begin()
    exchanges: tuple[tuple[str, str, Fields, int], ...] = (
        ("POST", COLLECTION, {"Upload-Length": "5"}, 201),
        ("HEAD", path, {}, 200),
        ("PATCH", path, placed(0), 204),
        ("PATCH", path, placed(7), 409),
        ("PATCH", path, {"Upload-Offset": "0", "Content-Type": "text/plain"}, 415),
        ("POST", COLLECTION, {}, 400),
        ("HEAD", f"{COLLECTION}/{uuid4()}", {}, 404),
        ("POST", COLLECTION, {"Upload-Length": "5", "Tus-Resumable": "0.2.2"}, 412),
        ("DELETE", path, {}, 204),
    )
    for method, target, fields, expected in exchanges:
        answer = await server.ask(method, target, fields)
        must(f"Tus-Resumable of the {expected} to {method}", answer.headers.get("tus-resumable"), "1.0.0")


# Method override


@rule("X-HTTP-Method-Override")
async def post_can_stand_for_patch(server: Server) -> None:
    path = await server.begin()
    answer = await server.ask("POST", path, {**placed(0), "X-HTTP-Method-Override": "PATCH"}, WAV)
    must("status", answer.status, 204)
    await must_complete(server, path, WAV)


@rule("X-HTTP-Method-Override")
async def post_can_stand_for_delete(server: Server) -> None:
    path = await server.begin()
    must("status", (await server.ask("POST", path, {"X-HTTP-Method-Override": "DELETE"})).status, 204)
    await must_be_gone(server, path)


@rule("X-HTTP-Method-Override")
async def post_can_stand_for_head(server: Server) -> None:
    answer = await server.ask("POST", await server.begin(), {"X-HTTP-Method-Override": "HEAD"})
    must("status", answer.status, 200, 204)
    must_tell(answer, Upload_Offset="0")


@rule("X-HTTP-Method-Override")
async def the_actual_method_is_ignored(server: Server) -> None:
    path = await server.begin()
    answer = await server.ask("PATCH", path, {**placed(0), "X-HTTP-Method-Override": "DELETE"})
    must("status", answer.status, 204)
    await must_be_gone(server, path)


@rule("X-HTTP-Method-Override", Source.CHOICE)
async def a_safe_method_stays_safe(server: Server) -> None:
    path = await server.begin()
    await server.ask("HEAD", path, {"X-HTTP-Method-Override": "DELETE"})
    await must_stand(server, path, 0)


@rule("X-HTTP-Method-Override")
async def an_unknown_method_does_nothing(server: Server) -> None:
    path = await server.begin()
    answer = await server.ask("POST", path, {**placed(0), "X-HTTP-Method-Override": "BREW"}, WAV[:HALF])
    must("status", answer.status, 400, 404, 405, 501)
    await must_stand(server, path, 0)


# OPTIONS


@rule("OPTIONS")
async def options_tells_versions_extensions_and_the_maximum(server: Server) -> None:
    fields = await server.options()
    must("1.0.0 in Tus-Version", "1.0.0" in listed(fields.get("tus-version", "")), True)
    must("Tus-Max-Size", fields.get("tus-max-size"), str(server.profile.max_size))
    must("creation in Tus-Extension", "creation" in await server.extensions(), True)


@rule("OPTIONS")
async def options_ignores_the_version_of_the_client(server: Server) -> None:
    answer = await server.exchange("OPTIONS", COLLECTION, {"Tus-Resumable": "0.2.2"})
    must("status", answer.status, 200, 204)
    must_tell(answer, Tus_Version="1.0.0")


@rule("OPTIONS", Source.CHOICE)
async def options_of_an_upload_answers_like_that_of_the_collection(server: Server) -> None:
    answer = await server.exchange("OPTIONS", await server.begin(), {})
    must("status", answer.status, 204)
    must_tell(answer, Tus_Version="1.0.0", Tus_Max_Size=str(server.profile.max_size))


@rule("OPTIONS", Source.CHOICE)
async def all_extensions_are_offered_but_checksums_in_trailers(server: Server) -> None:
    missing = set(EXTENSIONS.values()) - await server.extensions()
    must("what Tus-Extension lacks", sorted(missing), [])


@rule("OPTIONS")
async def no_extension_is_offered_without_the_one_it_depends_on(server: Server) -> None:
    extensions = await server.extensions()
    for extension, basis in (("creation-with-upload", "creation"), ("checksum-trailer", "checksum")):
        must(f"{extension} without {basis}", extension in extensions and basis not in extensions, False)


# HEAD


@rule("HEAD")
async def head_of_a_new_upload_tells_offset_and_length(server: Server) -> None:
    answer = await server.head(await server.begin())
    must_tell(answer, Upload_Offset="0", Upload_Length=str(len(WAV)))
    must("Upload-Defer-Length", answer.headers.get("upload-defer-length"), None)


@rule("HEAD")
async def head_tells_what_has_arrived(server: Server) -> None:
    path = await server.begin()
    await server.append(path, 0, WAV[:HALF])
    must_tell(await server.head(path), Upload_Offset=str(HALF), Upload_Length=str(len(WAV)))


@rule("HEAD")
async def head_of_a_finished_upload_still_tells_the_offset(server: Server) -> None:
    answer = await server.head(await server.upload(WAV))
    must_tell(answer, Upload_Offset=str(len(WAV)), Upload_Length=str(len(WAV)))


@rule("HEAD")
async def head_is_not_cached(server: Server) -> None:
    unfinished, finished = await server.begin(), await server.upload(WAV)
    for path in (unfinished, finished):
        directives = listed((await server.head(path)).headers.get("cache-control", ""))
        must("no-store in Cache-Control", "no-store" in directives, True)


@rule("HEAD")
async def head_of_an_unknown_upload_tells_no_offset(server: Server) -> None:
    for id in (uuid4(), "nonsense", "0", "..%2F..%2Fetc%2Fpasswd", "%00", "%FF", "x" * 300):
        answer = await server.ask("HEAD", f"{COLLECTION}/{id}")
        must(f"status for {str(id)[:40]}", answer.status, 404, 410, 403)
        must("Upload-Offset", answer.headers.get("upload-offset"), None)


# PATCH


@rule("PATCH")
async def patch_answers_204_and_the_new_offset(server: Server) -> None:
    path = await server.begin()
    for offset, end in ((0, HALF), (HALF, len(WAV))):
        answer = await server.append(path, offset, WAV[offset:end])
        must("status", answer.status, 204)
        must_tell(answer, Upload_Offset=str(end))
        must("body", answer.body, b"")
    await must_complete(server, path, WAV)


@rule("PATCH")
async def patch_of_another_content_type_is_415(server: Server) -> None:
    path = await server.begin()
    for media_type in (None, "application/octet-stream", "text/plain", "audio/wav", "application/offset"):
        fields = {"Upload-Offset": "0"} | ({"Content-Type": media_type} if media_type else {})
        must(f"status for {media_type}", (await server.ask("PATCH", path, fields, WAV[:HALF])).status, 415)
    await must_stand(server, path, 0)


@rule("PATCH")
async def media_types_are_equal_in_every_case(server: Server) -> None:
    path = await server.begin()
    answer = await server.append(path, 0, WAV[:HALF], Content_Type="Application/Offset+Octet-Stream")
    must("status", answer.status, 204)


@rule("PATCH")
async def patch_at_another_offset_is_409_and_changes_nothing(server: Server) -> None:
    path = await server.begin()
    await server.append(path, 0, WAV[:HALF])
    for offset in (0, HALF - 1, HALF + 1, len(WAV), len(WAV) + 1):
        must(f"status at {offset}", (await server.append(path, offset, WAV[HALF:])).status, 409)
        await must_stand(server, path, HALF)
    await must_complete(server, path, WAV)


@rule("PATCH")
async def a_finished_upload_answers_409_to_another_offset(server: Server) -> None:
    path = await server.upload(WAV)
    must("status", (await server.append(path, HALF, WAV[HALF:])).status, 409)
    await must_complete(server, path, WAV)


@rule("PATCH")
async def patch_without_an_offset_is_refused(server: Server) -> None:
    path = await server.begin()
    must_refuse(await server.ask("PATCH", path, {"Content-Type": OCTETS}, WAV[:HALF]))
    await must_stand(server, path, 0)


@rule("Upload-Offset")
async def an_offset_is_a_non_negative_integer(server: Server) -> None:
    path = await server.begin()
    await server.append(path, 0, WAV[:1])
    for offset in NO_NUMBERS:
        answer = await server.ask("PATCH", path, placed(offset), WAV[1:HALF])
        must_refuse(answer, f"offset {offset!r}")
    await must_stand(server, path, 1)


@rule("Upload-Offset", Source.CHOICE)
async def an_offset_sent_twice_is_400(server: Server) -> None:
    path = await server.begin()
    async with server.connect() as wire:
        wire.send(patch(path, "Upload-Offset: 0", ALL) + WAV)
        must("status", (await wire.answer()).status, 400)
    await must_stand(server, path, 0)


@rule("PATCH")
async def patch_of_an_unknown_upload_is_404(server: Server) -> None:
    for id in (uuid4(), "nonsense", "..%2F..%2Fetc%2Fpasswd", "%00"):
        must(f"status for {id}", (await server.append(f"{COLLECTION}/{id}", 0, WAV)).status, *GONE)


@rule("PATCH")
async def an_empty_patch_moves_nothing(server: Server) -> None:
    path = await server.begin()
    await server.append(path, 0, WAV[:HALF])
    answer = await server.append(path, HALF, b"")
    must("status", answer.status, 204)
    must_tell(answer, Upload_Offset=str(HALF))


@rule("PATCH", Source.CHOICE)
async def an_empty_patch_at_the_end_of_a_finished_upload_is_fine(server: Server) -> None:
    path = await server.upload(WAV)
    answer = await server.append(path, len(WAV), b"")
    must("status", answer.status, 204)
    must_tell(answer, Upload_Offset=str(len(WAV)))


@rule("PATCH")
async def a_body_may_come_in_chunks_of_unknown_number(server: Server) -> None:
    path = await server.begin()
    answer = await server.append(path, 0, trickle(WAV, 1000))
    must("status", answer.status, 204)
    must_tell(answer, Upload_Offset=str(len(WAV)))
    await must_complete(server, path, WAV)


@rule("PATCH")
async def many_small_patches_make_one_upload(server: Server) -> None:
    path = await server.begin()
    offset = 0
    for piece in cut(WAV, 500):
        answer = await server.append(path, offset, piece)
        must("status", answer.status, 204)
        offset += len(piece)
        must_tell(answer, Upload_Offset=str(offset))
    await must_complete(server, path, WAV)


@rule("PATCH")
async def a_broken_connection_keeps_what_arrived(server: Server) -> None:
    for framing, body in ((ALL, WAV[:HALF]), ("Transfer-Encoding: chunked", b"%x\r\n%b\r\n" % (HALF, WAV[:HALF]))):
        path = await server.begin()
        async with server.holding(path, framing) as holder:
            holder.send(body)
            holder.half_close()
            await holder.rest()
        await must_stand(server, path, HALF)
        await must_complete(server, path, WAV)


@rule("PATCH")
async def a_connection_that_breaks_late_loses_little(server: Server) -> None:
    content, sent = recording(3 * MIB), 2 * MIB
    path = await server.begin(len(content))
    async with server.holding(path, f"Content-Length: {len(content)}") as holder:
        holder.send(content[:sent])
        holder.half_close()
        await holder.rest()
    offset = await server.offset(path)
    must(f"{sent - offset} bytes lost within 512 KiB", 0 <= sent - offset <= 512 * KIB, True)
    await must_complete(server, path, content)


@rule("PATCH")
async def a_dropped_connection_can_be_resumed_at_once(server: Server) -> None:
    path = await server.begin()
    async with server.holding(path, ALL) as holder:
        holder.send(WAV[:HALF])
    await must_complete(server, path, WAV)


@rule("PATCH")
async def a_body_that_lacks_only_its_end_can_be_resumed(server: Server) -> None:
    path = await server.begin()
    async with server.holding(path, "Transfer-Encoding: chunked") as holder:
        holder.send(b"%x\r\n%b\r\n" % (len(WAV), WAV))
        holder.half_close()
        await holder.rest()
    await must_complete(server, path, WAV)


@rule("PATCH")
async def no_upload_grows_beyond_its_length(server: Server) -> None:
    known, unknown = await server.begin(), await server.begin()
    must_refuse(await server.append(known, 0, WAV + b"more"), "body of known size")
    must_refuse(await server.append(unknown, 0, trickle(WAV + b"more", 1000)), "body of unknown size")
    for path in (known, unknown):
        offset = (await server.ask("HEAD", path)).headers.get("upload-offset", "0")
        must(f"offset {offset} within the length", int(offset) <= len(WAV), True)


@rule("PATCH", Source.CHOICE)
async def more_bytes_than_the_length_are_413_and_end_the_upload(server: Server) -> None:
    path = await server.begin()
    must("status", (await server.append(path, 0, trickle(WAV + b"more", 1000))).status, 413)
    await must_be_gone(server, path)


@rule("PATCH")
async def a_finished_upload_takes_no_more(server: Server) -> None:
    path = await server.upload(WAV)
    must_refuse(await server.append(path, len(WAV), b"more"))
    await must_complete(server, path, WAV)


@rule("PATCH", Source.CHOICE)
async def a_compressed_body_is_415(server: Server) -> None:
    path = await server.begin()
    must("status", (await server.append(path, 0, WAV[:HALF], Content_Encoding="gzip")).status, 415)
    await must_stand(server, path, 0)


# Two requests at once


@rule("PATCH", Source.CHOICE)
async def the_offset_told_during_a_patch_is_accepted_next(server: Server) -> None:
    path = await server.begin()
    async with server.holding(path, ALL) as holder:
        holder.send(WAV[:HALF])
        offset = await server.offset(path)
        holder.send(WAV[HALF:])
        must("status", (await server.append(path, offset, WAV[offset:])).status, 204)
    must("having exactly these bytes", await server.content(path) == WAV, True)


@rule("PATCH", Source.CHOICE)
async def all_who_ask_during_a_patch_are_answered(server: Server) -> None:
    path = await server.begin()
    async with server.holding(path, ALL) as holder:
        holder.send(WAV[:HALF])
        offsets = await asyncio.gather(*(server.offset(path) for _ in range(10)))
    must("number of offsets told", len(set(offsets)), 1)
    await must_complete(server, path, WAV)


@rule("PATCH", Source.CHOICE)
async def a_silent_patch_locks_nobody_out(server: Server) -> None:
    path = await server.begin()
    async with server.holding(path, ALL) as holder:
        holder.send(WAV[:HALF])
        must("status of the HEAD", await _status_once_unlocked(server, path), 200, 204)
    await must_complete(server, path, WAV)


@rule("PATCH", Source.CHOICE)
async def a_patch_ends_the_one_before_it(server: Server) -> None:
    path = await server.begin()
    async with server.holding(path, ALL):
        must("status of the newer", (await server.append(path, 0, WAV)).status, 204)
    await must_complete(server, path, WAV)


@rule("PATCH")
async def of_patches_at_once_no_byte_counts_twice(server: Server) -> None:
    content = recording(200_000)
    path = await server.begin(len(content))
    answers = await asyncio.gather(*(server.append(path, 0, trickle(content, 10_000)) for _ in range(4)))
    for answer in answers:
        must("status", answer.status, 204, 409, 423)
    must("204 more than once", [answer.status for answer in answers].count(204) > 1, False)
    await must_complete(server, path, content)


async def _status_once_unlocked(server: Server, path: str) -> int:
    """Of a HEAD: the first status that is not 423, as far as it comes within ten seconds."""
    for _ in range(100):
        answer = await server.ask("HEAD", path)
        if answer.status != 423:
            break
        await asyncio.sleep(0.1)
    return answer.status


# Creation


@rule("Creation")
async def a_new_upload_has_a_place_of_its_own(server: Server) -> None:
    first, second = await server.begin(), await server.begin()
    must("two uploads in one place", first == second, False)
    await must_stand(server, first, 0)


@rule("Creation")
async def neither_length_nor_its_deferral_is_400(server: Server) -> None:
    must("status", (await server.ask("POST", COLLECTION)).status, 400)


@rule("Creation")
async def a_length_is_a_non_negative_integer(server: Server) -> None:
    for length in NO_NUMBERS:
        answer = await server.ask("POST", COLLECTION, {"Upload-Length": length})
        must(f"status for {length!r}", answer.status, 400)


@rule("Creation")
async def a_length_over_the_maximum_is_413(server: Server) -> None:
    for length in (server.profile.max_size + 1, 2**40):
        answer = await server.ask("POST", COLLECTION, {"Upload-Length": str(length)})
        must(f"status for {length}", answer.status, 413)


@rule("Creation", profile=SMALL)
async def a_length_at_the_maximum_is_fine(server: Server) -> None:
    content = recording(server.profile.max_size)
    await must_complete(server, await server.upload(content), content)


@rule("Creation")
async def numbers_beyond_64_bits_are_refused_like_others(server: Server) -> None:
    path = await server.begin()
    for number in (str(2**63), str(2**64), "9" * 30, "9" * 5_000):
        must_refuse(await server.ask("POST", COLLECTION, {"Upload-Length": number}), f"length {number[:40]}")
        must_refuse(await server.ask("PATCH", path, placed(number), WAV[:HALF]), f"offset {number[:40]}")
    await must_stand(server, path, 0)


@rule("Creation", Source.CHOICE)
async def a_length_of_zero_is_422(server: Server) -> None:
    must("status", (await server.ask("POST", COLLECTION, {"Upload-Length": "0"})).status, 422)


@rule("Creation", Source.CHOICE)
async def only_the_collection_creates(server: Server) -> None:
    path = await server.begin()
    must("status", (await server.ask("POST", path, {"Upload-Length": "5"})).status, 405)


# Deferred length


@rule("Upload-Defer-Length")
async def a_length_that_is_not_known_is_said_so_as_long_as_that_lasts(server: Server) -> None:
    path = await server.create({"Upload-Defer-Length": "1"})
    for offset in (0, HALF):
        answer = await server.head(path)
        must_tell(answer, Upload_Offset=str(offset), Upload_Defer_Length="1")
        must("Upload-Length", answer.headers.get("upload-length"), None)
        await server.append(path, offset, WAV[offset:HALF])


@rule("Upload-Defer-Length")
async def a_deferred_length_can_come_with_any_patch(server: Server) -> None:
    path = await server.create({"Upload-Defer-Length": "1"})
    await server.append(path, 0, WAV[:HALF])
    must("status", (await server.append(path, HALF, b"", Upload_Length=str(len(WAV)))).status, 204)
    answer = await server.head(path)
    must_tell(answer, Upload_Length=str(len(WAV)), Upload_Offset=str(HALF))
    must("Upload-Defer-Length", answer.headers.get("upload-defer-length"), None)
    await must_complete(server, path, WAV)


@rule("Upload-Defer-Length")
async def a_deferred_length_can_come_with_the_last_bytes(server: Server) -> None:
    path = await server.create({"Upload-Defer-Length": "1"})
    must("status", (await server.append(path, 0, WAV, Upload_Length=str(len(WAV)))).status, 204)
    await must_complete(server, path, WAV)


@rule("Upload-Defer-Length")
async def a_deferred_length_can_come_after_the_last_bytes(server: Server) -> None:
    path = await server.create({"Upload-Defer-Length": "1"})
    await server.append(path, 0, WAV)
    must("status", (await server.append(path, len(WAV), b"", Upload_Length=str(len(WAV)))).status, 204)
    await must_complete(server, path, WAV)


@rule("Upload-Defer-Length")
async def a_length_once_set_is_not_changed(server: Server) -> None:
    deferred, declared = await server.create({"Upload-Defer-Length": "1"}), await server.begin()
    await server.append(deferred, 0, b"", Upload_Length=str(len(WAV)))
    for path in (deferred, declared):
        must_refuse(await server.append(path, 0, WAV[:HALF], Upload_Length=str(HALF)), "shorter length")
        must_refuse(await server.append(path, 0, WAV[:HALF], Upload_Length="20000"), "longer length")
        must_tell(await server.head(path), Upload_Length=str(len(WAV)), Upload_Offset="0")


@rule("Upload-Defer-Length", Source.CHOICE)
async def the_same_length_again_is_fine(server: Server) -> None:
    path = await server.begin()
    must("status", (await server.append(path, 0, WAV, Upload_Length=str(len(WAV)))).status, 204)


@rule("Upload-Defer-Length")
async def a_deferred_length_below_the_offset_is_refused(server: Server) -> None:
    path = await server.create({"Upload-Defer-Length": "1"})
    await server.append(path, 0, WAV[:HALF])
    must_refuse(await server.append(path, HALF, b"", Upload_Length=str(HALF - 1)))
    must_tell(await server.head(path), Upload_Offset=str(HALF), Upload_Defer_Length="1")


@rule("Upload-Defer-Length")
async def a_deferred_length_is_a_non_negative_integer(server: Server) -> None:
    path = await server.create({"Upload-Defer-Length": "1"})
    for length in NO_NUMBERS:
        must_refuse(await server.append(path, 0, WAV[:1], Upload_Length=length), f"length {length!r}")
    must_tell(await server.head(path), Upload_Offset="0", Upload_Defer_Length="1")


@rule("Upload-Defer-Length")
async def a_deferred_length_over_the_maximum_is_413(server: Server) -> None:
    path = await server.create({"Upload-Defer-Length": "1"})
    answer = await server.append(path, 0, b"", Upload_Length=str(server.profile.max_size + 1))
    must("status", answer.status, 413)


@rule("Upload-Defer-Length", profile=SMALL)
async def bytes_over_the_maximum_are_413(server: Server) -> None:
    path = await server.create({"Upload-Defer-Length": "1"})
    content = recording(server.profile.max_size + 2)
    must("status", (await server.append(path, 0, trickle(content, 4096))).status, 413)


@rule("Upload-Defer-Length")
async def any_other_deferral_is_400(server: Server) -> None:
    for value in ("0", "2", "true", "", "1 1", "-1"):
        answer = await server.ask("POST", COLLECTION, {"Upload-Defer-Length": value})
        must(f"status for {value!r}", answer.status, 400)


@rule("Upload-Defer-Length")
async def a_length_and_its_deferral_together_are_400(server: Server) -> None:
    fields = {"Upload-Length": "5", "Upload-Defer-Length": "1"}
    must("status", (await server.ask("POST", COLLECTION, fields)).status, 400)


# Metadata

GOOD_METADATA = (
    f"filename {encoded('speech.wav')}",
    f"filename {encoded('speech.wav')},is_confidential",
    f"empty ,filename {encoded('speech.wav')}",
    f"z {encoded('last')},a {encoded('first')}",
    f"note {encoded('Grüße, 音声' + chr(13) + chr(10) + 'Set-Cookie: a=b')}",
    "binary /+8AAf8=",
    f'a=b;c {encoded("odd")},"quoted" {encoded("key")}',
    f"long {encoded('x' * 3_000)}",
)
BAD_METADATA = (
    f"a {encoded('1')},a {encoded('2')}",
    f",a {encoded('1')}",
    f"a {encoded('1')},,b {encoded('2')}",
    f"a {encoded('1')} extra",
    "a !!!!",
    "a YQ=",
    "a ü",
)


@rule("Upload-Metadata")
async def metadata_is_told_byte_for_byte(server: Server) -> None:
    for metadata in GOOD_METADATA:
        path = await server.begin(Upload_Metadata=metadata)
        must_tell(await server.head(path), Upload_Metadata=metadata)


@rule("Upload-Metadata")
async def metadata_of_a_finished_upload_is_still_told(server: Server) -> None:
    path = await server.upload(WAV, Upload_Metadata=GOOD_METADATA[2])
    must_tell(await server.head(path), Upload_Metadata=GOOD_METADATA[2])


@rule("Upload-Metadata")
async def no_metadata_is_told_where_none_came(server: Server) -> None:
    must("Upload-Metadata", (await server.head(await server.begin())).headers.get("upload-metadata"), None)


@rule("Upload-Metadata")
async def broken_metadata_is_400(server: Server) -> None:
    for metadata in BAD_METADATA:
        answer = await server.ask("POST", COLLECTION, {"Upload-Length": "5", "Upload-Metadata": metadata})
        must(f"status for {metadata!r}", answer.status, 400)


@rule("Upload-Metadata", Source.PRODUCT)
async def metadata_gives_the_record_its_name(server: Server) -> None:
    for key in ("filename", "name"):
        metadata = f"{key} {encoded('../a speech.wav')},filetype {encoded('audio/x-wav')},room {encoded('12')}"
        record = await server.record(await server.upload(WAV, Upload_Metadata=metadata))
        must(
            "filename without folders",
            record["filename"].endswith("a speech.wav") and "/" not in record["filename"],
            True,
        )
        must("metadata", record["metadata"]["room"], "12")


@rule("Upload-Metadata", Source.PRODUCT)
async def a_name_or_type_that_is_no_audio_is_415(server: Server) -> None:
    for key, value in (("filename", "a.exe"), ("name", "a.html"), ("filetype", "text/html"), ("type", "image/png")):
        fields = {"Upload-Length": "5", "Upload-Metadata": f"{key} {encoded(value)}"}
        must(f"status for {value}", (await server.ask("POST", COLLECTION, fields)).status, 415)


@rule("Upload-Metadata", Source.PRODUCT)
async def binary_metadata_breaks_no_record(server: Server) -> None:
    for metadata in GOOD_METADATA:
        await server.record(await server.begin(Upload_Metadata=metadata))


# Creation with upload


@rule("Creation With Upload")
async def a_creation_tells_what_it_took(server: Server) -> None:
    fields = {"Upload-Length": str(len(WAV)), "Content-Type": OCTETS}
    answer = await server.ask("POST", COLLECTION, fields, WAV[:HALF])
    must("status", answer.status, 201)
    must_tell(answer, Upload_Offset=str(HALF))
    await must_complete(server, server.created(answer), WAV)


@rule("Creation With Upload")
async def a_creation_may_hold_everything(server: Server) -> None:
    fields = {"Upload-Length": str(len(WAV)), "Content-Type": OCTETS}
    for body in (WAV, trickle(WAV, 1000)):
        answer = await server.ask("POST", COLLECTION, fields, body)
        must("status", answer.status, 201)
        must_tell(answer, Upload_Offset=str(len(WAV)))
        await must_complete(server, server.created(answer), WAV)


@rule("Creation With Upload")
async def a_creation_may_defer_the_length_of_what_it_holds(server: Server) -> None:
    fields = {"Upload-Defer-Length": "1", "Content-Type": OCTETS}
    answer = await server.ask("POST", COLLECTION, fields, WAV[:HALF])
    must("status", answer.status, 201)
    must_tell(answer, Upload_Offset=str(HALF))
    path = server.created(answer)
    must("status", (await server.append(path, HALF, WAV[HALF:], Upload_Length=str(len(WAV)))).status, 204)
    await must_complete(server, path, WAV)


@rule("Creation With Upload")
async def a_creation_holds_no_bytes_of_another_content_type(server: Server) -> None:
    for media_type in ("text/plain", "application/octet-stream"):
        fields = {"Upload-Length": str(len(WAV)), "Content-Type": media_type}
        answer = await server.ask("POST", COLLECTION, fields, WAV[:HALF])
        must(f"status for {media_type}", answer.status, 415)


@rule("Creation With Upload")
async def a_creation_with_more_than_its_length_is_refused(server: Server) -> None:
    fields = {"Upload-Length": str(HALF), "Content-Type": OCTETS}
    must_refuse(await server.ask("POST", COLLECTION, fields, WAV))


@rule("Creation With Upload", Source.CHOICE)
async def the_expectation_is_refused_before_the_bytes_come(server: Server) -> None:
    over = server.profile.max_size + 1
    fields = ("Tus-Resumable: 1.0.0", f"Content-Type: {OCTETS}", f"Upload-Length: {over}", "Content-Length: 1000")
    async with server.connect() as wire:
        wire.send(request(*fields, "Expect: 100-continue"))
        must("first status", (await wire.answer()).status, 413)


# Expiration

IMF_FIXDATE = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"


def must_expire(answer: Answer, lifetime: int) -> None:
    """The answer says when the upload expires: within `lifetime` seconds, and a second of rounding."""
    expires = answer.headers.get("upload-expires", "")
    must(f"Upload-Expires {expires!r} in the format of RFC 9110", bool(re.fullmatch(IMF_FIXDATE, expires)), True)
    left = parsedate_to_datetime(expires).timestamp() - time.time()
    must(f"Upload-Expires in {left:.0f} s within {lifetime} s", -1 <= left <= lifetime + 1, True)


@rule("Expiration")
async def creation_and_patch_tell_when_the_upload_expires(server: Server) -> None:
    created = await server.ask("POST", COLLECTION, {"Upload-Length": str(len(WAV))})
    must_expire(created, server.profile.lifetime)
    must_expire(await server.append(server.created(created), 0, WAV[:HALF]), server.profile.lifetime)


@rule("Expiration", profile=BRIEF)
async def an_expired_upload_is_gone(server: Server) -> None:
    path = await server.begin()
    await server.append(path, 0, WAV[:HALF])
    await asyncio.sleep(server.profile.lifetime + 0.3)
    await must_be_gone(server, path)


@rule("Expiration", profile=BRIEF)
async def a_finished_upload_does_not_expire(server: Server) -> None:
    path = await server.upload(WAV)
    await asyncio.sleep(server.profile.lifetime + 0.3)
    await must_complete(server, path, WAV)


@rule("Expiration", Source.CHOICE)
async def the_last_patch_tells_no_end(server: Server) -> None:
    answer = await server.append(await server.begin(), 0, WAV)
    must("Upload-Expires", answer.headers.get("upload-expires"), None)


# Checksum


@rule("Checksum")
async def sha1_is_among_the_algorithms(server: Server) -> None:
    algorithms = listed((await server.options()).get("tus-checksum-algorithm", ""))
    must("sha1 in Tus-Checksum-Algorithm", "sha1" in algorithms, True)
    for algorithm in algorithms:
        must(f"{algorithm} being ASCII in lower case", bool(re.fullmatch("[!-@[-~]+", algorithm)), True)


@rule("Checksum", Source.CHOICE)
async def four_algorithms_are_offered(server: Server) -> None:
    algorithms = listed((await server.options()).get("tus-checksum-algorithm", ""))
    must("Tus-Checksum-Algorithm", sorted(algorithms), list(ALGORITHMS))


@rule("Checksum")
async def a_right_checksum_is_fine(server: Server) -> None:
    for algorithm in ALGORITHMS:
        path = await server.begin()
        first = await server.append(path, 0, WAV[:HALF], Upload_Checksum=checksum(algorithm, WAV[:HALF]))
        must(f"status for {algorithm}", first.status, 204)
        rest = trickle(WAV[HALF:], 1000)
        last = await server.append(path, HALF, rest, Upload_Checksum=checksum(algorithm, WAV[HALF:]))
        must(f"status of the last for {algorithm}", last.status, 204)
        await must_complete(server, path, WAV)


@rule("Checksum")
async def a_wrong_checksum_is_460_and_changes_nothing(server: Server) -> None:
    for algorithm in ALGORITHMS:
        path = await server.begin()
        await server.append(path, 0, WAV[:HALF])
        wrong = checksum(algorithm, b"other bytes")
        must(
            f"status for {algorithm}", (await server.append(path, HALF, WAV[HALF:], Upload_Checksum=wrong)).status, 460
        )
        await must_stand(server, path, HALF)
        await must_complete(server, path, WAV)


@rule("Checksum")
async def bytes_that_were_garbled_on_their_way_can_be_sent_again(server: Server) -> None:
    content = recording(len(SPOKEN_WORDS))
    path = await server.begin(len(content))
    right = checksum("sha1", content)
    must("status", (await server.append(path, 0, SPOKEN_WORDS, Upload_Checksum=right)).status, 460)
    must("status of the second", (await server.append(path, 0, content, Upload_Checksum=right)).status, 204)
    await must_complete(server, path, content)


@rule("Checksum")
async def an_unknown_algorithm_is_400_and_changes_nothing(server: Server) -> None:
    path = await server.begin()
    for algorithm in ("crc32c", "SHA1", "shake_128", "blake2b", "sha1,md5"):
        answer = await server.append(path, 0, WAV[:HALF], Upload_Checksum=f"{algorithm} AAAAAA==")
        must(f"status for {algorithm}", answer.status, 400)
    await must_stand(server, path, 0)


@rule("Checksum")
async def a_broken_checksum_is_refused_and_changes_nothing(server: Server) -> None:
    path = await server.begin()
    right = checksum("sha1", WAV[:HALF])
    for value in ("", "sha1", "sha1 ", "sha1 !!!!", right[:-4], right.replace(" ", ""), f"{right} {right}", "sha1 ü"):
        answer = await server.append(path, 0, WAV[:HALF], Upload_Checksum=value)
        must(f"status for {value!r}", answer.status, 400, 460)
    await must_stand(server, path, 0)


@rule("Checksum", Source.CHOICE)
async def a_summed_body_that_breaks_off_does_not_count(server: Server) -> None:
    path = await server.begin()
    async with server.holding(path, ALL, f"Upload-Checksum: {checksum('sha1', WAV)}") as holder:
        holder.send(WAV[:HALF])
        holder.half_close()
        await holder.rest()
    await must_stand(server, path, 0)
    await must_complete(server, path, WAV)


@rule("Checksum", Source.CHOICE)
async def a_creation_can_be_summed_too(server: Server) -> None:
    fields = {"Upload-Length": str(len(WAV)), "Content-Type": OCTETS}
    right = await server.ask("POST", COLLECTION, {**fields, "Upload-Checksum": checksum("sha1", WAV)}, WAV)
    must("status", right.status, 201)
    wrong = await server.ask("POST", COLLECTION, {**fields, "Upload-Checksum": checksum("sha1", b"")}, WAV)
    must("status of the wrong one", wrong.status, 460)


# Termination


@rule("Termination")
async def what_is_deleted_is_gone(server: Server) -> None:
    for path in (await server.begin(), await server.upload(WAV), await server.create({"Upload-Defer-Length": "1"})):
        must("status", (await server.ask("DELETE", path)).status, 204)
        await must_be_gone(server, path)
        must("status of the second", (await server.ask("DELETE", path)).status, *GONE)


@rule("Termination")
async def delete_of_an_unknown_upload_is_404(server: Server) -> None:
    for id in (uuid4(), "nonsense", "..%2F..%2Fetc%2Fpasswd"):
        must(f"status for {id}", (await server.ask("DELETE", f"{COLLECTION}/{id}")).status, *GONE)


@rule("Termination")
async def delete_ends_a_patch(server: Server) -> None:
    path = await server.begin()
    async with server.holding(path, ALL) as holder:
        holder.send(WAV[:HALF])
        must("status", (await server.ask("DELETE", path)).status, 204)
        holder.send(WAV[HALF:])
        whole = f"upload-offset: {len(WAV)}".encode()
        must("success of the PATCH", whole in (await holder.rest()).lower(), False)
    await must_be_gone(server, path)


# Concatenation


def final(*paths: str) -> dict[str, str]:
    """The fields of a creation that joins these."""
    return {"Upload-Concat": f"final;{' '.join(paths)}"}


@rule("Concatenation")
async def a_partial_upload_is_told_from_others(server: Server) -> None:
    path = await server.begin(Upload_Concat="partial")
    must_tell(await server.head(path), Upload_Concat="partial", Upload_Offset="0", Upload_Length=str(len(WAV)))
    other = await server.head(await server.begin())
    must("Upload-Concat of an ordinary upload", other.headers.get("upload-concat"), None)


@rule("Concatenation")
async def parts_are_joined_in_the_order_listed(server: Server) -> None:
    second, first = await server.part(WAV[HALF:]), await server.part(WAV[:HALF])
    path = await server.create(final(first, second))
    must_tell(await server.head(path), Upload_Offset=str(len(WAV)), Upload_Length=str(len(WAV)))
    must("having exactly these bytes", await server.content(path) == WAV, True)


@rule("Concatenation")
async def the_list_of_parts_is_told_as_received(server: Server) -> None:
    first, second = await server.part(WAV[:HALF]), await server.part(WAV[HALF:])
    for paths in ((first, second), (str(server.origin.join(URL(first))), second)):
        answer = await server.head(await server.create(final(*paths)))
        must_tell(answer, Upload_Concat=f"final;{' '.join(paths)}")


@rule("Concatenation")
async def a_part_can_be_used_again(server: Server) -> None:
    sound = audio.speech().tobytes()
    content = recording(44 + 2 * len(sound))
    head, speech = await server.part(content[:44]), await server.part(sound)
    for _ in range(2):
        path = await server.create(final(head, speech, speech))
        must("having exactly these bytes", await server.content(path) == content, True)


@rule("Concatenation")
async def parts_may_have_deferred_their_length(server: Server) -> None:
    first = await server.create({"Upload-Defer-Length": "1", "Upload-Concat": "partial"})
    await server.append(first, 0, WAV[:HALF])
    second = await server.part(WAV[HALF:])
    must_refuse(await server.ask("POST", COLLECTION, final(first, second)), "part of unknown length")
    await server.append(first, HALF, b"", Upload_Length=str(HALF))
    path = await server.create(final(first, second))
    must("having exactly these bytes", await server.content(path) == WAV, True)


@rule("Concatenation")
async def a_part_can_come_with_its_creation(server: Server) -> None:
    fields = {"Upload-Concat": "partial", "Content-Type": OCTETS}
    first = await server.create({**fields, "Upload-Length": str(HALF)}, WAV[:HALF])
    second = await server.create({**fields, "Upload-Length": str(len(WAV) - HALF)}, WAV[HALF:])
    path = await server.create(final(first, second))
    must("having exactly these bytes", await server.content(path) == WAV, True)


@rule("Concatenation", Source.CHOICE)
async def a_final_upload_states_no_length(server: Server) -> None:
    part = await server.part(WAV)
    answer = await server.ask("POST", COLLECTION, {**final(part), "Upload-Length": str(len(WAV))})
    must("status", answer.status, 400)


@rule("Concatenation")
async def patch_on_a_final_upload_is_403_and_changes_nothing(server: Server) -> None:
    first, second = await server.part(WAV[:HALF]), await server.part(WAV[HALF:])
    path = await server.create(final(first, second))
    for offset, body in ((len(WAV), b""), (len(WAV), b"more"), (0, WAV)):
        must(f"status at {offset}", (await server.append(path, offset, body)).status, 403)
    must("having exactly these bytes", await server.content(path) == WAV, True)
    await must_stand(server, first, HALF)


@rule("Concatenation")
async def an_unfinished_part_is_refused(server: Server) -> None:
    must("concatenation-unfinished", "concatenation-unfinished" in await server.extensions(), False)
    first, second = await server.part(WAV[:HALF]), await server.begin(HALF, Upload_Concat="partial")
    must_refuse(await server.ask("POST", COLLECTION, final(first, second)))


@rule("Concatenation")
async def only_partial_uploads_are_parts(server: Server) -> None:
    part, whole, joined = await server.part(WAV), await server.upload(WAV), ""
    joined = await server.create(final(part))
    for path in (whole, joined, await server.begin()):
        must_refuse(await server.ask("POST", COLLECTION, final(part, path)))
        must_refuse(await server.ask("POST", COLLECTION, final(path)))


@rule("Concatenation")
async def a_part_that_is_not_there_is_refused(server: Server) -> None:
    part, deleted = await server.part(WAV), await server.part(WAV)
    await server.ask("DELETE", deleted)
    strangers = (
        *(deleted, f"{COLLECTION}/{uuid4()}", f"{COLLECTION}/nonsense", f"{COLLECTION}/", COLLECTION, "/", "nonsense"),
        *("/etc/passwd", "../../../../etc/passwd", f"{COLLECTION}/../../../etc/passwd", "file:///etc/passwd"),
        *(f"{COLLECTION}/..%2F..%2Fetc%2Fpasswd", f"{COLLECTION}/%00", f"{COLLECTION}/%FF", "http://[", "?", "ü"),
        *(f"{part}/content", f"{part}/..", f"{part}%00", f"{part}0", part[1:-1]),
    )
    for stranger in strangers:
        must_refuse(await server.ask("POST", COLLECTION, final(part, stranger)), f"part {stranger!r}")


@rule("Concatenation")
async def a_concatenation_is_partial_or_final(server: Server) -> None:
    part = await server.part(WAV)
    for value in ("", "whole", "Partial", "partial;", "final", "final;", "final; ", f"finally;{part}", f"final:{part}"):
        answer = await server.ask("POST", COLLECTION, {"Upload-Concat": value, "Upload-Length": "5"})
        must(f"status for {value!r}", answer.status, 400)


@rule("Concatenation")
async def metadata_of_parts_is_not_that_of_the_whole(server: Server) -> None:
    part = await server.upload(WAV, Upload_Concat="partial", Upload_Metadata=f"a {encoded('part')}")
    plain = await server.head(await server.create(final(part)))
    must("Upload-Metadata", plain.headers.get("upload-metadata"), None)
    told = await server.create({**final(part), "Upload-Metadata": f"b {encoded('whole')}"})
    must_tell(await server.head(told), Upload_Metadata=f"b {encoded('whole')}")


@rule("Concatenation")
async def a_whole_outlives_its_parts(server: Server) -> None:
    part = await server.part(WAV)
    path = await server.create(final(part))
    must("status", (await server.ask("DELETE", part)).status, 204)
    must("having exactly these bytes", await server.content(path) == WAV, True)


@rule("Concatenation")
async def parts_outlive_a_whole(server: Server) -> None:
    part = await server.part(WAV)
    must("status", (await server.ask("DELETE", await server.create(final(part)))).status, 204)
    must("having exactly these bytes", await server.content(await server.create(final(part))) == WAV, True)


@rule("Concatenation", profile=SMALL)
async def a_whole_over_the_maximum_is_413(server: Server) -> None:
    content = recording(server.profile.max_size)
    first, second = await server.part(content[:40_000]), await server.part(content[40_000:])
    must("status", (await server.ask("POST", COLLECTION, final(first, second, second))).status, 413)


@rule("Concatenation", Source.PRODUCT)
async def parts_are_on_no_list(server: Server) -> None:
    part, path = await server.part(WAV), await server.begin(Upload_Concat="partial")
    whole = await server.create(final(part))
    for query in ("", "?status=receiving", "?status=stored"):
        answer = await server.exchange("GET", f"{COLLECTION}{query}", {})
        ids = {record["id"] for record in answer.json()["uploads"]}
        must("a part on the list", bool(ids & {part.rpartition("/")[2], path.rpartition("/")[2]}), False)
    must("status of the whole", (await server.record(whole))["status"], "stored")


@rule("Concatenation", Source.PRODUCT)
async def a_part_is_not_judged_but_the_whole_is(server: Server) -> None:
    part = await server.part(SPOKEN_WORDS)
    must("status", (await server.ask("POST", COLLECTION, final(part))).status, 415)
    await must_stand(server, part, len(SPOKEN_WORDS))


@rule("Concatenation", Source.PRODUCT)
async def a_whole_is_recorded_like_any_upload(server: Server) -> None:
    first, second = await server.part(WAV[:HALF]), await server.part(WAV[HALF:])
    record = await server.record(await server.create(final(first, second)))
    must("sha256", record["sha256"], hashlib.sha256(WAV).hexdigest())
    must("size", record["size"], len(WAV))


# The verdict


async def must_be_rejected(server: Server, path: str) -> None:
    """Nothing of the upload is left but its record, which says why."""
    await must_be_gone(server, path)
    record = await server.record(path)
    must("status in the record", record["status"], "rejected")
    must("having a reason", bool(record["reason"]), True)
    content = await server.exchange("GET", path + server.content_path, {})
    must("status of its content", content.status, *GONE)


@rule("PATCH", Source.PRODUCT)
async def the_verdict_falls_within_64_kib_of_small_patches(server: Server) -> None:
    path = await server.begin(len(SPOKEN_WORDS))
    offset, status = 0, 204
    for piece in cut(SPOKEN_WORDS, 2 * KIB):
        status = (await server.append(path, offset, piece)).status
        if status != 204:
            break
        offset += len(piece)
    must("status", status, 415)
    must(f"{offset} bytes within 64 KiB", offset <= 64 * KIB, True)
    await must_be_rejected(server, path)


@rule("PATCH", Source.PRODUCT)
async def the_verdict_falls_in_the_middle_of_a_patch(server: Server) -> None:
    path = await server.begin(len(SPOKEN_WORDS) * 2)
    must("status", (await server.append(path, 0, trickle(SPOKEN_WORDS, KIB))).status, 415)
    await must_be_rejected(server, path)


@rule("PATCH", Source.PRODUCT)
async def the_verdict_on_what_is_short_falls_at_its_end(server: Server) -> None:
    path = await server.begin(1000)
    await server.append(path, 0, SPOKEN_WORDS[:500])
    must("status", (await server.append(path, 500, SPOKEN_WORDS[500:1000])).status, 415)
    await must_be_rejected(server, path)


@rule("PATCH", Source.PRODUCT)
async def a_recording_that_breaks_off_inside_is_refused_at_its_end(server: Server) -> None:
    flac = audio.sample("flac").content
    path = await server.begin(len(flac))
    must("status", (await server.append(path, 0, flac[:200] + bytes(len(flac) - 200))).status, 415)
    await must_be_rejected(server, path)


@rule("Creation With Upload", Source.PRODUCT)
async def the_verdict_can_fall_in_a_creation(server: Server) -> None:
    fields = {"Upload-Length": str(len(SPOKEN_WORDS)), "Content-Type": OCTETS}
    must("status", (await server.ask("POST", COLLECTION, fields, SPOKEN_WORDS)).status, 415)


@rule("PATCH", Source.PRODUCT)
async def what_was_refused_can_be_forgotten(server: Server) -> None:
    path = await server.begin(1000)
    await server.append(path, 0, SPOKEN_WORDS[:1000])
    must("status", (await server.ask("DELETE", path)).status, 204)
    must("status of the record", (await server.exchange("GET", path, {})).status, *GONE)


@rule("PATCH", Source.PRODUCT)
async def every_format_arrives_in_small_patches(server: Server) -> None:
    for name in ("wav", "mp3", "flac", "ogg-opus", "webm", "m4a", "amr"):
        content = audio.sample(name).content
        path = await server.begin(len(content))
        offset = 0
        for piece in cut(content, 4 * KIB):
            must(f"status for {name}", (await server.append(path, offset, piece)).status, 204)
            offset += len(piece)
        must(f"status in the record of {name}", (await server.record(path))["status"], "stored")


@rule("PATCH", Source.PRODUCT)
async def the_record_follows_the_upload(server: Server) -> None:
    path = await server.begin(Upload_Metadata=f"filename {encoded('speech.wav')}")
    await server.append(path, 0, WAV[:HALF])
    record = await server.record(path)
    must(
        "status, offset and size", [record[key] for key in ("status", "offset", "size")], ["receiving", HALF, len(WAV)]
    )
    await server.append(path, HALF, WAV[HALF:])
    record = await server.record(path)
    must("status and digest", [record["status"], record["sha256"]], ["stored", hashlib.sha256(WAV).hexdigest()])
