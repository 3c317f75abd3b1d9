"""Uploads in pieces: however often they break off, what is recorded is there, and what is stored is right."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.errors import (
    Busy,
    ChecksumMismatch,
    Complete,
    DigestMismatch,
    Draining,
    Empty,
    Gone,
    InconsistentLength,
    IntakeError,
    Locked,
    Malformed,
    NotAudio,
    NotFound,
    OffsetMismatch,
    StorageFailed,
    StorageFull,
    Superseded,
    TooLarge,
    TooSlow,
    Truncated,
)
from maie_aiohttp.formats import CORE
from maie_aiohttp.inspection.inspector import Inspector
from maie_aiohttp.intake import examinations as examinations_module
from maie_aiohttp.intake.delivery import Intake, Rules
from maie_aiohttp.intake.pieces import Piece
from maie_aiohttp.intake.resumption import Resumption
from maie_aiohttp.model import Declared, Status, Upload
from maie_aiohttp.stores import append as append_module
from maie_aiohttp.stores import fsio
from maie_aiohttp.upkeep import expiry as expiry_module
from maie_aiohttp.upkeep.expiry import sweep
from maie_aiohttp.upkeep.reconcile import recover
from tests import audio
from tests.conftest import files
from tests.layers import (
    KIB,
    MIB,
    as_root,
    disk_store,
    impatient,
    locked,
    memory_disk,
    no_descriptors,
    pragma,
    query,
    small,
    sql_catalog,
    stored_part,
    upload_locks,
)

WAV = b"".join(audio.long_wav(200_000))
"""Larger than what the verdict on the type needs."""
OTHER = b"".join(audio.long_wav(100_000))
NOT_AUDIO = b"MZ" + bytes(199_998)
DAY = timedelta(days=1)
EARLIER = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def catalog_path(tmp_path: Path) -> Path:
    """Where the catalog is."""
    return tmp_path / "catalog.sqlite"


@pytest.fixture
async def catalog(catalog_path: Path) -> AsyncIterator[SqlCatalog]:
    """A catalog that does not wait for a lock."""
    async with sql_catalog(catalog_path) as catalog:
        await impatient(catalog)
        yield catalog


@pytest.fixture
async def intake(folder: Path, catalog: SqlCatalog) -> AsyncIterator[Intake]:
    """An intake of at most 1 MiB an upload, on a real disk and a real catalog. At the end nothing is held any more."""
    inspector = Inspector(workers=1, timeout=60, memory=256 * MIB)
    with disk_store(folder) as store, upload_locks(folder) as locks:
        intake = Intake(store, catalog, inspector, locks, Rules(MIB, CORE))
        yield intake
        assert (locks._lines, locks._held, intake.receiving) == ({}, {}, {})
    await inspector.stop()


@pytest.fixture
def resumption(intake: Intake) -> Resumption:
    """What is tested here."""
    return Resumption(intake, DAY)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes between two records of the offset: fewer than usual."""
    monkeypatch.setattr(append_module, "PASS_ON_EVERY", 64 * KIB)
    return 64 * KIB


class Sender:
    """Sends one chunk each time it is told to, and hears when another request takes the upload over."""

    def __init__(self, content: bytes, chunk: int = 1000) -> None:
        self._chunks = [content[start : start + chunk] for start in range(0, len(content), chunk)]
        self._may_send = asyncio.Semaphore(0)
        self._interruption: IntakeError | None = None
        self.reading = asyncio.Event()
        """Set once somebody waits for bytes."""

    def interrupt(self, error: IntakeError) -> None:
        self._interruption = error
        self._may_send.release()

    def allow(self, chunks: int = 1) -> None:
        """Send so many more."""
        for _ in range(chunks):
            self._may_send.release()

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            self.reading.set()
            await self._may_send.acquire()
            if self._interruption:
                raise self._interruption
            yield chunk

    def piece(self, offset: int = 0) -> Piece:
        return Piece(offset, self.chunks(), self.interrupt)


async def broken(content: bytes, failure: IntakeError | None = None, chunk: int = 50_000) -> AsyncIterator[bytes]:
    """The content in chunks, then the failure."""
    for start in range(0, len(content), chunk):
        yield content[start : start + chunk]
        await asyncio.sleep(0)
    if failure is not None:
        raise failure


def unmoved(_: IntakeError) -> None:
    """A sender that does not stop for others."""


def a_piece(content: bytes, offset: int = 0, *, failure: IntakeError | None = None, **said: Any) -> Piece:
    """A request that brings `content`, and then breaks off if there is a failure."""
    return Piece(offset, broken(content, failure), unmoved, **said)


def rest_of(content: bytes, offset: int, **said: Any) -> Piece:
    """The last request of an upload."""
    return a_piece(content[offset:], offset, **said)


async def begun(resumption: Resumption, size: int | None = len(WAV), *, partial: bool = False, **said: Any) -> Upload:
    """An upload without a byte yet."""
    declared = Declared(filename="speech.wav", at_most=size, **said)
    return await resumption.create(
        declared, metadata={"speaker": "Ada"}, echo={"Upload-Metadata": "x"}, partial=partial
    )


async def part(resumption: Resumption, content: bytes) -> UUID:
    """A complete partial upload."""
    upload = await begun(resumption, len(content), partial=True)
    await resumption.append(upload.id, a_piece(content))
    return upload.id


def bytes_of(folder: Path, id: UUID) -> bytes:
    """What has come of an unfinished upload, and perhaps more."""
    return (folder / f"incoming/{id}.part").read_bytes()


async def is_stored(resumption: Resumption, folder: Path, id: UUID, content: bytes = WAV) -> Upload:
    """The upload is there, whole and right, and leaves nothing else behind."""
    upload = await resumption._catalog.get(id)
    stored = stored_part(upload)
    assert (upload.status, upload.size, upload.offset, upload.expires_at) == (
        Status.STORED,
        len(content),
        len(content),
        None,
    )
    assert (folder / stored.locator).read_bytes() == content
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert [name for name in files(folder) if str(id) in name] == [stored.locator]
    return upload


async def goes_on(resumption: Resumption, folder: Path, id: UUID, content: bytes = WAV) -> Upload:
    """What is recorded is there; sent from there on, the upload is whole."""
    upload = await resumption.look(id)
    if upload.stored is None:
        assert upload.offset < len(content)
        assert bytes_of(folder, id)[: upload.offset] == content[: upload.offset]
        await resumption.append(id, rest_of(content, upload.offset))
    return await is_stored(resumption, folder, id, content)


async def is_rejected(resumption: Resumption, folder: Path, id: UUID, reason: str = "audio") -> None:
    """The upload is remembered, for a while, by what was wrong with it; its bytes are gone."""
    upload = await resumption._catalog.get(id)
    assert (upload.status, upload.stored) == (Status.REJECTED, None)
    assert reason in (upload.reason or "")
    assert upload.expires_at is not None
    assert upload.expires_at > datetime.now(UTC) + timedelta(days=6)
    assert [name for name in files(folder) if str(id) in name] == []
    for attempt in (resumption.look(id), resumption.append(id, a_piece(b"", upload.offset))):
        with pytest.raises(Gone, match=reason):
            await attempt


def forget_digest(resumption: Resumption, id: UUID) -> None:
    """From now on what the checks found so far is known from the stored bytes only."""
    resumption._examinations.forget(id)


