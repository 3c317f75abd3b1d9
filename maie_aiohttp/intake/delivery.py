"""The story of an upload that comes in one request: admitted, received under the eyes of the checks, inspected,
settled.

A `Delivery` is one request and has one outcome: all of its files are settled together, or nothing of them is left.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self
from uuid import UUID, uuid4

import structlog

from maie_aiohttp import formats
from maie_aiohttp.access.owners import Owners
from maie_aiohttp.access.quotas import Quotas, Reservation
from maie_aiohttp.access.tokens import Tokens
from maie_aiohttp.concurrency import to_its_end
from maie_aiohttp.credentials import WITHOUT_KEY, Caller
from maie_aiohttp.errors import Busy, Complete, Empty, StorageFull, TooLarge
from maie_aiohttp.inspection.checks import Examination, Findings, Progress, size_limit, too_large
from maie_aiohttp.inspection.inspector import Inspector
from maie_aiohttp.inspection.scanner import NoScanner
from maie_aiohttp.intake.claims import Claims
from maie_aiohttp.intake.duplicates import FindStandIns, Reuse, nobody
from maie_aiohttp.intake.idempotency import Key
from maie_aiohttp.intake.locks import Locks, uninterruptible
from maie_aiohttp.intake.settlement import Received, Settlement, discard
from maie_aiohttp.interfaces import Ahead, Catalog, Scanner, Store, Taken, nobody_waits
from maie_aiohttp.limits.ledger import Claim
from maie_aiohttp.limits.quota import Need
from maie_aiohttp.model import Charge, Declared, Metadata, Status, Stored, Upload
from maie_aiohttp.progress.hub import Hub
from maie_aiohttp.streams import watched

REMEMBERED = timedelta(days=7)
"""How long an upload that was refused in the middle, or that expired, is still known by its record."""

NO_SCANNER = NoScanner()

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rules:
    """What this server accepts."""

    max_size: int
    """Bytes of one request's files together."""
    formats: Container[str]
    """Names from `formats.BY_NAME`."""
    reuse: bool = False
    """Whether what its owner has stored already is not stored again where it comes in one request."""
    max_duration: float = math.inf
    """Seconds that one file may play."""
    finds_facts: bool = False
    """Whether what is stored is examined before it is handed off."""


