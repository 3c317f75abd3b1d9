"""Reading every stored recording again, unhurried and over and over: bits change on disks that nobody looks at.

One pass reads the newest first. How far it came stands in a file, so that a restart goes on there.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import structlog

from maie_aiohttp.errors import IntakeError
from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.limits.throttle import Throttle
from maie_aiohttp.model import Position, Status, Stored, Upload
from maie_aiohttp.progress.events import Publish
from maie_aiohttp.upkeep.reconcile import compare, confirm_damage, confirm_repair, differs_in_content

REMEMBER_EVERY = 30.0
"""Seconds between two notes of how far a pass came."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pass came."""

    begun: datetime
    after: Position | None = None
    """What was read last."""
    ended: bool = False


class Bookmark:
    """Where the progress is written down. What cannot be read is forgotten: the pass begins again."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> Progress | None:
        """What was written last, if anything."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            noted = json.loads(self._file.read_text(encoding="utf-8"))
            after = noted["after"] and Position(_moment(noted["after"][0]), UUID(noted["after"][1]))
            return Progress(_moment(noted["begun"]), after, bool(noted["ended"]))
        return None

    def write(self, progress: Progress) -> None:
        """In place of what was written before. Raises OSError."""
        after = progress.after and [progress.after.created_at.isoformat(), str(progress.after.id)]
        noted = {"begun": progress.begun.isoformat(), "after": after, "ended": progress.ended}
        new = self._file.with_name(f"{self._file.name}.new")
        new.write_text(json.dumps(noted), encoding="utf-8")
        new.replace(self._file)


class Scrub:
    """Reads at a bounded rate, one pass each interval."""

    def __init__(
        self, store: Store, catalog: Catalog, publish: Publish, throttle: Throttle, bookmark: Bookmark
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._publish = publish
        self._throttle = throttle
        self._bookmark = bookmark
        self._noted_at = 0.0

    async def keep_on(self, interval: timedelta) -> NoReturn:
        """Go on with the pass under way, if there is one; begin another `interval` after the last began."""
        while True:
            progress = await asyncio.to_thread(self._bookmark.read)
            if progress is None or progress.ended:
                await asyncio.sleep(_rest(progress, interval))
                progress = Progress(datetime.now(UTC))
            await self._finish(progress)

    async def _finish(self, progress: Progress) -> None:
        before = self._throttle.passed
        await self._verify_catalog()
        await compare(self._catalog, Status.DAMAGED, self._read_damaged)
        await self._note(progress)

        async def reached(position: Position) -> None:
            if time.monotonic() >= self._noted_at + REMEMBER_EVERY:
                await self._note(replace(progress, after=position))

        await compare(self._catalog, Status.STORED, self._read_stored, after=progress.after, reached=reached)
        await self._note(replace(progress, ended=True))
        log.info("scrubbed", bytes=self._throttle.passed - before)

    async def _verify_catalog(self) -> None:
        try:
            await self._catalog.verify()
        except IntakeError as error:
            log.error("catalog not sound; `python -m maie_aiohttp fsck` says more", reason=str(error))  # noqa: TRY400 - says it all

    async def _read_stored(self, upload: Upload) -> None:
        await confirm_damage(self._store, self._catalog, upload, self._publish, differs=self._differs)

    async def _read_damaged(self, upload: Upload) -> None:
        await confirm_repair(self._store, self._catalog, upload, self._publish, pace=self._throttle.spend)

    async def _differs(self, store: Store, stored: Stored) -> bool:
        return await differs_in_content(store, stored, self._throttle.spend)

    async def _note(self, progress: Progress) -> None:
        self._noted_at = time.monotonic()
        try:
            await asyncio.to_thread(self._bookmark.write, progress)
        except OSError as error:
            log.warning("progress of the scrub not noted", reason=error.strerror)


def _rest(last: Progress | None, interval: timedelta) -> float:
    """Seconds until the next pass; never more than an interval, wherever the clock has been set."""
    if last is None:
        return 0
    return min(last.begun + interval - datetime.now(UTC), interval).total_seconds()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
