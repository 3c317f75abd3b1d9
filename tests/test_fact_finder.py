"""Facts of what was stored: when they come, where they are told, and what becomes of them when things go wrong."""

from __future__ import annotations

import asyncio
import io
import signal
from array import array
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from uuid import UUID

import av
import pytest
from av.audio.frame import AudioFrame
from structlog.testing import capture_logs

from maie_aiohttp.concurrency import beside
from maie_aiohttp.inspection import analyst
from maie_aiohttp.inspection.analyst import Analyst
from maie_aiohttp.interfaces import Catalog
from maie_aiohttp.limits import deference
from maie_aiohttp.model import Facts, Upload
from maie_aiohttp.progress.hub import Hub
from maie_aiohttp.upkeep import facts as fact_finding
from maie_aiohttp.upkeep.facts import FactFinder
from maie_aiohttp.web.appkeys import CATALOG
from tests import audio
from tests.conftest import Client, configure, files, send, serving
from tests.keys import bearer, key
from tests.layers import disk_store, pending
from tests.pages.test_events import EVENTS, Stream
from tests.test_facts import tone, wav
from tests.wire import COLLECTION

ON: dict[str, object] = {"workers": 1}
TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fact_finding, "GATHERING", 0.01)


async def record(client: Client, id: str) -> dict[str, Any]:
    found: dict[str, Any] = await (await client.get(f"{COLLECTION}/{id}")).json()
    return found


async def found_facts(client: Client, id: str) -> dict[str, Any]:
    """As soon as nobody looks any more."""
    while True:
        facts: dict[str, Any] = (await record(client, id))["facts"]
        if facts["status"] != "pending":
            return facts
        await asyncio.sleep(0.02)


async def listed(client: Client, query: str) -> list[str]:
    page = await (await client.get(f"{COLLECTION}?{query}")).json()
    return [upload["id"] for upload in page["uploads"]]


async def test_are_pending_in_the_answer_and_in_the_record_soon_after(folder: Path) -> None:
    async with serving(configure(folder, facts=ON)) as client:
        sent = await send(client, audio.sample("mp3"))
        assert sent["facts"] == {
            "status": "pending",
            "container": "mp3",
            **dict.fromkeys(("codec", "duration", "sample_rate", "channels", "bit_rate")),
            "findings": [],
        }
        assert await found_facts(client, sent["id"]) == {
            "status": "found",
            "container": "mp3",
            "codec": "mp3",
            "duration": 1.227755,
            "sample_rate": 44_100,
            "channels": 1,
            "bit_rate": pytest.approx(64_000, rel=0.1),
            "findings": [],
        }


async def test_are_found_whichever_door_it_came_by(folder: Path) -> None:
    content = audio.sample("flac").content
    async with serving(configure(folder, facts=ON)) as client:
        form = (await send(client, audio.sample("flac")))["id"]
        raw = (await (await client.post(COLLECTION, data=content)).json())["id"]
        sized = {**TUS, "Upload-Length": str(len(content))}
        tus = (await client.post(COLLECTION, data=content, headers=sized)).headers["Location"].rpartition("/")[2]
        found = [await found_facts(client, id) for id in (form, raw, tus)]
    assert [facts["codec"] for facts in found] == ["flac"] * 3
    assert [facts["duration"] for facts in found] == [1.2] * 3


async def test_where_nobody_looks_there_are_none(client: Client) -> None:
    sent = await send(client, audio.sample("wav"))
    assert sent["facts"] is None
    assert (await record(client, sent["id"]))["facts"] is None


async def test_are_no_concern_of_an_upload_that_is_not_stored(folder: Path) -> None:
    async with serving(configure(folder, facts=ON)) as client:
        begun = await client.post(COLLECTION, headers={"Tus-Resumable": "1.0.0", "Upload-Length": "9"})
        assert (await record(client, begun.headers["Location"].rpartition("/")[2]))["facts"] is None