async def is_overdue(resumption: Resumption, id: UUID) -> None:
    """Nobody has continued it for too long."""
    upload = await resumption._catalog.get(id)
    await resumption._catalog.advance(replace(upload, expires_at=EARLIER))


# States and operations ---------------------------------------------------------------------------------------------


async def fresh(resumption: Resumption) -> UUID:
    return (await begun(resumption)).id


async def paused(resumption: Resumption) -> UUID:
    id = await fresh(resumption)
    await resumption.append(id, a_piece(WAV[:1000]))
    return id


async def whole_part(resumption: Resumption) -> UUID:
    return await part(resumption, WAV)


async def stored(resumption: Resumption) -> UUID:
    id = await fresh(resumption)
    await resumption.append(id, a_piece(WAV))
    return id


async def damaged(resumption: Resumption) -> UUID:
    id = await stored(resumption)
    await resumption._catalog.move(id, Status.DAMAGED)
    return id


async def rejected(resumption: Resumption) -> UUID:
    id = await fresh(resumption)
    with pytest.raises(NotAudio):
        await resumption.append(id, a_piece(NOT_AUDIO))
    return id


async def overdue(resumption: Resumption) -> UUID:
    id = await paused(resumption)
    await is_overdue(resumption, id)
    return id


async def expired(resumption: Resumption) -> UUID:
    id = await overdue(resumption)
    assert await sweep(resumption._intake) == 1
    return id


async def deleted(resumption: Resumption) -> UUID:
    id = await paused(resumption)
    await resumption._intake.remove(id)
    return id


async def unknown(_: Resumption) -> UUID:
    return uuid4()


async def offset_of(resumption: Resumption, id: UUID) -> int:
    with suppress(NotFound):
        return (await resumption._catalog.get(id)).offset
    return 0


async def go_on(resumption: Resumption, id: UUID) -> object:
    offset = await offset_of(resumption, id)
    return await resumption.append(id, a_piece(WAV[offset : offset + 10] or b"more", offset))


async def send_nothing(resumption: Resumption, id: UUID) -> object:
    return await resumption.append(id, a_piece(b"", await offset_of(resumption, id), size=0))


async def skip(resumption: Resumption, id: UUID) -> object:
    return await resumption.append(id, a_piece(b"more", await offset_of(resumption, id) + 1))


async def go_back(resumption: Resumption, id: UUID) -> object:
    return await resumption.append(id, a_piece(b"more", await offset_of(resumption, id) - 1))


async def look(resumption: Resumption, id: UUID) -> object:
    return await resumption.look(id)


async def concatenate(resumption: Resumption, id: UUID) -> object:
    return await resumption.concatenate([id], Declared(), metadata={}, echo={})


async def remove(resumption: Resumption, id: UUID) -> None:
    await resumption._intake.remove(id)


Operation = Callable[[Resumption, UUID], Awaitable[object]]
OPERATIONS: Sequence[Operation] = (go_on, send_nothing, skip, go_back, look, concatenate, remove)
TABLE: Mapping[Callable[[Resumption], Awaitable[UUID]], str] = {
    fresh: "ok ok OffsetMismatch OffsetMismatch ok Malformed ok",
    paused: "ok ok OffsetMismatch OffsetMismatch ok Malformed ok",
    whole_part: "Complete ok OffsetMismatch OffsetMismatch ok ok ok",
    stored: "Complete ok OffsetMismatch OffsetMismatch ok Malformed ok",
    damaged: "Complete ok OffsetMismatch OffsetMismatch ok Malformed ok",
    rejected: "Gone Gone Gone Gone Gone Malformed ok",
    overdue: "Gone Gone Gone Gone Gone Malformed ok",
    expired: "Gone Gone Gone Gone Gone Malformed ok",
    deleted: "NotFound NotFound NotFound NotFound NotFound Malformed NotFound",
    unknown: "NotFound NotFound NotFound NotFound NotFound Malformed NotFound",
}


@pytest.mark.parametrize("state", TABLE, ids=lambda state: state.__name__)
async def test_each_operation_in_each_state(
    resumption: Resumption, folder: Path, state: Callable[[Resumption], Awaitable[UUID]]
) -> None:
    outcomes = []
    for operation in OPERATIONS:
        id = await state(resumption)
        try:
            await operation(resumption, id)
            outcomes.append("ok")
        except IntakeError as error:
            outcomes.append(type(error).__name__)
    assert outcomes == TABLE[state].split()


async def test_what_was_agreed_is_told_again(resumption: Resumption) -> None:
    upload = await begun(resumption, media_type="audio/wav", digests={"sha512": bytes(64)})
    assert await resumption.look(upload.id) == upload
    assert (upload.status, upload.size, upload.offset, upload.stored) == (Status.RECEIVING, len(WAV), 0, None)
    assert upload.terms is not None
    assert (upload.terms.media_type, upload.terms.echo) == ("audio/wav", {"Upload-Metadata": "x"})
    assert upload.expires_at == upload.created_at + DAY


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        (Declared(filename="report.pdf"), NotAudio),
        (Declared(media_type="text/html"), NotAudio),
        (Declared(at_most=0), Empty),
        (Declared(at_most=MIB + 1), TooLarge),
    ],
)
async def test_what_is_refused_at_the_door_leaves_nothing(
    resumption: Resumption, folder: Path, catalog_path: Path, declared: Declared, reason: type[IntakeError]
) -> None:
    with pytest.raises(reason):
        await resumption.create(declared, metadata={}, echo={})
    assert files(folder) == []
    assert query(catalog_path, "SELECT * FROM uploads") == []


async def test_an_upload_that_cannot_be_recorded_leaves_nothing(
    resumption: Resumption, folder: Path, catalog: SqlCatalog, catalog_path: Path
) -> None:
    with locked(catalog_path), pytest.raises(Busy):
        await begun(resumption)
    await small(catalog)
    with pytest.raises(StorageFull):
        await resumption.create(Declared(), metadata={"text": "x" * 100_000}, echo={})
    assert files(folder) == []


