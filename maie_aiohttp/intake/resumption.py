"""The story of an upload that comes in pieces: created, continued, looked at, and settled like any other.

Each piece is one request. What of it arrived is durable and recorded at its end, also where the client is lost, and
on the way every 5 MiB, or every ten seconds where it comes slowly; a piece with a digest of its own counts whole or not
at all. Clients are only told recorded offsets; and that an upload has all of its bytes they are only told once it is
stored, since some take that for the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import structlog

from maie_aiohttp.concurrency import to_its_end
from maie_aiohttp.credentials import WITHOUT_KEY, Caller
from maie_aiohttp.errors import (
    Damaged,
    Gone,
    IntakeError,
    Malformed,
    NotFound,
    NotPermitted,
    OverQuota,
    Rejected,
    StorageFailed,
    Truncated,
)
from maie_aiohttp.inspection.checks import Check, Message, over_quota, too_large, too_long
from maie_aiohttp.intake.delivery import REMEMBERED, Intake
from maie_aiohttp.intake.examinations import Examinations
from maie_aiohttp.intake.locks import uninterruptible
from maie_aiohttp.intake.pieces import Arrival, Interruption, Piece, agreed, check_open
from maie_aiohttp.intake.screening import Screening
from maie_aiohttp.intake.settlement import Received
from maie_aiohttp.interfaces import Ahead, Content
from maie_aiohttp.model import Declared, Metadata, Status, Terms, Upload

CONCATENATIONS = 2
"""How many run at a time: each copies as many bytes as the upload has, for a request of a few hundred."""

log = structlog.get_logger()


class Resumption:
    """Takes uploads in piece by piece."""

    def __init__(self, intake: Intake, lifetime: timedelta, *, workers: int = 1) -> None:
        """One of so many `workers`, which share what is bounded here."""
        self._intake = intake
        self._store = intake.store
        self._catalog = intake.catalog
        self._locks = intake.locks
        self._claims = intake.claims
        self._examinations = Examinations(
            intake.store, intake.rules.formats, max_duration=intake.rules.max_duration, workers=workers
        )
        self._screening = Screening(intake)
        self.lifetime = lifetime
        """How long an upload is kept that nobody continues."""
        self._concatenations = asyncio.Semaphore(max(1, CONCATENATIONS // workers))

    async def create(
        self,
        declared: Declared,
        *,
        metadata: Metadata,
        echo: Mapping[str, str],
        caller: Caller = WITHOUT_KEY,
        partial: bool = False,
    ) -> Upload:
        """Begin an upload of the caller; `declared.at_most` is its length, None if that is not known yet. Raises what
        `Intake.delivery` raises; `NotPermitted` where it was to be a part, and comes with a token."""
        if partial:
            _check_parts(caller)
        terms = Terms(declared.media_type, declared.digests, echo, partial)
        with self._locks.own(id := uuid4()):
            return await self._create(id, declared, metadata, terms, caller)

    async def _create(self, id: UUID, declared: Declared, metadata: Metadata, terms: Terms, caller: Caller) -> Upload:
        claim = await self._intake.admit(declared, caller)
        terms = replace(terms, token=caller.token_id, max_size=caller.max_size)
        now = datetime.now(UTC)
        upload = Upload(
            id=id,
            status=Status.RECEIVING,
            filename=declared.filename,
            size=declared.at_most,
            offset=0,
            created_at=now,
            metadata=metadata,
            terms=terms,
            expires_at=now + self.lifetime,
            owner=caller.owner,
        )
        try:
            await self._intake.tokens.take(id, caller)
            need = self._intake.need(declared, caller)
            async with self._intake.quotas.reserved_for(id, caller, need) as reservation:
                upload = replace(upload, terms=replace(terms, reserved=reservation.size))
                await to_its_end(self._record(upload))
                reservation.keep()
        except BaseException:
            claim.release()
            raise
        self._claims.keep(upload.id, claim)
        self._intake.owners.note(upload)
        self._intake.hub.publish(upload)
        log.info("upload begun", upload=str(upload.id), size=upload.size)
        return upload

    async def append(self, id: UUID, piece: Piece) -> Upload:
        """Take the piece in, and settle the upload if it is complete now: the result then has `stored`, unless it is
        partial. An empty piece at the end of a stored upload is no error.

        Raises `NotFound`, `Gone`, `Complete`, `OffsetMismatch`, `InconsistentLength`, `Locked`; before a byte is read,
        where that is possible. `Interrupted` is raised once everything before is recorded. `ChecksumMismatch` leaves
        the upload as it was. What is `Rejected` ends it for good.
        """
        interruption = Interruption(piece.interrupt)
        async with self._locks.hold(id, interruption):
            upload = agreed(await self._catalog.get(id), piece)
            if upload.stored is not None:
                return upload
            await self._screening.take_back(upload)
            return await self._continue(upload, piece, interruption)

    async def look(self, id: UUID) -> Upload:
        """The upload at rest: whoever is writing is asked to stop first. Raises `NotFound`, `Gone`, `Locked`."""
        async with self._locks.hold(id, uninterruptible):
            upload = await self._catalog.get(id)
        check_open(upload)
        return upload

    async def concatenate(
        self,
        parts: Sequence[UUID],
        declared: Declared,
        *,
        metadata: Metadata,
        echo: Mapping[str, str],
        caller: Caller = WITHOUT_KEY,
    ) -> Upload:
        """Store complete partial uploads, one behind the other, as one upload of the caller. They stay, and can be used
        again. Raises `Malformed` if one of them is not within the caller's reach, not partial, or not complete, and
        what `append` and `create` raise."""
        _check_parts(caller)
        async with self._concatenations:
            sizes = [await self._size_of_part(id, caller) for id in parts]
            terms = Terms(declared.media_type, declared.digests, echo, final=True)
            with self._locks.own(id := uuid4()):
                whole = await self._create(id, replace(declared, at_most=sum(sizes)), metadata, terms, caller)
                return await self._join(whole, Piece(0, self._parts(parts, sizes), uninterruptible, size=whole.size))

    async def _join(self, whole: Upload, piece: Piece) -> Upload:
        try:
            async with self._locks.hold(whole.id, uninterruptible):
                return await self._continue(whole, piece, Interruption(uninterruptible))
        except (Rejected, OverQuota):  # its record tells why
            raise
        except IntakeError:
            await self._intake.remove(whole.id)  # nobody was told of it
            raise

    async def _record(self, upload: Upload) -> None:
        await self._store.begin(self._store.locator_of(upload.id))
        try:
            await self._catalog.create(upload)
        except StorageFailed:  # it may be recorded
            raise
        except Exception:
            await self._intake.discard(upload.id)
            raise

    async def _continue(self, upload: Upload, piece: Piece, interruption: Interruption) -> Upload:
        arrival = Arrival(upload, piece, upload.limited(self._intake.rules.max_size))
        try:
            await self._check_room(upload, piece)
            upload = await self._examine(upload, piece, arrival, interruption)
        except (Rejected, OverQuota, Damaged) as error:
            await to_its_end(self._reject(upload, error))
            raise
        if arrival.failure is not None:
            raise arrival.failure
        return upload

    async def _check_room(self, upload: Upload, piece: Piece) -> None:
        """Refuse what is known to be too much before it is read."""
        end = upload.offset + (piece.size or 0)
        if upload.size is not None and end > upload.size:
            raise too_long(upload.size)
        size = max(end, upload.size or 0)
        max_size = upload.limited(self._intake.rules.max_size)
        if size > max_size:
            raise too_large(max_size)
        if upload.reserved is not None and size > upload.reserved:
            raise over_quota(upload.reserved)
        await self._claims.ensure(upload.id, size - upload.offset)

    async def _examine(self, upload: Upload, piece: Piece, arrival: Arrival, interruption: Interruption) -> Upload:
        if upload.is_partial:
            return await self._pause(upload, arrival, await self._write(upload, piece, arrival, Check()))
        examination = await self._examinations.take(upload, interruption.check)
        if piece.digests:  # these bytes may not count
            self._examinations.keep(upload, deepcopy(examination))
        size = await self._write(upload, piece, arrival, examination)
        if arrival.ends_at(size):
            return await self._settle(Received(upload, size, examination.findings()))
        paused = await self._pause(upload, arrival, size)
        if paused.offset == size:
            self._examinations.keep(paused, examination)
        return paused

    async def _write(self, upload: Upload, piece: Piece, arrival: Arrival, check: Check) -> int:
        """Returns how many bytes there are now."""
        message = Message(piece.digests, check)

        def conclude(content: Content) -> None:
            if arrival.failure is None:
                message.finish(content)
            if arrival.ends_at(content.size):
                check.finish(content)

        async def advance(offset: int) -> None:
            if not piece.digests and offset != upload.size:
                await self._catalog.advance(self._at(upload, offset))
                await piece.durable(offset)

        with self._intake.hub.reception(upload, arrival.progress):
            return await self._store.append(
                self._store.locator_of(upload.id),
                upload.offset,
                arrival.chunks(),
                message.feed,
                conclude,
                advance=advance,
                ahead=Ahead(piece.size, self._claims[upload.id], piece.taken),
            )

    async def _pause(self, upload: Upload, arrival: Arrival, size: int) -> Upload:
        if arrival.failure is not None and size == upload.offset:
            return upload  # nothing came; nor may what the request said of the length make the upload look complete
        paused = self._at(upload, arrival.offset_after(size))
        await self._catalog.advance(paused)
        self._claims.pause(paused)
        log.info("upload paused", upload=str(upload.id), offset=paused.offset, size=paused.size)
        return paused

    async def _settle(self, received: Received) -> Upload:
        await self._intake.inspect(received)
        async with self._screening.passed(received):
            (upload,) = await self._intake.settlement().settle([received], charge=received.upload.charge)
        self._claims.end(upload.id)
        return upload

    async def _reject(self, upload: Upload, error: IntakeError) -> None:
        until = datetime.now(UTC) + REMEMBERED
        await self._catalog.move(upload.id, Status.REJECTED, reason=str(error), expires_at=until)
        self._examinations.forget(upload.id)
        self._intake.hub.publish(replace(upload, status=Status.REJECTED, reason=str(error), expires_at=until))
        await self._intake.discard(upload.id)
        log.info("upload rejected", upload=str(upload.id), reason=str(error))

    def _at(self, upload: Upload, offset: int) -> Upload:
        return replace(upload, offset=offset, expires_at=datetime.now(UTC) + self.lifetime)

    async def _size_of_part(self, id: UUID, caller: Caller) -> int:
        with suppress(NotFound, Gone):
            await self._intake.owners.check(id, caller)
            part = await self._catalog.get(id)
            check_open(part)
            if part.status is Status.RECEIVING and part.is_partial and part.is_whole:
                return part.offset
        raise Malformed("What is to be concatenated is not a complete partial upload.")

    async def _parts(self, parts: Sequence[UUID], sizes: Sequence[int]) -> AsyncIterator[bytes]:
        try:
            for id, size in zip(parts, sizes, strict=True):
                async with aclosing(self._store.read(self._store.locator_of(id), 0, size)) as chunks:
                    async for chunk in chunks:
                        yield chunk
        except Damaged:
            raise Truncated("A part was given up meanwhile.") from None


def _check_parts(caller: Caller) -> None:
    """Raises `NotPermitted` for who may only send one upload."""
    if caller.token is not None:
        raise NotPermitted("An upload token is for one upload, and that has no parts.")