async def test_a_restart_goes_on_with_what_waits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(fact_finding, "GATHERING", 60)
        async with serving(configure(folder, facts=ON)) as client:
            await client.get("/health")
            sent = [(await send(client, audio.sample("amr")))["id"] for _ in range(70)]
            assert (await record(client, sent[-1]))["facts"]["status"] == "pending"
    async with serving(configure(folder, facts={"workers": 2})) as client:
        assert {(await found_facts(client, id))["codec"] for id in sent} == {"amr_nb"}


async def test_switched_off_nothing_waits_any_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(fact_finding, "GATHERING", 60)
        async with serving(configure(folder, facts=ON)) as client:
            await client.get("/health")
            sent = await send(client, audio.sample("amr"))
    async with serving(configure(folder)) as client:
        while await client.app[CATALOG].facts.pending(1):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
        assert (await record(client, sent["id"]))["facts"] is None


async def test_those_who_follow_all_hear_of_them(folder: Path) -> None:
    async with (
        serving(configure(folder, facts=ON, server={"linger": "100 ms"})) as client,
        client.get(EVENTS) as answer,
    ):
        stream = Stream(answer)
        sent = await send(client, audio.sample("wav"))
        while (block := await stream.block()).get("event") != "examined":
            assert block
        assert f'"id": "{sent["id"]}"' in block["data"]
        assert '"codec": "pcm_s16le"' in block["data"]


async def test_are_there_when_the_upload_is_handed_over(folder: Path) -> None:
    with capture_logs() as lines:
        async with serving(configure(folder, facts=ON, handoff={"targets": ["log"]})) as client:
            sent = [(await send(client, audio.sample(name)))["id"] for name in ("wav", "flac", "mp3")]
            while (said := story(lines, sent)).count("upload handed over") < 3:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
    for id in sent:
        assert story(lines, [id])[:3] == ["upload stored", "upload examined", "upload handed over"]
    assert said.count("upload handed over") == 3


def story(lines: Sequence[Mapping[str, Any]], ids: Collection[str]) -> list[str]:
    """What was logged of these uploads."""
    return [line["event"] for line in lines if line.get("upload") in ids]


# When the catalog is asked


class Book:
    """Keeps what waits, and how often anybody asked. An answer comes a little later than it was true."""

    def __init__(self) -> None:
        self.waiting: list[Upload] = []
        self.asked = 0
        self.recorded: list[UUID] = []
        self.rung = asyncio.Event()

    @property
    def facts(self) -> Book:
        """It keeps nothing else."""
        return self

    async def pending(self, limit: int) -> Sequence[Upload]:
        self.asked += 1
        found = self.waiting[:limit]
        await asyncio.sleep(0.02)
        return found

    async def record(self, facts: Mapping[UUID, Facts]) -> Collection[UUID]:
        self.recorded.extend(facts)
        self.waiting = [upload for upload in self.waiting if upload.id not in facts]
        return facts.keys()

    async def heard(self) -> None:
        await self.rung.wait()
        self.rung.clear()

    def store(self, *uploads: Upload) -> None:
        self.waiting.extend(uploads)
        self.rung.set()

    async def until(self, recorded: int) -> None:
        while len(self.recorded) < recorded:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