class Intake:
    """Takes uploads in, and takes them away again."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        inspector: Inspector,
        locks: Locks,
        rules: Rules,
        scanner: Scanner = NO_SCANNER,
        hub: Hub | None = None,
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.inspector = inspector
        self.locks = locks
        self.rules = rules
        self.scanner = scanner
        self.claims = Claims(store)
        self.owners = Owners(catalog)
        self.quotas = Quotas(catalog.quotas, locks.own, locks.is_owned)
        self.stand_ins = Reuse(store, catalog) if rules.reuse else nobody
        self.tokens = Tokens(catalog.tokens, locks.own, locks.is_owned)
        self.hub = hub or Hub()
        self.receiving = self.hub.receiving
        """Uploads whose bytes are on their way."""

    def check(self, declared: Declared) -> None:
        """Refuse a file for its name or its declared type. Raises `NotAudio`."""
        formats.check_name(declared.filename)
        formats.check_type(declared.media_type)

    def max_size(self, caller: Caller) -> int:
        """Bytes that an upload of the caller may have."""
        return self.rules.max_size if caller.max_size is None else min(caller.max_size, self.rules.max_size)

    async def admit(self, declared: Declared, caller: Caller = WITHOUT_KEY) -> Claim:
        """Refuse what can be refused before a byte of it is read, and promise room to the rest. Raises `TooLarge`,
        `Empty`, `NotAudio` and `StorageFull`; `Busy` without the scanner."""
        self.check(declared)
        if declared.at_most == 0:
            raise Empty("The upload has no bytes.")
        size = declared.at_most or 0
        if size > self.max_size(caller):
            raise too_large(self.max_size(caller))
        await self.scanner.admit()
        return await self.store.admit(size)

    @asynccontextmanager
    async def delivery(
        self, declared: Declared, caller: Caller = WITHOUT_KEY, *, most: int | None = None
    ) -> AsyncIterator[Delivery]:
        """A new request of the caller, of which so much is known, and whose files may have `most` bytes together, where
        more is declared than they. Raises what `admit` raises, `OverQuota`, `TokenUsed` and `Unauthenticated`."""
        claim = await self.admit(declared, caller)
        try:
            async with (
                self.tokens.taken(caller),
                self.quotas.reserved(caller, self.need(declared, caller, most)) as reservation,
                Delivery(self, claim, caller, reservation) as delivery,
            ):
                yield delivery
        finally:
            claim.release()

    def need(self, declared: Declared, caller: Caller, most: int | None = None) -> Need:
        """Of a quota, for what is declared."""
        most = most or declared.at_most or self.rules.max_size
        return Need(declared.at_most or 1, min(most, self.max_size(caller)))

    def settlement(self, stand_ins: FindStandIns = nobody) -> Settlement:
        """For the files of one request; for some, others may stand in."""
        return Settlement(self.store, self.catalog, self.hub, stand_ins, finds_facts=self.rules.finds_facts)

    async def inspect(self, received: Received) -> None:
        """Have a finished file decoded where its head alone did not tell enough. Raises `NotAudio` and `TooLong`."""
        found, most = received.findings, self.rules.max_duration
        if found.demuxer is not None or most < math.inf:
            file = self.store.path(self.store.locator_of(received.upload.id))
            await self.inspector.inspect(file, found.format.demuxer, most)

    async def scan(self, received: Received, begin: Callable[[Upload], Awaitable[None]]) -> None:
        """Have a finished file looked through for malware; if that takes place, `begin` hears it first. Raises
        `Infected`, `TooLarge`, `Busy` and `Draining`."""
        upload = replace(received.upload, status=Status.SCANNING)
        chunks = self.store.read(self.store.locator_of(upload.id), 0, received.size)
        await self.scanner.scan(chunks, partial(begin, upload))

    async def give_up(self) -> None:
        """End what uploads wait for besides their bytes."""
        await self.scanner.stop()
        await self.inspector.stop()

    async def discard(self, id: UUID) -> None:
        """Take unpublished bytes away, and give their room back. If that fails, the next start does it."""
        self.claims.end(id)
        await discard(self.store, id)

    async def remove(self, id: UUID, caller: Caller = WITHOUT_KEY) -> None:
        """Delete an upload in any state, durably; whoever is writing it is ended first. Once begun it runs to its end.
        Raises `NotFound` and `Locked`; `Complete` for what is stored, where the caller only has an upload token."""
        await to_its_end(self._remove(id, caller))
        log.info("upload deleted", upload=str(id))

    async def _remove(self, id: UUID, caller: Caller) -> None:
        async with self.locks.hold(id, uninterruptible):
            upload = await self.catalog.get(id)
            if upload.stored is not None and caller.token is not None:
                raise Complete("An upload token does not delete what is stored.")
            if upload.stored is None:
                await self.discard(id)  # first: on a full disk, forgetting the record needs its room
                await self.catalog.remove(id)
            else:
                await self._remove_stored(id, upload.stored)
            self.hub.deleted(upload)

    async def _remove_stored(self, id: UUID, stored: Stored) -> None:
        """The file is taken back to `incoming/` first: whether a crash finds it with its record or without, start-up
        then knows what was meant (see `reconcile`)."""
        mark = self.store.locator_of(id)
        await self.store.retract(mark, stored.locator)
        try:
            await self.catalog.remove(id)
        except (StorageFull, Busy):
            if await self.catalog.known([id]):
                await self.store.publish(mark, id, formats.BY_NAME[stored.format].extension)
            await self.store.discard(mark)
            raise
        await self.store.discard(mark)


class Delivery:
    """The files of one request. Leaving it unsettled leaves nothing of them on disk."""

    def __init__(self, intake: Intake, claim: Claim, caller: Caller, reservation: Reservation) -> None:
        self._intake = intake
        self._claim = claim
        self._caller = caller
        self._reservation = reservation
        self._limit = size_limit(intake.max_size(caller), reservation.size)
        # Who comes with a token is not the owner, and must not learn what that one has.
        self._settlement = intake.settlement(intake.stand_ins if caller.token is None else nobody)
        self._begun: list[UUID] = []
        self._received: list[Received] = []
        self._owned = ExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _: object, error: object, __: object) -> None:
        with self._owned:
            for id in self._begun:
                if self._settlement.decided:
                    await self._intake.discard(id)
                    self._intake.hub.given_up(id, error)
                else:
                    self._intake.hub.forget(id)

    async def receive(self, declared: Declared, chunks: AsyncIterator[bytes], taken: Taken = nobody_waits) -> None:
        """Take one file to its end; `taken` hears of its bytes. Raises what is wrong with it as soon as that is
        known."""
        if self._received and self._caller.token is not None:
            raise TooLarge("An upload token is for one file.")
        await self._reservation.take_file()
        upload = _begun(declared, self._caller.owner)
        self._owned.enter_context(self._intake.locks.own(upload.id))
        self._begun.append(upload.id)
        self._intake.hub.begun(upload)
        size, findings = await self._examined(
            upload, chunks, declared.digests, Ahead(declared.at_most, self._claim, taken)
        )
        received = Received(upload, size, findings)
        await self._intake.inspect(received)
        await self._intake.scan(received, self._tell)
        self._received.append(received)

    async def settle(self, metadata: Metadata, key: Key | None = None) -> Sequence[Upload]:
        """Make everything received part of the catalog; from the return on, it cannot be lost. Once begun it runs to
        its end, whatever becomes of the request. If the same request came before, by its `key`, that one's uploads are
        returned, and nothing is left of this one's, nor of files for which others stand. Raises `KeyReused`, `Gone` and
        `Damaged`."""
        complete = [replace(one, upload=replace(one.upload, metadata=metadata)) for one in self._received]
        with ExitStack() as held:
            for id in self._begun:  # others may find them in the catalog before this is done, and delete them
                held.enter_context(self._intake.locks.try_hold(id))
            uploads = await self._settlement.settle(complete, key, self._charge)
        stored = {upload.id for upload in uploads}
        if not stored.isdisjoint(self._begun):
            self._reservation.keep()
        self._begun = [id for id in self._begun if id not in stored]
        return uploads

    @property
    def _charge(self) -> Charge:
        return Charge(self._reservation.id, self._caller.token_id)

    async def _tell(self, upload: Upload) -> None:
        self._intake.hub.begun(upload)

    async def _examined(
        self, upload: Upload, chunks: AsyncIterator[bytes], digests: Mapping[str, bytes], ahead: Ahead
    ) -> tuple[int, Findings]:
        store, progress = self._intake.store, Progress()
        rules = self._intake.rules
        examination = Examination(rules.formats, digests, max_duration=rules.max_duration)
        with self._intake.hub.reception(upload, progress):
            size = await store.append(
                store.locator_of(upload.id),
                0,
                watched(chunks, progress.feed, self._limit.feed),
                examination.feed,
                examination.finish,
                ahead=ahead,
            )
        return size, examination.findings()


def _begun(declared: Declared, owner: str | None) -> Upload:
    return Upload(
        id=uuid4(),
        status=Status.RECEIVING,
        filename=declared.filename,
        size=None,
        offset=0,
        created_at=datetime.now(UTC),
        metadata={},
        owner=owner,
    )
