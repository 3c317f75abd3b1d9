"""curl, speaking the IETF's "Resumable Uploads for HTTP" (draft-ietf-httpbis-resumable-upload)."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import PIPE
from base64 import b64encode
from hashlib import sha256

import pytest

from tests.audio import long_wav
from tests.clients.service import RECORDING, Service, run, unavailable
from tests.wire import DEADLINE

FIRST, SECOND = RECORDING[:150_000], RECORDING[150_000:]

UNFINISHED = ("-H", "Upload-Complete: ?0")
FINISHED = ("-H", "Upload-Complete: ?1")
DRAFT = ("-H", "Upload-Draft-Interop-Version: 8")
CREATE = ("-X", "POST", "-H", "Content-Type: audio/wav")
APPEND = ("-X", "PATCH", "-H", "Content-Type: application/partial-upload")


@pytest.fixture(autouse=True)
def installed() -> None:
    if not shutil.which("curl"):
        unavailable("needs curl")


class Answer:
    """One response of those that `curl --include` prints, without its content."""

    def __init__(self, text: str) -> None:
        line, *fields = text.replace("\r", "").partition("\n\n")[0].splitlines()
        self.status = int(line.split()[1])
        pairs = (field.split(": ", 1) for field in fields)
        self.headers = {name.lower(): value for name, value in pairs}
        """By name in lower case."""


async def curl(*arguments: str, content: bytes | None = None) -> list[Answer]:
    """The responses to one request; the last is final."""
    body = () if content is None else ("--data-binary", "@-")
    output = await run("curl", "--silent", "--show-error", "--include", *body, *arguments, stdin=content)
    return [Answer(f"HTTP/1.1 {text}") for text in output.split("HTTP/1.1 ")[1:]]


async def begin(service: Service, *arguments: str) -> str:
    """Create an upload of the recording with its first part; returns its URL."""
    *_, answer = await curl(*CREATE, *UNFINISHED, *arguments, service.uploads, content=FIRST)
    assert (answer.status, answer.headers["upload-complete"]) == (201, "?0")
    return service.url(answer.headers["location"])


async def append(url: str, content: bytes, *arguments: str, offset: int = len(FIRST)) -> Answer:
    """Send more of it."""
    *_, answer = await curl(*APPEND, "-H", f"Upload-Offset: {offset}", *arguments, url, content=content)
    return answer


async def look(url: str) -> dict[str, str]:
    """Ask how far it is."""
    (answer,) = await curl("--head", url)
    assert answer.status == 204
    return answer.headers


def digest(field: str, content: bytes) -> tuple[str, str]:
    """The header field (RFC 9530) that vouches for this content."""
    return "-H", f"{field}: sha-256=:{b64encode(sha256(content).digest()).decode()}:"


async def test_an_upload_in_two_requests(service: Service) -> None:
    url = await begin(service, "-H", 'Content-Disposition: attachment; filename="talk.wav"')
    state = await look(url)
    assert (state["upload-offset"], state["upload-complete"]) == (str(len(FIRST)), "?0")
    assert "max-size=" in state["upload-limit"]
    answer = await append(url, SECOND, *FINISHED)
    assert (answer.status, answer.headers["upload-complete"]) == (201, "?1")
    await service.assert_stored(url, filename="talk.wav")


async def test_an_upload_that_begins_without_bytes(service: Service) -> None:
    *_, answer = await curl(*CREATE, *UNFINISHED, "-H", "Upload-Length: 300000", service.uploads)
    url = service.url(answer.headers["location"])
    state = await look(url)
    assert (state["upload-offset"], state["upload-length"]) == ("0", "300000")
    await append(url, RECORDING, *FINISHED, offset=0)
    await service.assert_stored(url)


async def test_the_end_told_by_a_request_without_bytes(service: Service) -> None:
    url = await begin(service)
    answer = await append(url, SECOND, *UNFINISHED)
    assert answer.headers["upload-complete"] == "?0"
    answer = await append(url, b"", *FINISHED, offset=len(RECORDING))
    assert answer.headers["upload-complete"] == "?1"
    await service.assert_stored(url)


async def test_clients_of_a_draft_hear_early_where_to_resume(service: Service) -> None:
    early, *_, final = await curl(*CREATE, *FINISHED, *DRAFT, service.uploads, content=RECORDING)
    assert (early.status, early.headers["upload-draft-interop-version"]) == (104, "8")
    assert (final.status, final.headers["upload-complete"]) == (201, "?1")
    assert early.headers["location"] == final.headers["location"]
    await service.assert_stored(service.url(final.headers["location"]))


async def test_others_hear_nothing_early(service: Service) -> None:
    (final,) = await curl(*CREATE, *FINISHED, service.uploads, content=RECORDING)
    assert final.status == 201


async def test_a_wrong_offset(service: Service) -> None:
    url = await begin(service)
    answer = await append(url, SECOND, *FINISHED, offset=len(FIRST) + 1)
    assert (answer.status, answer.headers["upload-offset"]) == (409, str(len(FIRST)))
    await append(url, SECOND, *FINISHED)
    await service.assert_stored(url)


async def test_digests(service: Service) -> None:
    url = await begin(service, *digest("Content-Digest", FIRST), *digest("Repr-Digest", RECORDING))
    answer = await append(url, SECOND, *FINISHED, *digest("Content-Digest", FIRST))
    assert answer.status == 400
    assert (await look(url))["upload-offset"] == str(len(FIRST))
    answer = await append(url, SECOND, *FINISHED, *digest("Content-Digest", SECOND))
    assert answer.headers["repr-digest"] == digest("Repr-Digest", RECORDING)[1].removeprefix("Repr-Digest: ")
    await service.assert_stored(url)


async def test_cancellation(service: Service) -> None:
    url = await begin(service)
    (answer,) = await curl("-X", "DELETE", url)
    assert answer.status == 204
    await service.assert_gone(url)


async def test_resumption_after_curl_was_killed(service: Service) -> None:
    recording = b"".join(long_wav(12_000_000))
    url, offset = await kill_underway(service, recording[:9_000_000])
    resumed = int((await look(url))["upload-offset"])
    assert 0 < offset <= resumed <= 9_000_000
    await append(url, recording[resumed:], *FINISHED, offset=resumed)
    await service.assert_stored(url, recording)


async def kill_underway(service: Service, beginning: bytes) -> tuple[str, int]:
    """Let curl send this beginning of a recording, and kill it, while it waits for more, once it has heard that a part
    arrived. Returns where to resume, and what offset it heard."""
    arguments = (*CREATE, *FINISHED, *DRAFT, "--upload-file", ".", service.uploads)
    command = ("curl", "--no-progress-meter", "--dump-header", "-", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(beginning)
    heard: dict[str, str] = {}
    try:
        async with asyncio.timeout(DEADLINE):
            while "upload-offset" not in heard:
                heard |= Answer((await process.stdout.readuntil(b"\r\n\r\n")).decode()).headers
    finally:
        process.kill()
        await process.communicate()
    return service.url(heard["location"]), int(heard["upload-offset"])