class Glance:
    """An analyst who takes so many seconds for whatever is given."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = list(seconds)
        self.interruptions = 0

    async def facts(self, files: Sequence[object]) -> Sequence[Facts]:
        await asyncio.sleep(self._seconds.pop(0) if self._seconds else 0)
        return [Facts()] * len(files)

    def interrupt(self) -> None:
        self.interruptions += 1

    def go_on(self) -> None:
        """It takes no longer for that."""


@asynccontextmanager
async def finding(book: Book, glance: Glance, at_once: int = 1) -> AsyncIterator[None]:
    with TemporaryDirectory() as root, disk_store(Path(root)) as store:
        catalog, analyst = cast("Catalog", book), cast("Analyst", glance)
        finder = FactFinder(store, catalog, Hub(), analyst, book.heard, at_once=at_once)
        async with beside(finder.keep_on()):
            yield


async def test_nobody_is_asked_as_long_as_nothing_is_stored() -> None:
    book = Book()
    async with finding(book, Glance()):
        await asyncio.sleep(0.2)
        assert book.asked == 1
        book.store(pending())
        await book.until(1)
        await asyncio.sleep(0.2)
        assert book.asked <= 3


async def test_what_nobody_rang_for_is_found_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fact_finding, "HEARTBEAT", 0.1)
    book = Book()
    async with finding(book, Glance()):
        await asyncio.sleep(0.05)
        book.waiting.append(pending())
        await book.until(1)


async def test_what_comes_while_others_are_examined_is_found_then() -> None:
    book = Book()
    async with finding(book, Glance(0.1)):
        book.store(pending())
        await asyncio.sleep(0.06)
        book.store(pending())
        await book.until(2)


async def test_in_a_busy_process_examinations_stand_still(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deference, "LOOK", 0.001)
    monkeypatch.setattr(deference, "REST", 1e9)
    async with serving(configure(folder, facts=ON)) as client:
        with monkeypatch.context() as patch:
            patch.setattr(deference, "BUSY", -1.0)
            sent = await send(client, audio.sample("wav"))
            await asyncio.sleep(0.5)
            assert (await record(client, sent["id"]))["facts"]["status"] == "pending"
        assert (await found_facts(client, sent["id"]))["status"] == "found"


@pytest.fixture
def _always_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deference, "BUSY", -1.0)
    monkeypatch.setattr(deference, "LOOK", 0.001)
    monkeypatch.setattr(deference, "REST", 0.0)


@pytest.mark.usefixtures("_always_busy")
async def test_who_has_nothing_to_examine_looks_after_nothing() -> None:
    book, glance = Book(), Glance(0.1)
    async with finding(book, glance):
        book.store(pending())
        await book.until(1)
        await asyncio.sleep(0.05)
        before = glance.interruptions
        assert before > 0
        await asyncio.sleep(0.2)
        assert glance.interruptions == before


@pytest.mark.usefixtures("_always_busy")
async def test_gives_way_as_long_as_anything_is_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fact_finding, "TOGETHER", 0)
    book, glance = Book(), Glance(60, 0.01)
    async with finding(book, glance, at_once=2):
        book.store(pending(), pending())
        await book.until(1)
        await asyncio.sleep(0.1)
        before = glance.interruptions
        while glance.interruptions == before:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_each_is_examined_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its facts are recorded while the catalog is being asked."""
    monkeypatch.setattr(fact_finding, "PAGE", 1)
    book = Book()
    waiting = [pending() for _ in range(10)]
    book.store(*waiting)
    async with finding(book, Glance(*[0.01] * 20), at_once=2):
        await book.until(len(waiting))
        await asyncio.sleep(0.1)
    assert sorted(book.recorded) == sorted(upload.id for upload in waiting)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL], ids=lambda number: number.name)
async def test_a_crash_is_a_finding(number: signal.Signals, folder: Path, tmp_path: Path) -> None:
    async with serving(configure(folder, facts=ON)) as client:
        await misled(tmp_path, f"os.kill(os.getpid(), {int(number)})", client)


async def test_a_hang_is_a_finding(folder: Path, tmp_path: Path) -> None:
    async with serving(configure(folder, facts={**ON, "timeout": "1 s"})) as client:
        await misled(tmp_path, "time.sleep(60)", client)


async def test_a_flood_of_memory_is_a_finding(folder: Path, tmp_path: Path) -> None:
    async with serving(configure(folder, facts=ON)) as client:
        await misled(tmp_path, "resource.setrlimit(resource.RLIMIT_AS, (1 << 28,) * 2); bytes(1 << 30)", client)


