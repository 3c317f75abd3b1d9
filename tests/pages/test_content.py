"""Reading recordings back."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError
from structlog.testing import capture_logs

from tests import audio
from tests.conftest import Client, configure, send, serving
from tests.layers import MIB

SAMPLE = audio.sample("flac")


async def test_whole_recording_with_headers_that_make_it_inert(client: Client) -> None:
    upload = await send(client, SAMPLE, filename='räu"ber.flac')
    answer = await client.get(upload["links"]["content"])
    assert answer.status == 200
    assert await answer.read() == SAMPLE.content
    digest = base64.b64encode(hashlib.sha256(SAMPLE.content).digest()).decode()
    assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert answer.headers["Content-Type"] == "audio/flac"
    assert answer.headers["Content-Length"] == str(len(SAMPLE.content))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    disposition = answer.headers["Content-Disposition"]
    assert disposition == "attachment; filename=\"r_u_ber.flac\"; filename*=UTF-8''r%C3%A4u%22ber.flac"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299", 100, 300),
        ("bytes=-7", -7, None),
        ("bytes=5-", 5, None),
        ("bytes=9-999999999", 9, None),
    ],
)
async def test_range(client: Client, asked: str, start: int, stop: int | None) -> None:
    upload = await send(client, SAMPLE)
    answer = await client.get(upload["links"]["content"], headers={"Range": asked})
    assert answer.status == 206
    expected = SAMPLE.content[start:stop]
    assert await answer.read() == expected
    first = start % len(SAMPLE.content)
    assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/{len(SAMPLE.content)}"


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=a-b", "seconds=1-2", "bytes=0-1,4-5", "bytes=-"])
async def test_ranges_that_cannot_be_read_give_everything(client: Client, asked: str) -> None:
    upload = await send(client, SAMPLE)
    answer = await client.get(upload["links"]["content"], headers={"Range": asked})
    assert answer.status == 200
    assert await answer.read() == SAMPLE.content


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=123456789-223456789"])
async def test_ranges_outside_are_416(client: Client, asked: str) -> None:
    upload = await send(client, SAMPLE)
    answer = await client.get(upload["links"]["content"], headers={"Range": asked})
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(SAMPLE.content)}"
    assert (await answer.json())["type"] == "urn:maie:problem:range-not-satisfiable"


async def test_conditions(client: Client) -> None:
    upload = await send(client, SAMPLE)
    url = upload["links"]["content"]
    etag = (await client.get(url)).headers["ETag"]
    assert etag == f'"{upload["sha256"]}"'
    assert (await client.get(url, headers={"If-None-Match": etag})).status == 304
    assert (await client.get(url, headers={"If-None-Match": '"other"'})).status == 200
    assert (await client.get(url, headers={"If-Match": '"other"'})).status == 412
    assert (await client.get(url, headers={"If-Match": f"W/{etag}"})).status == 412
    assert (await client.get(url, headers={"If-None-Match": f"W/{etag}"})).status == 304
    assert (await client.get(url, headers={"If-Match": "*"})).status == 200
    assert (await client.get(url, headers={"Range": "bytes=0-1", "If-Range": etag})).status == 206
    assert (await client.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'})).status == 200


async def test_head_has_the_headers_and_no_body(client: Client) -> None:
    upload = await send(client, SAMPLE)
    answer = await client.head(upload["links"]["content"])
    assert answer.status == 200
    assert answer.headers["Content-Length"] == str(len(SAMPLE.content))
    assert await answer.read() == b""


@pytest.mark.parametrize("asked", ["bytes=0-1", "bytes=99999999-"])
async def test_a_range_is_for_get_alone(client: Client, asked: str) -> None:
    """RFC 9110, section 14.2."""
    upload = await send(client, SAMPLE)
    answer = await client.head(upload["links"]["content"], headers={"Range": asked})
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(SAMPLE.content)))
    assert "Content-Range" not in answer.headers


async def test_shortened_recording_is_refused_and_reported(client: Client, folder: Path) -> None:
    upload = await send(client, SAMPLE)
    (stored,) = (folder / "audio").rglob("*.flac")
    stored.chmod(0o600)
    stored.write_bytes(SAMPLE.content[:100])
    answer = await client.get(upload["links"]["content"])
    assert answer.status == 500
    assert (await answer.json())["type"] == "urn:maie:problem:damaged"
    record = await (await client.get(upload["links"]["self"])).json()
    assert record["status"] == "damaged"
    with capture_logs() as lines:
        assert (await client.get(upload["links"]["content"])).status == 500
    assert [line["event"] for line in lines] == ["request refused", "audit"]  # the damage is known, and found once


def cut(file: Path) -> None:
    """Take the second half away."""
    file.chmod(0o600)
    os.truncate(file, file.stat().st_size // 2)


async def test_fault_23_a_download_that_meets_a_short_file_breaks_off_and_marks_it(
    client: Client, folder: Path
) -> None:
    body = b"".join(audio.long_wav(40 * MIB))
    async with client.post("/v1/uploads", data=BytesIO(body), headers={"Content-Type": "audio/wav"}) as sent:
        record = await sent.json()
    (stored,) = (folder / "audio").rglob("*.wav")
    async with client.get(record["links"]["content"]) as answer:
        assert answer.status == 200
        assert await answer.content.readexactly(MIB) == body[:MIB]
        cut(stored)
        with pytest.raises(ClientPayloadError):
            await answer.read()
    async with client.get(record["links"]["self"]) as shown:
        assert (await shown.json())["status"] == "damaged"
    async with client.get(record["links"]["content"]) as again:
        assert (again.status, (await again.json())["type"]) == (500, "urn:maie:problem:damaged")


async def read_one(folder: Path) -> None:
    """The program for the test below: what a client gets of the only recording, and what is said of it then."""
    async with serving(configure(folder, scrub={"rate": "0 B"})) as client:
        async with client.get("/v1/uploads") as listed:
            (record,) = (await listed.json())["uploads"]
        try:
            async with client.get(record["links"]["content"]) as answer:
                got = await answer.read()
            print(f"whole {len(got)}")  # noqa: T201 - it is a program
        except ClientPayloadError:
            print("broken off")  # noqa: T201
        async with client.get(record["links"]["self"]) as shown:
            print((await shown.json())["status"])  # noqa: T201
        async with client.get("/ready") as ready:
            print("ready", ready.status)  # noqa: T201


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace breaks the system calls")
@pytest.mark.parametrize(("fault", "status"), [("error=EIO", "damaged"), ("error=EIO:when=1", "stored")])
async def test_fault_23_a_download_that_meets_a_read_error_breaks_off(
    folder: Path, tmp_path: Path, fault: str, status: str
) -> None:
    """An error that does not come again is no damage."""
    async with serving(configure(folder)) as client:
        await send(client, SAMPLE)
    (stored,) = (folder / "audio").rglob("*.flac")
    trace = ["strace", "-f", "-o", "/dev/null", "-P", str(stored), "-e", f"inject=pread64:{fault}"]
    program = [sys.executable, "-m", "tests.pages.test_content", str(folder)]
    done = await asyncio.to_thread(subprocess.run, [*trace, *program], capture_output=True, text=True, check=True)
    said = [line for line in done.stdout.splitlines() if not line.startswith("20")]
    assert said == ["broken off", status, "ready 200"]


PLANT: dict[str, Callable[[Path], None]] = {
    "link": lambda place: place.symlink_to("/etc/passwd"),
    "FIFO": os.mkfifo,
    "folder": Path.mkdir,
}


@pytest.mark.parametrize("kind", PLANT)
async def test_fault_56_what_stands_in_the_place_of_a_recording_is_not_given_out(
    client: Client, folder: Path, kind: str
) -> None:
    record = await send(client, SAMPLE)
    (stored,) = (folder / "audio").rglob("*.flac")
    stored.unlink()
    PLANT[kind](stored)
    async with client.get(record["links"]["content"]) as answer:
        assert (answer.status, (await answer.json())["type"]) == (500, "urn:maie:problem:damaged")


if __name__ == "__main__":
    asyncio.run(read_one(Path(sys.argv[1])))
