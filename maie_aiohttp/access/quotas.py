"""What owners may use of the server, reserved before a byte of it comes. Who has no limit costs no question.

For an upload whose length nobody knows, as much is reserved as it may have, or as is left: then it needs no transaction
on its way, and does not fail in the middle because of others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import structlog

from maie_aiohttp.concurrency import to_its_end
from maie_aiohttp.credentials import Caller
from maie_aiohttp.errors import IntakeError, OverQuota, TooLarge
from maie_aiohttp.interfaces import QuotaBook
from maie_aiohttp.limits.quota import LONGEST, Need

Own = Callable[[UUID], AbstractContextManager[None]]
"""Say that this process works on something."""

IsOwned = Callable[[UUID], bool]
"""Whether any living process says so."""

PAGE = 500
"""Reservations given back at a time; SQLite takes 999 values in a statement, or more."""

log = structlog.get_logger()


class Reservation:
    """What is reserved for a request or an upload; this one is nothing, where there is no limit."""

    id: UUID | None = None
    size: int | None = None
    """Bytes; None without limit."""

    def keep(self) -> None:
        """Do not give it back: the catalog ends it with the upload."""

    async def take_file(self) -> None:
        """One more file comes. Raises `OverQuota`."""


NOTHING = Reservation()


class _Counted(Reservation):
    """One for one file, and for further ones as they come."""

    def __init__(self, book: QuotaBook, id: UUID, caller: Caller, size: int) -> None:
        self.id: UUID = id
        self.size = size
        self.is_kept = False
        self._book = book
        self._caller = caller
        self._has_file = False

    def keep(self) -> None:
        self.is_kept = True

    async def take_file(self) -> None:
        if self._has_file and not await self._book.add_file(
            self.id, self._caller.owner, self._caller.quota, datetime.now(UTC)
        ):
            raise OverQuota("The quota has no room for so many files.")
        self._has_file = True


class Quotas:
    """Reserves, and gives back."""

    def __init__(self, book: QuotaBook, own: Own, is_owned: IsOwned) -> None:
        self._book = book
        self._own = own
        self._is_owned = is_owned

    @asynccontextmanager
    async def reserved(self, caller: Caller, need: Need) -> AsyncIterator[Reservation]:
        """For a request. Given back at its end, unless it is kept. Raises `OverQuota`, and `TooLarge` for what the
        quota would never take."""
        if caller.quota.is_unlimited:
            yield NOTHING
            return
        with self._own(id := uuid4()):
            async with self.reserved_for(id, caller, need) as reservation:
                yield reservation

    @asynccontextmanager
    async def reserved_for(self, id: UUID, caller: Caller, need: Need) -> AsyncIterator[Reservation]:
        """The same for an upload, which this process owns; from its record on, that keeps it."""
        if caller.quota.is_unlimited:
            yield NOTHING
            return
        reservation = await self._reserve(id, caller, need)
        try:
            yield reservation
        finally:
            if not reservation.is_kept:
                await to_its_end(self._give_back(id))

    async def left(self, caller: Caller) -> int | None:
        """Bytes that the caller may still send; None without limit."""
        if caller.quota.size is None:
            return None
        usage = await self._book.usage(caller.owner, datetime.now(UTC) - caller.quota.window)
        return usage.left(caller.quota)

    async def tidy(self) -> None:
        """Give back what processes reserved that died or failed since, and forget what no quota counts any more."""
        left = [id for id in await self._book.unrecorded() if not self._is_owned(id)]
        for start in range(0, len(left), PAGE):
            await self._book.give_back(left[start : start + PAGE])
        if left:
            log.warning("reservations given back", count=len(left))
        await self._book.forget(datetime.now(UTC) - LONGEST)

    async def _reserve(self, id: UUID, caller: Caller, need: Need) -> _Counted:
        quota, now = caller.quota, datetime.now(UTC)
        if quota.size is not None and need.least > quota.size:
            raise TooLarge(f"The upload is larger than the quota of {quota.size} bytes.")
        try:
            size = await self._book.reserve(id, caller.owner, quota, need, now)
        except BaseException:  # it may be written all the same
            await to_its_end(self._give_back(id))
            raise
        if size is None:
            usage = await self._book.usage(caller.owner, now - quota.window)
            raise OverQuota("The quota is used up.", seconds=usage.seconds_until(quota, need, now))
        return _Counted(self._book, id, caller, size)

    async def _give_back(self, id: UUID) -> None:
        """If that fails, `tidy` does it."""
        try:
            await self._book.give_back([id])
        except IntakeError as error:
            log.warning("reservation not given back", reason=str(error))