async def misled(folder: Path, deed: str, client: Client) -> None:
    """A recording that makes the prober do something bad costs its own facts, and those of no other."""
    program = folder / "program.py"
    real = str(analyst.PROGRAM)
    program.write_text(
        "import os, resource, sys, time\n"
        "from maie_aiohttp.inspection import confinement, prober\n"
        "def answer(wish, files, *details):\n"
        f"    if 'au' in dict(files).values(): {deed}\n"
        "    return prober.answer(wish, files, *details)\n"
        "confinement.run(answer)\n"
    )
    analyst.PROGRAM = program
    try:
        good = [await send(client, audio.sample("wav"))]
        bad = [await send(client, audio.sample("au")) for _ in range(2)]
        good.append(await send(client, audio.sample("flac")))
        assert [(await found_facts(client, one["id"]))["status"] for one in good] == ["found"] * 2
        for one in bad:
            facts = await found_facts(client, one["id"])
            assert (facts["status"], facts["findings"], facts["codec"]) == ("failed", ["unexamined"], None)
        assert set(await listed(client, "finding=unexamined")) == {one["id"] for one in bad}
    finally:
        analyst.PROGRAM = Path(real)


async def test_no_child_is_no_finding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maie_aiohttp.upkeep.reconcile.PAUSE_AFTER_FAILURE", 0.01)
    async with serving(configure(folder, facts=ON)) as client:
        with monkeypatch.context() as patch:
            patch.setattr("maie_aiohttp.inspection.children.Pool._start_child", unable)
            sent = (await (await client.post(COLLECTION, data=wav(tone(0.5)))).json())["id"]
            await asyncio.sleep(0.2)
            assert (await record(client, sent))["facts"]["status"] == "pending"
        assert (await found_facts(client, sent))["codec"] == "pcm_s16le"


async def unable(_: object) -> object:
    from maie_aiohttp.errors import Busy  # noqa: PLC0415

    raise Busy("No decoder could be started.")


async def test_what_is_deleted_meanwhile_is_no_trouble(folder: Path) -> None:
    async with serving(configure(folder, facts=ON)) as client:
        for _ in range(20):
            sent = await send(client, audio.sample("amr"))
            assert (await client.delete(f"{COLLECTION}/{sent['id']}")).status == 204
        last = await send(client, audio.sample("amr"))
        assert (await found_facts(client, last["id"]))["status"] == "found"
        assert await listed(client, "") == [last["id"]]


async def test_lists_are_searched_by_them(folder: Path) -> None:
    async with serving(configure(folder, facts=ON)) as client:

        async def stored(content: bytes) -> str:
            id: str = (await (await client.post(COLLECTION, data=content)).json())["id"]
            await found_facts(client, id)
            return id

        short, long = await stored(wav(tone(0.5, 1))), await stored(wav(tone(1.5, 4)))
        quiet = await stored(wav(array("h", [0] * 32_000)))
        flac = await stored(audio.sample("flac").content)
        assert await listed(client, "duration_min=1.5") == [quiet, long]
        assert await listed(client, "duration_max=1.2&duration_min=0.5") == [flac, short]
        assert await listed(client, "duration_min=15e-1") == [quiet, long]
        assert await listed(client, "codec=flac") == [flac]
        assert await listed(client, "codec=pcm_s16le&duration_min=3.5") == [long]
        assert await listed(client, "finding=silent") == [quiet]
        assert await listed(client, "finding=clipped&status=stored") == [long]
        assert await listed(client, "finding=truncated") == []
        first = await (await client.get(f"{COLLECTION}?codec=pcm_s16le&limit=1")).json()
        assert await listed(client, f"codec=pcm_s16le&cursor={first['next_cursor']}") == [long, short]


@pytest.mark.parametrize(
    "query",
    [
        "duration_min=-1",
        "duration_max=",
        "duration_min=1e",
        "duration_min=1_0",
        "duration_min=nan",
        "codec=%27",
        "codec=",
        "finding=loud",
    ],
)
async def test_a_search_that_is_not_understood_is_refused(client: Client, query: str) -> None:
    answer = await client.get(f"{COLLECTION}?{query}")
    assert (answer.status, (await answer.json())["type"]) == (400, "urn:maie:problem:malformed")