async def test_an_upload_with_words_that_cannot_be_written_leaves_nothing(resumption: Resumption, folder: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        await resumption.create(Declared(filename="\ud800"), metadata={}, echo={})
    assert files(folder) == []


# Pieces ------------------------------------------------------------------------------------------------------------

SPLITS: Mapping[str, Sequence[int]] = {
    "one byte at first": [1],
    "one byte at last": [len(WAV) - 1],
    "bytes by themselves": range(1, 60),
    "around the verdict": [65_535, 65_536, 65_537],
    "just before the verdict": [65_535],
    "empty ones": [0, 0, 44, 44, 44, 100_000, 100_000],
    "halves": [100_000],
    "random": sorted(random.Random(7).sample(range(len(WAV)), 25)),
}


@pytest.mark.parametrize("forgetful", [False, True], ids=["remembered", "rebuilt"])
@pytest.mark.parametrize("cuts", SPLITS.values(), ids=SPLITS)
async def test_however_it_is_cut_it_is_the_same_recording(
    resumption: Resumption, folder: Path, cuts: Sequence[int], *, forgetful: bool
) -> None:
    id = (await begun(resumption, digests=summed(WAV, "md5"))).id
    for start, end in pairwise([0, *cuts, len(WAV)]):
        if forgetful:
            forget_digest(resumption, id)
        upload = await resumption.append(id, a_piece(WAV[start:end], start, size=end - start))
        assert upload.offset == end
        assert upload == await resumption.look(id)
    upload = await is_stored(resumption, folder, id)
    assert (upload.metadata, upload.filename) == ({"speaker": "Ada"}, "speech.wav")


FAILURES = [Truncated("gone"), TooSlow("slow"), Draining("stopping"), Superseded("taken over")]


@pytest.mark.parametrize("known", [True, False], ids=["length known", "length unknown"])
@pytest.mark.parametrize("cut", [0, 1, 43, 45, 65_535, 65_536, 65_537, 150_000, 199_998, 199_999, 200_000])
async def test_what_came_before_a_break_counts(resumption: Resumption, folder: Path, cut: int, *, known: bool) -> None:
    for start, failure in zip((0, cut // 3, cut // 2, cut), FAILURES, strict=True):
        id = (await begun(resumption, len(WAV) if known else None)).id
        await resumption.append(id, a_piece(WAV[:start], last=False))
        with pytest.raises(type(failure)):
            await resumption.append(id, a_piece(WAV[start:cut], start, failure=failure))
        kept = await resumption.look(id)
        withheld = known and cut == len(WAV) and start < cut
        assert kept.offset == cut - withheld
        assert bytes_of(folder, id)[: kept.offset] == WAV[: kept.offset]
        await resumption.append(id, rest_of(WAV, kept.offset, length=len(WAV)))
        await is_stored(resumption, folder, id)


async def test_breaking_off_at_the_very_end_again_and_again_gets_nowhere_and_loses_nothing(
    resumption: Resumption, folder: Path
) -> None:
    id = (await begun(resumption)).id
    offset = 0
    for _ in range(3):
        with pytest.raises(Truncated):
            await resumption.append(id, rest_of(WAV, offset, failure=Truncated("gone")))
        offset = (await resumption.look(id)).offset
        assert offset == len(WAV) - 1
    await goes_on(resumption, folder, id)


async def test_many_breaks_in_one_upload(resumption: Resumption, folder: Path) -> None:
    rng = random.Random(11)
    id = (await begun(resumption)).id
    for _ in range(60):
        offset = (await resumption.look(id)).offset
        end = min(len(WAV), offset + rng.choice((0, 1, 7, 4000, 30_000)))
        if rng.random() < 0.3:
            forget_digest(resumption, id)
        with pytest.raises(Truncated):
            await resumption.append(id, a_piece(WAV[offset:end], offset, failure=Truncated("gone")))
    await goes_on(resumption, folder, id)


@pytest.mark.parametrize("failure", [None, *FAILURES], ids=str)
async def test_no_client_hears_of_an_offset_that_does_not_hold(
    resumption: Resumption, folder: Path, often: int, failure: IntakeError | None
) -> None:
    told: list[int] = []
    id = (await begun(resumption)).id

    async def hear(offset: int) -> None:
        assert (await resumption._catalog.get(id)).offset == offset
        assert len(bytes_of(folder, id)) >= offset
        told.append(offset)

    appending = resumption.append(id, a_piece(WAV, failure=failure, durable=hear))
    if failure is None:
        await appending
    else:
        with pytest.raises(type(failure)):
            await appending
    assert told == sorted(told)
    assert told
    assert max(told) <= (await resumption.look(id)).offset
    assert max(told) < len(WAV)
    await goes_on(resumption, folder, id)


async def test_bytes_behind_the_offset_do_not_count(resumption: Resumption, folder: Path) -> None:
    id = await paused(resumption)
    with (folder / f"incoming/{id}.part").open("ab") as file:
        file.write(NOT_AUDIO)
    await goes_on(resumption, folder, id)


async def test_progress_is_shown_from_the_offset_on(resumption: Resumption, intake: Intake) -> None:
    id = await paused(resumption)
    sender = Sender(WAV[1000:])
    appending = asyncio.create_task(resumption.append(id, sender.piece(1000)))
    await sender.reading.wait()
    assert intake.receiving[id].received == 1000
    sender.allow(1000)
    await appending
    assert id not in intake.receiving


# Lengths -----------------------------------------------------------------------------------------------------------


async def test_a_length_can_be_said_later(resumption: Resumption, folder: Path) -> None:
    id = (await begun(resumption, None)).id
    assert (await resumption.append(id, a_piece(WAV[:10]))).size is None
    assert (await resumption.append(id, a_piece(WAV[10:20], 10, length=len(WAV)))).size == len(WAV)
    with pytest.raises(InconsistentLength):
        await resumption.append(id, a_piece(WAV[20:30], 20, length=len(WAV) + 1))
    await goes_on(resumption, folder, id)


async def test_a_length_said_with_nothing_can_be_the_end(resumption: Resumption, folder: Path) -> None:
    id = (await begun(resumption, None)).id
    await resumption.append(id, a_piece(WAV))
    await resumption.append(id, a_piece(b"", len(WAV), size=0, length=len(WAV)))
    await is_stored(resumption, folder, id)


@pytest.mark.parametrize("size", [len(WAV), None], ids=["length known", "length unknown"])
@pytest.mark.parametrize("counted", [True, False], ids=["piece counted", "piece open"])
async def test_the_end_can_be_said(resumption: Resumption, folder: Path, size: int | None, *, counted: bool) -> None:
    id = (await begun(resumption, size)).id
    await resumption.append(id, a_piece(WAV[:1000], last=False))
    rest = len(WAV) - 1000 if counted else None
    assert (await resumption.append(id, rest_of(WAV, 1000, last=True, size=rest))).stored
    await is_stored(resumption, folder, id)


async def test_an_end_that_is_not_said_is_not_the_end(resumption: Resumption, folder: Path) -> None:
    id = (await begun(resumption)).id
    assert (await resumption.append(id, a_piece(WAV, last=False))).stored is None
    await resumption.append(id, a_piece(b"", len(WAV), size=0, last=True))
    await is_stored(resumption, folder, id)


async def test_an_end_that_comes_too_early_is_not_the_end(resumption: Resumption, folder: Path) -> None:
    id = (await begun(resumption)).id
    with pytest.raises(InconsistentLength):
        await resumption.append(id, a_piece(WAV[:1000], last=True, size=1000))
    assert (await resumption.look(id)).offset == 0
    with pytest.raises(InconsistentLength):
        await resumption.append(id, a_piece(WAV[:1000], last=True))
    assert (await resumption.look(id)).offset == 1000
    await goes_on(resumption, folder, id)


async def test_a_length_said_by_who_breaks_off_does_not_make_it_look_whole(
    resumption: Resumption, folder: Path
) -> None:
    id = (await begun(resumption, None)).id
    await resumption.append(id, a_piece(WAV))
    with pytest.raises(Truncated):
        await resumption.append(id, a_piece(b"", len(WAV), length=len(WAV), failure=Truncated("gone")))
    upload = await resumption.look(id)
    assert (upload.status, upload.offset, upload.size) == (Status.RECEIVING, len(WAV), None)
    await resumption.append(id, a_piece(b"", len(WAV), length=len(WAV)))
    await is_stored(resumption, folder, id)


@pytest.mark.parametrize("length", [0, 999])
async def test_a_length_below_what_came_is_refused(resumption: Resumption, folder: Path, length: int) -> None:
    id = (await begun(resumption, None)).id
    await resumption.append(id, a_piece(WAV[:1000]))
    with pytest.raises(InconsistentLength):
        await resumption.append(id, a_piece(b"", 1000, length=length))
    await resumption.append(id, rest_of(WAV, 1000, last=True))
    await is_stored(resumption, folder, id)


@pytest.mark.parametrize("counted", [True, False], ids=["piece counted", "piece open"])
@pytest.mark.parametrize("partial", [True, False], ids=["partial", "plain"])
async def test_more_than_was_announced_ends_the_upload(
    resumption: Resumption, folder: Path, *, counted: bool, partial: bool
) -> None:
    upload = await begun(resumption, 1500, partial=partial)
    await resumption.append(upload.id, a_piece(WAV[:1000]))
    with pytest.raises(TooLarge):
        await resumption.append(upload.id, a_piece(WAV[1000:2000], 1000, size=1000 if counted else None))
    await is_rejected(resumption, folder, upload.id, "1500 bytes announced")


@pytest.mark.parametrize("said", [{"size": MIB}, {"length": MIB + 1}, {}], ids=["piece", "length", "open"])
async def test_more_than_the_limit_ends_the_upload(resumption: Resumption, folder: Path, said: dict[str, Any]) -> None:
    upload = await begun(resumption, None)
    await resumption.append(upload.id, a_piece(WAV))
    with pytest.raises(TooLarge):
        await resumption.append(upload.id, a_piece(bytes(MIB), len(WAV), **said))
    await is_rejected(resumption, folder, upload.id, "this server accepts")


async def test_an_upload_of_no_bytes_is_refused(resumption: Resumption, folder: Path) -> None:
    for said in ({"last": True, "size": 0}, {"last": True}, {"length": 0}):
        id = (await begun(resumption, None)).id
        with pytest.raises(Empty):
            await resumption.append(id, a_piece(b"", **said))
        await is_rejected(resumption, folder, id, "no bytes")


# Refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forgetful", [False, True], ids=["remembered", "rebuilt"])
@pytest.mark.parametrize("cut", [1, 1000, 65_535, 65_536, 199_999])
async def test_what_is_not_audio_is_refused_whenever_that_shows(
    resumption: Resumption, folder: Path, catalog_path: Path, cut: int, *, forgetful: bool
) -> None:
    id = (await begun(resumption)).id
    with suppress(NotAudio):
        await resumption.append(id, a_piece(NOT_AUDIO[:cut]))
        if forgetful:
            forget_digest(resumption, id)
        await resumption.append(id, rest_of(NOT_AUDIO, cut))
    await is_rejected(resumption, folder, id)
    assert query(catalog_path, "SELECT * FROM outbox") == []


async def test_what_does_not_decode_is_refused(resumption: Resumption, folder: Path) -> None:
    silence = audio.sample("mp3").content[:100]
    id = (await begun(resumption, len(silence))).id
    with pytest.raises(NotAudio):
        await resumption.append(id, a_piece(silence))
    await is_rejected(resumption, folder, id, "broken")


async def test_what_decodes_is_stored(resumption: Resumption, folder: Path) -> None:
    song = audio.sample("mp3").content
    id = (await begun(resumption, len(song))).id
    await resumption.append(id, a_piece(song[:500]))
    await goes_on(resumption, folder, id, song)


@pytest.mark.parametrize("forgetful", [False, True], ids=["remembered", "rebuilt"])
async def test_what_the_whole_must_hash_to_is_verified(
    resumption: Resumption, folder: Path, *, forgetful: bool
) -> None:
    id = (await begun(resumption, digests={"sha512": hashlib.sha512(OTHER).digest()})).id
    await resumption.append(id, a_piece(WAV[:70_000]))
    if forgetful:
        forget_digest(resumption, id)
    with pytest.raises(DigestMismatch):
        await resumption.append(id, rest_of(WAV, 70_000))
    await is_rejected(resumption, folder, id, "sha512")


async def test_an_archive_that_shows_at_the_end_is_refused(resumption: Resumption, folder: Path) -> None:
    archive = b"PK\x01\x02" + bytes(42) + b"PK\x05\x06" + bytes(8) + (46).to_bytes(4, "little") + bytes(6)
    id = (await begun(resumption, len(WAV + archive))).id
    await resumption.append(id, a_piece(WAV + archive[:10]))
    with pytest.raises(NotAudio, match="archive"):
        await resumption.append(id, rest_of(WAV + archive, len(WAV) + 10))
    await is_rejected(resumption, folder, id, "archive")


async def test_a_refusal_that_cannot_be_recorded_is_made_later(
    resumption: Resumption, folder: Path, catalog_path: Path
) -> None:
    id = (await begun(resumption)).id
    with locked(catalog_path), pytest.raises(IntakeError):
        await resumption.append(id, a_piece(NOT_AUDIO))
    with pytest.raises(NotAudio):
        await resumption.append(id, a_piece(NOT_AUDIO))
    await is_rejected(resumption, folder, id)


@pytest.mark.parametrize("partial", [True, False], ids=["partial", "plain"])
async def test_bytes_that_were_lost_end_the_upload(resumption: Resumption, folder: Path, *, partial: bool) -> None:
    id = (await begun(resumption, partial=partial)).id
    await resumption.append(id, a_piece(WAV[:100_000]))
    (folder / f"incoming/{id}.part").write_bytes(WAV[:99_999])
    for _ in range(2):
        with pytest.raises(IntakeError):
            await resumption.append(id, rest_of(WAV, 100_000))
    assert (await resumption._catalog.get(id)).status is Status.REJECTED


# Digests of one message --------------------------------------------------------------------------------------------


def summed(content: bytes, name: str = "sha1") -> dict[str, bytes]:
    """What a client says of the bytes it sends."""
    return {name: hashlib.new(name, content, usedforsecurity=False).digest()}


@pytest.mark.parametrize("forgetful", [False, True], ids=["remembered", "rebuilt"])
@pytest.mark.parametrize("garbage", [b"", b"x", NOT_AUDIO[:70_000], NOT_AUDIO], ids=len)
@pytest.mark.parametrize("start", [0, 1, 1000, 65_536, 199_999])
async def test_a_broken_message_changes_nothing(
    resumption: Resumption, folder: Path, start: int, garbage: bytes, *, forgetful: bool
) -> None:
    id = (await begun(resumption)).id
    await resumption.append(id, a_piece(WAV[:start], digests=summed(WAV[:start])))
    before = await resumption.look(id)
    garbage = garbage[: len(WAV) - start]
    for _ in range(2):
        with pytest.raises(ChecksumMismatch):
            await resumption.append(id, a_piece(garbage, start, digests=summed(b"other")))
        assert await resumption.look(id) == before
        if forgetful:
            forget_digest(resumption, id)
    await resumption.append(id, rest_of(WAV, start, digests=summed(WAV[start:])))
    await is_stored(resumption, folder, id)


@pytest.mark.parametrize("cut", [0, 1, 65_536, 199_998, 199_999])
async def test_a_message_that_breaks_off_counts_nothing_if_it_has_a_digest(
    resumption: Resumption, folder: Path, often: int, cut: int
) -> None:
    id = (await begun(resumption)).id
    await resumption.append(id, a_piece(WAV[:1]))
    told: list[int] = []

    async def hear(offset: int) -> None:
        told.append(offset)

    message = a_piece(WAV[1 : cut + 1], 1, failure=Truncated("gone"), digests=summed(WAV[1 : cut + 1]), durable=hear)
    with pytest.raises(Truncated):
        await resumption.append(id, message)
    assert ((await resumption.look(id)).offset, told) == (1, [])
    await goes_on(resumption, folder, id)


async def test_a_right_message_that_is_not_audio_ends_the_upload(resumption: Resumption, folder: Path) -> None:
    id = (await begun(resumption)).id
    with pytest.raises(NotAudio):
        await resumption.append(id, a_piece(NOT_AUDIO, digests=summed(NOT_AUDIO)))
    await is_rejected(resumption, folder, id)


async def test_after_a_broken_message_nothing_has_to_be_read_again(
    resumption: Resumption, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = (await begun(resumption, digests={"sha512": hashlib.sha512(WAV).digest()})).id
    await resumption.append(id, a_piece(WAV[:70_000]))
    (folder / f"incoming/{id}.part").write_bytes(bytes(70_000))  # who read it again would see this
    with pytest.raises(ChecksumMismatch):
        await resumption.append(id, a_piece(b"garbled", 70_000, digests={"md5": bytes(16)}))
    (folder / f"incoming/{id}.part").write_bytes(WAV[:70_000])
    await resumption.append(id, rest_of(WAV, 70_000))
    await is_stored(resumption, folder, id)


async def test_who_waits_for_bytes_to_be_read_again_can_be_superseded(resumption: Resumption, folder: Path) -> None:
    id = await paused(resumption)
    for _ in range(30):
        forget_digest(resumption, id)
        first = asyncio.create_task(resumption.append(id, rest_of(WAV[:2000], 1000)))
        await asyncio.sleep(0)
        upload = await resumption.look(id)
        with suppress(Superseded):
            await first
        if upload.offset == 1000 and (await resumption.look(id)).offset == 1000:
            break  # it never got to its own bytes
    else:
        pytest.fail("nobody was superseded")
    await goes_on(resumption, folder, id)


async def test_a_broken_last_message_is_no_wrong_digest_of_the_whole(resumption: Resumption, folder: Path) -> None:
    id = (await begun(resumption, digests={"sha256": hashlib.sha256(WAV).digest()})).id
    with pytest.raises(ChecksumMismatch):
        await resumption.append(id, a_piece(WAV[:-1] + b"?", digests=summed(WAV)))
    await goes_on(resumption, folder, id)


async def test_a_broken_message_says_no_length(resumption: Resumption, folder: Path) -> None:
    id = (await begun(resumption, None)).id
    with pytest.raises(ChecksumMismatch):
        await resumption.append(id, a_piece(WAV[:1000], length=1000, digests=summed(WAV)))
    await resumption.append(id, a_piece(WAV, length=len(WAV), digests=summed(WAV, "md5") | summed(WAV)))
    await is_stored(resumption, folder, id)


# Running digests ---------------------------------------------------------------------------------------------------


async def test_more_uploads_than_are_kept_in_memory(
    resumption: Resumption, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examinations_module, "KEPT", 2)
    uploads = [(await begun(resumption)).id for _ in range(5)]
    rng = random.Random(3)
    offsets = dict.fromkeys(uploads, 0)
    for _ in range(40):
        id = rng.choice(uploads)
        end = min(len(WAV) - 1, offsets[id] + rng.randrange(30_000))
        await resumption.append(id, a_piece(WAV[offsets[id] : end], offsets[id]))
        offsets[id] = end
        assert len(resumption._examinations._kept) <= 2
    await asyncio.gather(*(goes_on(resumption, folder, id) for id in uploads))


async def test_another_process_goes_on_where_this_one_stopped(resumption: Resumption, folder: Path) -> None:
    id = (await begun(resumption)).id
    for cut in range(0, len(WAV), 20_001):
        await resumption.append(id, a_piece(WAV[cut : cut + 20_001], cut))
        resumption = Resumption(resumption._intake, DAY)
    await is_stored(resumption, folder, id)


# Where storage fails -----------------------------------------------------------------------------------------------


async def test_a_locked_catalog_withholds_the_end(resumption: Resumption, folder: Path, catalog_path: Path) -> None:
    for cut in (0, 1000, 199_999):
        id = (await begun(resumption)).id
        await resumption.append(id, a_piece(WAV[:cut]))
        with locked(catalog_path), pytest.raises(Busy):
            await resumption.append(id, rest_of(WAV, cut))
        assert (await resumption.look(id)).offset == cut
        await goes_on(resumption, folder, id)


async def test_a_full_catalog_withholds_the_end(resumption: Resumption, folder: Path, catalog: SqlCatalog) -> None:
    id = await paused(resumption)

    async def full() -> AsyncIterator[bytes]:
        yield WAV[1000:]
        await small(catalog)
        with pytest.raises(StorageFull):
            await resumption.create(Declared(), metadata={"text": "x" * 1_000_000}, echo={})

    with suppress(StorageFull):
        await resumption.append(id, Piece(1000, full(), unmoved))
    upload = await resumption._catalog.get(id)
    assert upload.stored is not None or upload.offset < len(WAV)
    await pragma(catalog, "max_page_count=100000")
    await goes_on(resumption, folder, id)


async def after_the_last_byte(content: bytes, happens: Callable[[], object]) -> AsyncIterator[bytes]:
    """Something happens between the last byte and what is made of the upload."""
    yield content
    happens()


async def test_a_catalog_that_does_not_take_the_record_withholds_the_end(
    resumption: Resumption, folder: Path, catalog_path: Path
) -> None:
    id = await paused(resumption)
    query(catalog_path, "ALTER TABLE outbox RENAME TO lost")
    with pytest.raises(StorageFailed):
        await resumption.append(id, rest_of(WAV, 1000))
    query(catalog_path, "ALTER TABLE lost RENAME TO outbox")
    assert (await resumption.look(id)).offset == 1000
    await goes_on(resumption, folder, id)


async def test_an_end_of_unknown_outcome_can_be_sent_again(
    resumption: Resumption, folder: Path, catalog_path: Path
) -> None:
    id = await paused(resumption)
    lost = after_the_last_byte(WAV[1000:], lambda: query(catalog_path, "ALTER TABLE uploads RENAME TO lost"))
    with pytest.raises(StorageFailed):
        await resumption.append(id, Piece(1000, lost, unmoved))
    query(catalog_path, "ALTER TABLE lost RENAME TO uploads")
    await goes_on(resumption, folder, id)


async def test_an_end_of_unknown_outcome_is_settled_after_a_restart(
    resumption: Resumption, folder: Path, catalog_path: Path
) -> None:
    id = await paused(resumption)
    lost = after_the_last_byte(WAV[1000:], lambda: query(catalog_path, "ALTER TABLE uploads RENAME TO lost"))
    with pytest.raises(StorageFailed):
        await resumption.append(id, Piece(1000, lost, unmoved))
    query(catalog_path, "ALTER TABLE lost RENAME TO uploads")
    await recover(resumption._store, resumption._catalog)
    await goes_on(Resumption(resumption._intake, DAY), folder, id)


async def test_an_end_that_cannot_be_taken_back_can_be_sent_again(
    resumption: Resumption, catalog: SqlCatalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await paused(resumption)
    with ExitStack() as short, monkeypatch.context() as patch:

        async def refuse(*_: object) -> None:
            short.enter_context(no_descriptors())
            raise StorageFull("There is no room.")

        patch.setattr(catalog, "settle", refuse)
        with short, pytest.raises(IntakeError):
            await resumption.append(id, rest_of(WAV, 1000))
    await goes_on(resumption, folder, id)


async def test_an_end_that_cannot_be_published_can_be_sent_again(resumption: Resumption, folder: Path) -> None:
    id = await paused(resumption)
    descriptors = ExitStack()
    short = after_the_last_byte(WAV[1000:], lambda: (folder / f"audio/{id.hex[:2]}").rename(folder / "away"))
    with descriptors, pytest.raises(IntakeError):
        await resumption.append(id, Piece(1000, short, unmoved))
    (folder / "away").rename(folder / f"audio/{id.hex[:2]}")
    await goes_on(resumption, folder, id)


async def test_an_end_that_is_half_published_can_be_sent_again(
    resumption: Resumption, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is there, but cannot be made durable, nor taken away."""
    id = await paused(resumption)
    with monkeypatch.context() as patch:

        def fail(_: object, **__: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        patch.setattr(fsio, "fsync", fail)
        patch.setattr(fsio, "unlink", fail)
        with pytest.raises(StorageFailed):
            await resumption.append(id, rest_of(WAV, 1000))
    await goes_on(resumption, folder, id)


async def test_what_cannot_be_discarded_is_stored_all_the_same(resumption: Resumption, folder: Path) -> None:
    id = await paused(resumption)
    (folder / "incoming/other").mkdir()
    with capture_logs() as logs:
        await goes_on(resumption, folder, id)
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == []


async def test_a_catalog_that_is_locked_on_the_way_leaves_the_last_record(
    resumption: Resumption, folder: Path, catalog_path: Path, often: int
) -> None:
    id = (await begun(resumption)).id
    short = ExitStack()

    async def lock(_: int) -> None:
        short.enter_context(locked(catalog_path))

    with short, pytest.raises(Busy):
        await resumption.append(id, a_piece(WAV, durable=lock))
    assert often <= (await resumption.look(id)).offset < 2 * often
    await goes_on(resumption, folder, id)


@as_root
@pytest.mark.parametrize("messaged", [False, True], ids=["plain", "with a digest"])
async def test_a_disk_that_fills_up_leaves_the_last_record(
    tmp_path: Path, catalog: SqlCatalog, often: int, *, messaged: bool
) -> None:
    large = b"".join(audio.long_wav(900 * KIB))
    inspector = Inspector(workers=1, timeout=60, memory=256 * MIB)
    with memory_disk(tmp_path / "tiny", "size=2m") as tiny:
        root = tiny / "data"
        with disk_store(root) as store, upload_locks(root) as locks:
            resumption = Resumption(Intake(store, catalog, inspector, locks, Rules(MIB, CORE)), DAY)
            id = (await begun(resumption, None)).id
            await resumption.append(id, a_piece(large[:100_000]))
            (tiny / "other").write_bytes(bytes(2 * MIB - 600 * KIB - len(large[:100_000])))
            digests = summed(large[100_000:]) if messaged else {}
            with pytest.raises(StorageFull):
                await resumption.append(id, rest_of(large, 100_000, digests=digests))
            kept = (await resumption.look(id)).offset
            assert kept == 100_000 if messaged else 100_000 + often <= kept < len(large)
            (tiny / "other").unlink()
            await resumption.append(id, rest_of(large, kept, last=True))
            await is_stored(resumption, root, id, large)


async def test_there_must_be_room_for_all_of_it(resumption: Resumption, folder: Path, catalog: SqlCatalog) -> None:
    with pytest.raises(TooLarge):
        await begun(resumption, 2**60)
    roomy = Resumption(
        Intake(resumption._store, catalog, resumption._intake.inspector, resumption._locks, Rules(2**62, CORE)), DAY
    )
    with pytest.raises(StorageFull):
        await begun(roomy, 2**60)
    id = (await begun(roomy, None)).id
    with pytest.raises(StorageFull):
        await roomy.append(id, a_piece(WAV, length=2**60))
    assert (await roomy.look(id)).size is None
    await goes_on_without_length(roomy, folder, id)


async def goes_on_without_length(resumption: Resumption, folder: Path, id: UUID) -> None:
    await resumption.append(id, rest_of(WAV, 0, last=True))
    await is_stored(resumption, folder, id)


# Concatenation -----------------------------------------------------------------------------------------------------


async def joined(resumption: Resumption, *parts: UUID, **said: Any) -> Upload:
    declared = Declared(filename="whole.wav", **said)
    return await resumption.concatenate(parts, declared, metadata={}, echo={"Upload-Concat": "final"})


async def test_parts_become_one_recording_and_can_be_used_again(
    resumption: Resumption, folder: Path, catalog_path: Path
) -> None:
    first, second = await part(resumption, WAV[:70_001]), await part(resumption, WAV[70_001:])
    for _ in range(2):
        upload = await joined(resumption, first, second, digests={"sha512": hashlib.sha512(WAV).digest()})
        assert await is_stored(resumption, folder, upload.id) == upload
    twice = await joined(resumption, first, second, second)
    await is_stored(resumption, folder, twice.id, WAV + WAV[70_001:])
    assert len(query(catalog_path, "SELECT * FROM outbox")) == 3
    listed = await resumption._catalog.list(9, status=None, after=None)
    assert first not in {one.id for one in listed}
    assert len(listed) == 3


async def test_what_is_made_of_others_takes_no_bytes(resumption: Resumption, folder: Path) -> None:
    parts = [await part(resumption, WAV[:1000]), await part(resumption, WAV[1000:])]
    whole = await resumption.concatenate(parts, Declared(), metadata={}, echo={})
    for piece in (a_piece(b"more", len(WAV)), a_piece(b"", len(WAV), size=0), a_piece(b"x", 0)):
        with pytest.raises(Complete):
            await resumption.append(whole.id, piece)
    await is_stored(resumption, folder, whole.id)


async def test_a_part_need_not_look_like_audio(resumption: Resumption, folder: Path) -> None:
    head, tail = await part(resumption, WAV[:1]), await part(resumption, WAV[1:])
    await is_stored(resumption, folder, (await joined(resumption, head, tail)).id)


async def leaves_no_new_row(resumption: Resumption, work: Awaitable[object], reason: type[IntakeError]) -> None:
    before = await resumption._catalog.list(99, status=None, after=None)
    with pytest.raises(reason):
        await work
    assert await resumption._catalog.list(99, status=None, after=None) == before


@pytest.mark.parametrize("state", [unknown, deleted, fresh, paused, stored, expired], ids=lambda state: state.__name__)
async def test_only_complete_parts_are_concatenated(
    resumption: Resumption, folder: Path, state: Callable[[Resumption], Awaitable[UUID]]
) -> None:
    good, other = await part(resumption, WAV), await state(resumption)
    before = files(folder)
    await leaves_no_new_row(resumption, joined(resumption, good, other), Malformed)
    assert files(folder) == before


async def test_an_incomplete_part_is_not_concatenated(resumption: Resumption) -> None:
    incomplete = (await begun(resumption, partial=True)).id
    open_ended = (await begun(resumption, None, partial=True)).id
    await resumption.append(incomplete, a_piece(WAV[:-1]))
    await resumption.append(open_ended, a_piece(WAV))
    for one in (incomplete, open_ended):
        await leaves_no_new_row(resumption, joined(resumption, one), Malformed)


async def test_parts_that_are_too_much_together(resumption: Resumption, folder: Path) -> None:
    one = await part(resumption, b"".join(audio.long_wav(MIB)))
    before = files(folder)
    await leaves_no_new_row(resumption, joined(resumption, one, one), TooLarge)
    assert files(folder) == before


async def test_no_parts_are_no_upload(resumption: Resumption, folder: Path) -> None:
    await leaves_no_new_row(resumption, joined(resumption), IntakeError)
    assert files(folder) == []


async def test_parts_that_make_no_audio_are_remembered_as_refused(resumption: Resumption, folder: Path) -> None:
    one = await part(resumption, NOT_AUDIO)
    with pytest.raises(NotAudio):
        await joined(resumption, one)
    (upload,) = await resumption._catalog.list(9, status=Status.REJECTED, after=None)
    await is_rejected(resumption, folder, upload.id)
    assert (await resumption.look(one)).offset == len(NOT_AUDIO)


async def test_a_part_that_is_lost_on_the_way_leaves_no_upload(resumption: Resumption, folder: Path) -> None:
    first, second = await part(resumption, WAV[:100_000]), await part(resumption, WAV[100_000:])
    (folder / f"incoming/{second}.part").unlink()
    await leaves_no_new_row(resumption, joined(resumption, first, second), Truncated)
    assert files(folder) == [f"incoming/{first}.part"]


async def test_parts_deleted_at_any_moment(resumption: Resumption, folder: Path) -> None:
    for turns in range(0, 300, 6):
        first, second = await part(resumption, WAV[:100_000]), await part(resumption, WAV[100_000:])
        joining = asyncio.create_task(joined(resumption, first, second))
        for _ in range(turns):
            await asyncio.sleep(0)
        for one in (first, second):
            await resumption._intake.remove(one)
        with suppress(Malformed, Truncated):
            await is_stored(resumption, folder, (await joining).id)
    assert await resumption._catalog.list(99, status=Status.RECEIVING, after=None) == []
    assert list((folder / "incoming").iterdir()) == []


async def test_a_concatenation_that_cannot_be_recorded_leaves_no_upload(
    resumption: Resumption, folder: Path, catalog_path: Path
) -> None:
    one = await part(resumption, WAV)
    query(catalog_path, "ALTER TABLE outbox RENAME TO lost")
    await leaves_no_new_row(resumption, joined(resumption, one), StorageFailed)
    query(catalog_path, "ALTER TABLE lost RENAME TO outbox")
    assert files(folder) == [f"incoming/{one}.part"]
    await is_stored(resumption, folder, (await joined(resumption, one)).id)


# Lifetimes ---------------------------------------------------------------------------------------------------------


async def test_what_nobody_continues_expires_is_remembered_and_forgotten(
    resumption: Resumption, folder: Path, catalog_path: Path
) -> None:
    id, other = await overdue(resumption), await paused(resumption)
    assert await sweep(resumption._intake) == 1
    assert files(folder) == [f"incoming/{other}.part"]
    upload = await resumption._catalog.get(id)
    assert (upload.status, upload.offset) == (Status.EXPIRED, 1000)
    assert upload.expires_at is not None
    assert upload.expires_at > datetime.now(UTC) + timedelta(days=6)
    assert await sweep(resumption._intake) == 0
    query(catalog_path, "UPDATE uploads SET expires_at = 1 WHERE status = 'expired'")
    assert await sweep(resumption._intake) == 1
    with pytest.raises(NotFound):
        await resumption.look(id)
    await goes_on(resumption, folder, other)


async def test_a_refusal_is_forgotten(resumption: Resumption, catalog_path: Path) -> None:
    id = await rejected(resumption)
    assert await sweep(resumption._intake) == 0
    query(catalog_path, "UPDATE uploads SET expires_at = 1")
    assert await sweep(resumption._intake) == 1
    with pytest.raises(NotFound):
        await resumption.look(id)


async def test_what_is_stored_never_expires(resumption: Resumption, folder: Path) -> None:
    id = await stored(resumption)
    broken_one = await damaged(resumption)
    assert await resumption._catalog.overdue(datetime(9999, 1, 1, tzinfo=UTC), 9) == []
    assert await sweep(resumption._intake) == 0
    await is_stored(resumption, folder, id)
    assert (await resumption.look(broken_one)).stored


async def test_each_piece_prolongs_the_life(resumption: Resumption, often: int) -> None:
    id = (await begun(resumption)).id
    ends: list[datetime | None] = []

    async def hear(_: int) -> None:
        ends.append((await resumption._catalog.get(id)).expires_at)

    soon = datetime.now(UTC) + timedelta(minutes=1)
    await resumption._catalog.advance(replace(await resumption.look(id), expires_at=soon))
    upload = await resumption.append(id, a_piece(WAV[:-1], durable=hear))
    assert upload.expires_at is not None
    assert [end is not None and soon < end <= upload.expires_at for end in ends] == [True] * len(ends) != []
    assert upload == await resumption.look(id)


async def test_a_part_in_use_does_not_expire(resumption: Resumption, folder: Path) -> None:
    id = (await begun(resumption)).id
    sender = Sender(WAV)
    appending = asyncio.create_task(resumption.append(id, sender.piece()))
    await sender.reading.wait()
    await is_overdue(resumption, id)
    assert await sweep(resumption._intake) == 0
    sender.allow(100)
    await asyncio.sleep(0)
    assert await sweep(resumption._intake) == 0
    sender.interrupt(Truncated("gone"))
    with pytest.raises(Truncated):
        await appending
    assert await sweep(resumption._intake) == 0
    await goes_on(resumption, folder, id)


async def test_uploads_in_use_do_not_keep_others_from_expiring(
    resumption: Resumption, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry_module, "PAGE", 2)
    held = [(await begun(resumption)).id for _ in range(3)]
    for id in held:
        await is_overdue(resumption, id)
    others = [await paused(resumption) for _ in range(5)]
    for id in others:
        upload = await resumption.look(id)
        await resumption._catalog.advance(replace(upload, expires_at=EARLIER + timedelta(days=1)))
    async with AsyncExitStack() as holding:
        for id in held:
            await holding.enter_async_context(resumption._locks.hold(id, unmoved))
        assert await sweep(resumption._intake) == 5


async def test_many_pages_of_overdue_uploads(
    resumption: Resumption, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry_module, "PAGE", 3)
    for _ in range(8):
        await is_overdue(resumption, await paused(resumption))
    assert await sweep(resumption._intake) == 8
    assert files(folder) == []


async def test_swept_while_it_is_deleted_or_continued(resumption: Resumption, folder: Path) -> None:
    for turns in range(0, 120, 3):
        id = await paused(resumption)
        await is_overdue(resumption, id)
        work = [
            resumption._intake.remove(id),
            resumption.append(id, a_piece(WAV[1000:2000], 1000)),
            resumption.look(id),
        ]
        tasks = [asyncio.create_task(one) for one in work[turns % 3 :]]
        for _ in range(turns):
            await asyncio.sleep(0)
        await sweep(resumption._intake)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {type(None), Gone, NotFound}
        for one in work[: turns % 3]:
            one.close()
        await sweep(resumption._intake)
        assert files(folder) == []


# One writer an upload ----------------------------------------------------------------------------------------------


async def test_a_latecomer_takes_over_where_the_other_stopped(resumption: Resumption, folder: Path) -> None:
    id = (await begun(resumption)).id
    sender = Sender(WAV)
    appending = asyncio.create_task(resumption.append(id, sender.piece()))
    await sender.reading.wait()
    sender.allow(70)
    await asyncio.sleep(0.01)
    found = await resumption.look(id)
    with pytest.raises(Superseded):
        await appending
    assert found.offset == (await resumption._catalog.get(id)).offset
    await goes_on(resumption, folder, id)


async def test_who_does_not_let_go_is_left_alone(resumption: Resumption, folder: Path) -> None:
    intake = resumption._intake
    id = (await begun(resumption)).id
    resumption._locks._patience = 0.05
    sender = Sender(WAV)
    appending = asyncio.create_task(resumption.append(id, Piece(0, sender.chunks(), unmoved)))
    await sender.reading.wait()
    for attempt in (resumption.look(id), resumption.append(id, a_piece(WAV)), intake.remove(id)):
        with pytest.raises(Locked):
            await attempt
    sender.allow(1000)
    await appending
    await is_stored(resumption, folder, id)


async def test_deleting_ends_who_is_writing(resumption: Resumption, folder: Path) -> None:
    id = (await begun(resumption)).id
    sender = Sender(WAV)
    appending = asyncio.create_task(resumption.append(id, sender.piece()))
    await sender.reading.wait()
    sender.allow(70)
    await resumption._intake.remove(id)
    with pytest.raises(Superseded):
        await appending
    assert files(folder) == []
    with pytest.raises(NotFound):
        await resumption.look(id)


class Crowd:
    """Clients who all want to do something with one upload, at once."""

    def __init__(self, resumption: Resumption, id: UUID, seed: int) -> None:
        self._resumption = resumption
        self._id = id
        self._random = random.Random(seed)
        self.stored = 0
        """How many sent the last byte."""

    async def send(self) -> None:
        """Look where it stands, and send the rest from there on; until it is stored, or deleted. Who meets others waits
        longer each time, as clients do."""
        pause = 0.001
        while True:
            try:
                offset = (await self._resumption.look(self._id)).offset
                if offset == len(WAV):
                    return
                await self._resumption.append(self._id, self._piece(offset))
                self.stored += 1
            except (Superseded, OffsetMismatch, Complete, Truncated):
                await asyncio.sleep(self._random.random() * pause)
                pause *= 2
            except NotFound:
                return

    async def look(self) -> None:
        for _ in range(3):
            await asyncio.sleep(self._random.random() / 100)
            with suppress(NotFound):
                await self._resumption.look(self._id)

    async def delete(self) -> None:
        await asyncio.sleep(self._random.random() / 50)
        await self._resumption._intake.remove(self._id)

    def _piece(self, offset: int) -> Piece:
        sender = Sender(WAV[offset:], self._random.choice((5000, 70_000, 200_000)))
        sender.allow(100)
        if self._random.random() < 0.3:
            return Piece(offset, broken(WAV[offset : offset + 30_000], Truncated("gone")), sender.interrupt)
        return sender.piece(offset)


@pytest.mark.parametrize("deleting", [False, True], ids=["to the end", "deleted meanwhile"])
async def test_many_at_one_upload(resumption: Resumption, folder: Path, *, deleting: bool) -> None:
    for seed in range(50):
        id = (await begun(resumption)).id
        crowd = Crowd(resumption, id, seed)
        work = [crowd.send(), crowd.look(), crowd.send(), crowd.send()]
        async with asyncio.timeout(60):
            await asyncio.gather(*work, *([crowd.delete()] if deleting else []))
        if deleting:
            assert files(folder) == []
        else:
            assert crowd.stored == 1
            await is_stored(resumption, folder, id)
            await resumption._intake.remove(id)


# Cancelled ---------------------------------------------------------------------------------------------------------


async def cancelled_after(turns: int, work: asyncio.Task[Upload]) -> bool:
    """Cancel after so many turns of the loop; whether that came in time."""
    for _ in range(turns):
        await asyncio.sleep(0)
    work.cancel()
    try:
        await work
    except asyncio.CancelledError:
        return True
    return False


@pytest.mark.parametrize("start", [0, 1000])
@pytest.mark.parametrize("end", [70_000, len(WAV)])
async def test_cancelled_anywhere_it_can_go_on(
    resumption: Resumption, folder: Path, often: int, start: int, end: int
) -> None:
    in_time = 0
    for turns in range(0, 320, 8):
        id = (await begun(resumption)).id
        await resumption.append(id, a_piece(WAV[:start]))
        work = asyncio.create_task(resumption.append(id, a_piece(WAV[start:end], start)))
        in_time += await cancelled_after(turns, work)
        await goes_on(resumption, folder, id)
    assert in_time > 10


async def test_cancelled_anywhere_a_refusal_leaves_no_bytes(resumption: Resumption, folder: Path) -> None:
    for turns in range(0, 320, 8):
        id = (await begun(resumption)).id
        work = asyncio.create_task(resumption.append(id, a_piece(NOT_AUDIO)))
        with suppress(NotAudio):
            await cancelled_after(turns, work)
        with suppress(NotAudio, Gone):
            await resumption.append(id, a_piece(NOT_AUDIO))
        await is_rejected(resumption, folder, id)


async def test_cancelled_anywhere_a_creation_leaves_a_record_or_nothing(resumption: Resumption, folder: Path) -> None:
    for turns in range(60):
        await cancelled_after(turns, asyncio.create_task(begun(resumption)))
        for _ in range(20):
            await asyncio.sleep(0)
        await resumption._catalog.known([])
        known = await resumption._catalog.list(99, status=None, after=None)
        assert files(folder) == sorted(f"incoming/{upload.id}.part" for upload in known)


async def test_what_was_cancelled_records_nothing_afterwards(
    resumption: Resumption, folder: Path, catalog: SqlCatalog, catalog_path: Path
) -> None:
    await pragma(catalog, "busy_timeout=5000")
    id = (await begun(resumption)).id
    with locked(catalog_path):
        first = asyncio.create_task(resumption.append(id, a_piece(WAV[:1000])))
        await asyncio.wait([first], timeout=0.2)  # it waits for the catalog now
        assert len(bytes_of(folder, id)) == 1000
        first.cancel()
        second = asyncio.create_task(resumption.append(id, a_piece(NOT_AUDIO[:5000], digests=summed(b"other"))))
        await asyncio.wait([second], timeout=0.5)
    with pytest.raises(asyncio.CancelledError):
        await first
    with pytest.raises((ChecksumMismatch, OffsetMismatch)):
        await second
    await catalog.advance(await begun(resumption))  # behind everything that waited before
    await goes_on(resumption, folder, id)


async def test_cancelled_anywhere_a_concatenation_is_whole_or_can_be_deleted(
    resumption: Resumption, folder: Path
) -> None:
    one = await part(resumption, WAV)
    for turns in range(0, 300, 6):
        await cancelled_after(turns, asyncio.create_task(joined(resumption, one)))
        for upload in await resumption._catalog.list(99, status=None, after=None):
            if upload.stored:
                await is_stored(resumption, folder, upload.id)
            await resumption._intake.remove(upload.id)
        assert files(folder) == [f"incoming/{one}.part"]
