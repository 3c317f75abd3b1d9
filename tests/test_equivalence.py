"""One file, however it is cut and through whichever doors its pieces come, has the outcome it has as one form."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from maie_aiohttp.interfaces import HEAD
from tests import audio
from tests.audio import Sample
from tests.conftest import configure, files, send, serving
from tests.wire import COLLECTION, Edge, Wire, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = Sample("long", "long.wav", "wav", "audio/wav", ".wav", b"".join(audio.long_wav(2 * HEAD + 1000)))
RECORDINGS = (LONG, *map(audio.sample, ("wav-u8", "ogg-opus", "mp3", "m4a-index-last")))

LINE = b"This is not a recording.\n"
TEXTS = tuple(Sample("text", "a.wav", "wav", "audio/wav", ".wav", LINE * lines) for lines in (50, 2 * HEAD // 25))

few = settings(max_examples=25, deadline=None)

Protocol = Literal["tus", "ietf"]
Trouble = Literal["another offset", "no bytes", "a break"]

protocols: st.SearchStrategy[Protocol] = st.sampled_from(["tus", "ietf"])
troubles: st.SearchStrategy[Trouble | None] = st.sampled_from([None, "another offset", "no bytes", "a break"])


@dataclass(frozen=True, slots=True)
class Step:
    """An append, and what goes wrong before it."""

    stop: int
    """Where its bytes end in the file."""
    protocol: Protocol
    trouble: Trouble | None


@dataclass(frozen=True, slots=True)
class Plan:
    """How a file is sent."""

    sample: Sample
    first: int
    """Bytes that come with the creation."""
    protocol: Protocol
    """Of the creation; every step may use the other one."""
    length: int | None
    """What the creation says of it; None if the last append tells it."""
    steps: Sequence[Step]


def cuts(size: int, *, least: int) -> st.SearchStrategy[list[int]]:
    """Up to six places in a file of so many bytes, also around the byte with which its kind is decided."""
    special = [place for place in (HEAD - 1, HEAD, HEAD + 1, size) if least <= place <= size]
    return st.lists(st.integers(least, size) | st.sampled_from(special), max_size=6).map(sorted)


@st.composite
def plans(draw: st.DrawFn, samples: Sequence[Sample]) -> Plan:
    """All ways of sending one of the samples."""
    sample = draw(st.sampled_from(samples))
    size = len(sample.content)
    first, *stops = [*draw(cuts(size, least=0)), size]
    steps = [Step(stop, draw(protocols), draw(troubles)) for stop in (*stops, size)]
    return Plan(sample, first, draw(protocols), draw(st.sampled_from([size, None])), steps)


class Refused(Exception):
    """The server does not want the file."""


class Sender:
    """Carries out a plan, up to the end or to the first answer that refuses the file."""

    def __init__(self, edge: Edge, plan: Plan) -> None:
        self._edge = edge
        self._plan = plan
        self._content = plan.sample.content
        self._path = ""
        self._offset = 0

    async def send(self) -> dict[str, Any]:
        """Returns the upload's record. Raises `Refused`."""
        await self._create()
        for step in self._plan.steps:
            last = step is self._plan.steps[-1]
            await self._go_through(step, last=last)
            await self._append(step, last=last)
        return await record(self._edge, self._path)

    async def _create(self) -> None:
        plan = self._plan
        fields = {"tus": tus_creation, "ietf": ietf_creation}[plan.protocol](plan.sample, plan.length)
        async with self._edge.client.post(COLLECTION, data=self._content[: plan.first], headers=fields) as answer:
            check(answer.status)
            self._path = urlsplit(answer.headers["Location"]).path
        self._offset = plan.first

    async def _append(self, step: Step, *, last: bool) -> None:
        body = self._content[self._offset : step.stop]
        check(await self._patch(self._fields(step, self._offset, last=last), body))
        self._offset = step.stop

    async def _go_through(self, step: Step, *, last: bool) -> None:
        match step.trouble:
            case "another offset":
                assert await self._patch(self._fields(step, self._offset + 1, last=last), b"beside") == 409
            case "no bytes":
                check(await self._patch(self._fields(step, self._offset, last=False), b""))
            case "a break" if step.stop > self._offset:
                await self._break_off(step, last=last)

    async def _break_off(self, step: Step, *, last: bool) -> None:
        """Lose the connection after half of the bytes, and go on with the first that did not arrive."""
        body = self._content[self._offset : step.stop]
        sent = body[: len(body) // 2]
        fields = [f"{name}: {value}" for name, value in self._fields(step, self._offset, last=last).items()]
        async with Wire.connect(self._edge.client) as wire:
            line = f"PATCH {self._path} HTTP/1.1"
            wire.send(request(f"Content-Length: {len(body)}", *fields, line=line, body=sent))
            wire.half_close()
            await wire.rest()
        offset = await self._look(step)
        assert self._offset <= offset <= self._offset + len(sent)
        self._offset = offset

    async def _patch(self, fields: Mapping[str, str], body: bytes) -> int:
        async with self._edge.client.patch(self._path, data=body, headers=fields) as answer:
            return answer.status

    async def _look(self, step: Step) -> int:
        """The upload's offset."""
        fields = {"Tus-Resumable": "1.0.0"} if step.protocol == "tus" else {}
        async with self._edge.client.head(self._path, headers=fields) as answer:
            check(answer.status)
            return int(answer.headers["Upload-Offset"])

    def _fields(self, step: Step, offset: int, *, last: bool) -> Mapping[str, str]:
        if step.protocol == "ietf":
            return ietf_append(offset, last=last)
        late = last and self._plan.length is None
        return tus_append(offset, length=len(self._content) if late else None)


def tus_creation(sample: Sample, length: int | None) -> Mapping[str, str]:
    """The header of a creation with its first bytes; of one upload, or of a part of it."""
    return {
        "Tus-Resumable": "1.0.0",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Metadata": f"filename {b64encode(sample.filename.encode()).decode()}",
        **({"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}),
    }


def tus_append(offset: int, *, length: int | None) -> Mapping[str, str]:
    """The header of an append, which may tell a deferred length."""
    return {
        "Tus-Resumable": "1.0.0",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
        **({} if length is None else {"Upload-Length": str(length)}),
    }


def ietf_creation(sample: Sample, length: int | None) -> Mapping[str, str]:
    """The same for the IETF's protocol."""
    return {
        "Upload-Complete": "?0",
        "Upload-Draft-Interop-Version": "9",
        "Content-Type": sample.media_type,
        "Content-Disposition": f'inline; filename="{sample.filename}"',
        **({} if length is None else {"Upload-Length": str(length)}),
    }


def ietf_append(offset: int, *, last: bool) -> Mapping[str, str]:
    """The same, which always tells whether it is the last."""
    return {
        "Upload-Complete": "?1" if last else "?0",
        "Upload-Draft-Interop-Version": "9",
        "Content-Type": "application/partial-upload",
        "Upload-Offset": str(offset),
    }


def check(status: int) -> None:
    """Raises `Refused` if this is the answer to a file that is not wanted."""
    if status in (410, 415):
        raise Refused
    assert status in (200, 201, 204)


async def record(edge: Edge, path: str) -> dict[str, Any]:
    """Of an upload."""
    async with edge.client.get(path) as answer:
        record: dict[str, Any] = await answer.json()
        return record


async def assert_same_as_form(edge: Edge, sample: Sample, found: Mapping[str, Any]) -> None:
    """The upload is what the form door makes of the sample."""
    form = await send(edge.client, sample)
    for name in ("status", "format", "media_type", "sha256", "size", "offset", "filename"):
        assert found[name] == form[name]
    async with edge.client.get(found["links"]["content"]) as answer:
        assert await answer.read() == sample.content


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    """One server for all examples: each of them is an upload of its own."""
    folder = tmp_path_factory.mktemp("equivalence") / "data"
    async with serving(configure(folder, server={"linger": "100 ms"})) as client:
        yield Edge(client, folder)


@few
@given(plans(RECORDINGS))
async def test_a_recording_is_the_same_in_pieces(edge: Edge, plan: Plan) -> None:
    await assert_same_as_form(edge, plan.sample, await Sender(edge, plan).send())


@few
@given(plans(TEXTS))
async def test_what_is_no_recording_is_none_in_pieces(edge: Edge, plan: Plan) -> None:
    before = files(edge.folder)
    with pytest.raises(Refused):
        await Sender(edge, plan).send()
    assert files(edge.folder) == before


@st.composite
def parts(draw: st.DrawFn, samples: Sequence[Sample]) -> tuple[Sample, list[bytes]]:
    """One of the samples, cut into pieces that are not empty."""
    sample = draw(st.sampled_from(samples))
    size = len(sample.content)
    places = sorted({0, *draw(cuts(size, least=1)), size})
    return sample, [sample.content[start:stop] for start, stop in pairwise(places)]


async def concatenated(edge: Edge, sample: Sample, pieces: Sequence[bytes]) -> dict[str, Any]:
    """Send the pieces as partial uploads of tus, and put them together. Returns the record. Raises `Refused`."""
    paths = []
    for piece in pieces:
        fields = {**tus_creation(sample, len(piece)), "Upload-Concat": "partial"}
        async with edge.client.post(COLLECTION, data=piece, headers=fields) as answer:
            assert answer.status == 201
            paths.append(answer.headers["Location"])
    whole = {
        "Tus-Resumable": "1.0.0",
        "Upload-Metadata": tus_creation(sample, None)["Upload-Metadata"],
        "Upload-Concat": f"final;{' '.join(paths)}",
    }
    async with edge.client.post(COLLECTION, headers=whole) as answer:
        check(answer.status)
        return await record(edge, urlsplit(answer.headers["Location"]).path)


@few
@given(parts(RECORDINGS))
async def test_a_recording_is_the_same_put_together(edge: Edge, cut: tuple[Sample, list[bytes]]) -> None:
    await assert_same_as_form(edge, cut[0], await concatenated(edge, *cut))


@few
@given(parts(TEXTS))
async def test_what_is_no_recording_is_none_put_together(edge: Edge, cut: tuple[Sample, list[bytes]]) -> None:
    before = [name for name in files(edge.folder) if name.startswith("audio/")]
    with pytest.raises(Refused):
        await concatenated(edge, *cut)
    assert [name for name in files(edge.folder) if name.startswith("audio/")] == before