async def test_tags_are_told_to_those_who_ask_for_them(folder: Path) -> None:
    tag = b"TIT2\0\0\0\x07\0\0\0Secret"
    tagged = b"ID3\3\0\0\0\0\0" + bytes([len(tag)]) + tag + audio.sample("mp3").content
    async with serving(configure(folder, facts=ON)) as client:
        sent = await (await client.post(COLLECTION, data=tagged)).json()
        await found_facts(client, sent["id"])
        asked = await (await client.get(f"{COLLECTION}/{sent['id']}?include=tags")).json()
        assert asked["tags"]["title"] == "Secret"
        assert "Secret" not in await (await client.get(f"{COLLECTION}/{sent['id']}")).text()
        assert "Secret" not in await (await client.get(COLLECTION)).text()
        assert b"Secret" not in (folder / "catalog.sqlite").read_bytes()
        assert (await client.get(f"{COLLECTION}/{sent['id']}?include=all")).status == 400
        ada = await key(client, "ada", "read")
        answer = await client.get(f"{COLLECTION}/{sent['id']}?include=tags", headers=bearer(ada))
        assert answer.status == 404


# How long a recording may play.


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "m4a", "aac", "ogg-opus", "webm", "amr", "wma", "caf", "rf64"])
async def test_what_plays_for_too_long_is_refused(name: str, folder: Path) -> None:
    content = audio.sample(name).content
    for most, status in (("1 s", 413), ("2 s", 201)):
        async with serving(configure(folder, limits={"max_duration": most})) as client:
            answer = await client.post(COLLECTION, data=content)
            assert answer.status == status
            if status == 413:
                assert (await answer.json())["type"] == "urn:maie:problem:too-long"
                assert await listed(client, "") == []


async def test_that_is_told_at_the_first_chunk_where_the_header_tells(folder: Path) -> None:
    """The rest is never sent."""

    async def beginning() -> AsyncIterator[bytes]:
        yield b"".join(audio.long_wav(32_000 * 600))[:65_536]
        await asyncio.sleep(60)

    async with serving(configure(folder, limits={"max_duration": "5 min"})) as client:
        answer = await client.post(COLLECTION, data=beginning())
        assert (answer.status, (await answer.json())["type"]) == (413, "urn:maie:problem:too-long")


async def test_a_header_that_lies_does_not_help(folder: Path) -> None:
    content = bytearray(wav(tone(0.5, 3)))
    content[40:44] = (1_000).to_bytes(4, "little")
    mp3 = audio.sample("mp3-bare").content * 3
    async with serving(configure(folder, limits={"max_duration": "2 s"})) as client:
        assert (await client.post(COLLECTION, data=io.BytesIO(mp3))).status == 413
        unknown = bytes(content[:40]) + b"\xff\xff\xff\xff" + bytes(content[44:])
        assert (await client.post(COLLECTION, data=unknown)).status == 413


async def test_every_track_counts(folder: Path) -> None:
    for most, status in (("1 s", 413), ("2 s", 201)):
        async with serving(configure(folder, limits={"max_duration": most})) as client:
            assert (await client.post(COLLECTION, data=two_tracks())).status == status


def two_tracks() -> bytes:
    """A moment of silence, and beside it the speech."""
    file = io.BytesIO()
    with av.open(file, "w", "matroska") as container:
        short, long = (audio.add_audio(container, "pcm_s16le") for _ in range(2))
        frame = AudioFrame("s16", "mono", audio.RATE // 10)
        frame.sample_rate = audio.RATE
        frame.planes[0].update(bytes(2 * frame.samples))
        container.mux(short.encode(frame))
        audio.add_speech(container, long)
    return file.getvalue()


async def test_a_resumable_upload_is_refused_for_it_too(folder: Path) -> None:
    content = audio.sample("aac").content
    async with serving(configure(folder, limits={"max_duration": "1 s"})) as client:
        begun = await client.post(COLLECTION, headers={**TUS, "Upload-Length": str(len(content))}, data=content[:500])
        there, offset = begun.headers["Location"], {**TUS, "Upload-Offset": "500"}
        answer = await client.patch(there, data=content[500:], headers=offset)
        assert (answer.status, (await answer.json())["type"]) == (413, "urn:maie:problem:too-long")
        rejected = await (await client.get(there)).json()
        assert (rejected["status"], rejected["facts"]) == ("rejected", None)
    assert files(folder) == []
