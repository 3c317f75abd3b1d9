"""What a relay does to the catalog, and what it has told: noted outside of it, where no fault reaches."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

from maie_aiohttp import relay
from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.model import Event
from maie_aiohttp.relay import Relay, Schedule
from tests.faults.errands import Arm, Errand
from tests.layers import query

PATIENCE = 0.005
"""Seconds that a page has."""

LONG_ENOUGH = 0.3
"""Seconds after which a relay is stopped that does not get through."""

DELIVERED = "SELECT upload_id FROM letters WHERE target = 'notes' AND delivered_at IS NOT NULL"
STORED = "SELECT id FROM uploads WHERE locator IS NOT NULL"


class Notes:
    """See `interfaces.Handoff`: a target that writes down what it is told, so that a kill does not reach it, and takes
    its time over every second event."""

    name = "notes"

    def __init__(self, folder: Path) -> None:
        self._file = notes(folder)
        self._is_slow = False

    async def deliver(self, event: Event) -> None:
        self._is_slow = not self._is_slow
        if self._is_slow:
            await asyncio.sleep(4 * PATIENCE)
        with self._file.open("a") as file:
            file.write(f"{event.id}\n")

    async def close(self) -> None:
        """Nothing to end."""


class Relaying(Errand):
    """Telling a target of what is stored."""

    def spoil(self) -> None:
        """Nothing: what a killed relay leaves is left by the points themselves."""

    async def run(self, arm: Arm) -> None:
        catalog = await SqlCatalog.open(f"sqlite:///{self.folder / 'catalog.sqlite'}")
        quick: dict[str, Any] = {"PAUSE_AFTER_FAILURE": 0.01, "HEARTBEAT": 0.01, "PATIENCE": PATIENCE}
        with patch.multiple(relay, **quick):
            arm()
            relaying = asyncio.create_task(
                Relay(catalog.outbox, Notes(self.folder), Path, Schedule(9, 0.01, 0.01), concurrency=2).run()
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(LONG_ENOUGH):
                    while unfiled(self.folder):  # noqa: ASYNC110 - another connection's doing
                        await asyncio.sleep(0.002)
            relaying.cancel()
            await asyncio.wait([relaying])
        await catalog.close()


def notes(folder: Path) -> Path:
    """Where a target has written down what it was told."""
    return folder.with_name("notes")


def told(folder: Path) -> Counter[str]:
    """How often it was told of each upload."""
    return Counter(notes(folder).read_text().split()) if notes(folder).exists() else Counter()


def filed(folder: Path) -> set[str]:
    """Uploads that are on file as delivered to it."""
    return _ids(folder, DELIVERED)


def unfiled(folder: Path) -> set[str]:
    """Stored uploads that are not."""
    return _ids(folder, STORED) - filed(folder)


def _ids(folder: Path, sql: str) -> set[str]:
    return {str(UUID(hex=str(id))) for (id,) in query(folder / "catalog.sqlite", sql)}
