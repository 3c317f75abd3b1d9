"""How much is taken, and how long is waited for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest

from tests import audio
from tests.conftest import configure, serving
from tests.layers import as_root, memory_disk
from tests.wire import COLLECTION, END, FORM, NEXT, WAV, Edge, Wire, chunked, file, form, request, sized, text

LIMIT = 256 * 1024
MIB = 1024 * 1024
TOO_LARGE, TOO_SLOW = (413, "too-large"), (408, "too-slow")
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture
async def edge(folder: Path) -> AsyncIterator[Edge]:
    """A server of 256 KiB."""
    limits: dict[str, object] = {"max_size": "256 KiB", "idle_timeout": "200 ms"}
    async with serving(configure(folder, limits=limits, server={"linger": "100 ms"})) as client:
        yield Edge(client, folder)


def wav(size: int) -> bytes:
    """A recording of so many bytes."""
    return b"".join(audio.long_wav(size))


@pytest.mark.parametrize("header", ["X: raw", FORM], ids=["raw", "form"])
async def test_a_length_beyond_the_limit_is_refused_unread(edge: Edge, header: str) -> None:
    assert await edge.refuse(request(f"Content-Length: {2 * MIB}", header)) == TOO_LARGE


async def test_exactly_the_limit_is_accepted(edge: Edge) -> None:
    whole = wav(LIMIT)
    for good in (sized(whole), request(CHUNKED, body=chunked([whole])), form(file(whole))):
        (upload,) = await edge.take(good)
        assert upload["size"] == LIMIT
    uploads = await edge.take(form(file(wav(LIMIT - 1000)), file(wav(1000))))
    assert len(uploads) == 2


async def test_one_byte_more_is_not(edge: Edge) -> None:
    more = wav(LIMIT) + b"\0"
    for bad in (sized(more), request(CHUNKED, body=chunked([more])), form(file(more))):
        assert await edge.refuse(bad) == TOO_LARGE
    assert await edge.refuse(form(file(wav(LIMIT - 999)), file(wav(1000)))) == TOO_LARGE


@pytest.mark.parametrize("door", ["raw", "form"])
async def test_an_endless_body_is_answered_within_a_mebibyte(edge: Edge, door: str) -> None:
    """Chunked, so that nobody knows its length. A small send buffer keeps what is sent close to what is read."""
    head = request(CHUNKED) if door == "raw" else request(CHUNKED, FORM)
    begin = b"" if door == "raw" else file(b"").removesuffix(b"\r\n")
    async with Wire.connect(edge.client, send_buffer=32 * 1024) as wire:
        wire.send(head)
        sent = await _send_until_answered(wire, chain((begin + wav(2000),), repeat(bytes(16 * 1024))))
        answer = await wire.answer()
    assert ((answer.status, answer.problem), answer.headers["connection"]) == (TOO_LARGE, "close")
    assert sent <= LIMIT + MIB
    await edge.assert_untouched()


async def _send_until_answered(wire: Wire, pieces: Iterator[bytes]) -> int:
    sent = 0
    while not wire.has_answer:
        piece = next(pieces)
        wire.send(chunked([piece]).removesuffix(b"0\r\n\r\n"))
        await wire.sent()
        await asyncio.sleep(0.005)
        sent += len(piece)
    return sent


SILENT = {
    "raw, no byte": request("Content-Length: 1000"),
    "raw, some bytes": request("Content-Length: 1000", body=WAV[:100]),
    "raw, chunks without end": request(CHUNKED, body=chunked([WAV])[:-5]),
    "form, no byte": request(FORM, "Content-Length: 1000"),
    "form, in a header": request(FORM, "Content-Length: 1000", body=NEXT + b"Content-Disp"),
    "form, in a file": request(FORM, "Content-Length: 90000", body=file()[:-100]),
    "form, in a text field": request(FORM, "Content-Length: 90000", body=text("a", b"x")[:-4]),
    "form, behind the final boundary": request(FORM, "Content-Length: 90000", body=file() + END),
    "form, behind a refused part": request(FORM, "Content-Length: 90000", body=file() + END + b"x\n"),
}


@pytest.mark.parametrize("begun", SILENT.values(), ids=SILENT)
async def test_silence_ends_an_upload(edge: Edge, begun: bytes) -> None:
    assert await edge.refuse(begun) == TOO_SLOW


async def test_silence_ends_no_other_upload(edge: Edge) -> None:
    whole = sized(WAV)
    async with Wire.connect(edge.client) as silent, Wire.connect(edge.client) as slow:
        silent.send(request("Content-Length: 1000"))
        for at in range(0, len(whole), len(whole) // 6):
            slow.send(whole[at : at + len(whole) // 6])
            await asyncio.sleep(0.06)
        assert (await slow.answer()).status == 201
        assert (await silent.answer()).status == 408


async def test_more_files_than_allowed(edge: Edge) -> None:
    assert await edge.refuse(form(*[file()] * 9)) == TOO_LARGE
    assert len(await edge.take(form(*[file()] * 8))) == 8


async def test_file_inputs_left_empty_are_parts_too(edge: Edge) -> None:
    """Browsers send a few of them; ten thousand keep the server busy for seconds."""
    assert len(await edge.take(form(file(), file(b"", name="") * 39))) == 1
    assert await edge.refuse(form(file(), file(b"", name="") * 40)) == TOO_LARGE
    assert await edge.refuse(form(file(b"", name="") * 10_000)) == TOO_LARGE


@pytest.mark.parametrize("limits", [{"max_fields": 0}, {"max_fields_size": "0 B"}])
async def test_a_server_may_take_no_text_at_all(folder: Path, limits: dict[str, object]) -> None:
    async with serving(configure(folder, limits=limits)) as client:
        edge = Edge(client, folder)
        assert await edge.refuse(form(text("a", b"b"), file())) == TOO_LARGE
        await edge.take(form(file()))


@as_root
async def test_files_of_a_form_do_not_count_twice(tmp_path: Path) -> None:
    """What is asked of the disk is room for the request, not for what is written already."""
    with memory_disk(tmp_path / "small", "size=8m,mode=750") as folder:
        async with serving(configure(folder)) as client:
            assert len(await Edge(client, folder).take(form(file(wav(3 * MIB)), file(wav(3 * MIB))))) == 2


async def test_what_nobody_can_read_is_called_too_large_or_missing(edge: Edge) -> None:
    assert await edge.refuse(request(line="GET /" + "x" * 9000 + " HTTP/1.1")) == (400, "bad-request")
    assert await edge.refuse(request(line=f"GET {COLLECTION}/%00 HTTP/1.1")) == (404, "not-found")
