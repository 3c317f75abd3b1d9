"""A server on a folder, started and stopped for each point. What looks after disk and catalog beside the requests is
ended at once: its calls would be counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from aiohttp import ClientConnectionError, ClientPayloadError, ServerDisconnectedError

from maie_aiohttp.housekeeping import keep_agreeing, keep_house, keep_tidy
from maie_aiohttp.inspection.inspector import Inspector
from maie_aiohttp.intake.delivery import Intake
from maie_aiohttp.stores import append
from maie_aiohttp.web.appkeys import INTAKE
from tests.conftest import Client, configure, serving
from tests.faults.injector import Injector, open_files
from tests.faults.ledger import Ledger
from tests.layers import KIB

BESIDE = {kept.__name__ for kept in (keep_agreeing, keep_house, keep_tidy)}
PASS_ON_EVERY = 100 * KIB
"""Bytes after which an upload is flushed, or the disk begins with it: so that this happens in small ones, too."""
OUTAGES = {500, 503, 507}
"""What a request may meet while disk or catalog fail."""


@dataclass(frozen=True, slots=True)
class Answer:
    """To a request; status 0 where there was none."""

    status: int
    headers: dict[str, str]
    document: dict[str, object]

    @property
    def id(self) -> str:
        """Of the upload it speaks of."""
        return self.headers["Location"].rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Place:
    """The server, and everybody around it."""

    folder: Path
    client: Client
    injector: Injector
    ledger: Ledger

    @property
    def intake(self) -> Intake:
        """The server's."""
        intake: Intake = self.client.server.app[INTAKE]  # type: ignore[attr-defined]
        return intake

    async def ask(self, method: str, path: str, headers: dict[str, str] | None = None, data: object = None) -> Answer:
        """Make a request. What is answered to it is a success, or a problem and nothing worse than a known one."""
        try:
            async with self.client.request(method, path, headers=headers, data=data) as response:
                document: dict[str, object] = {}
                if response.content_type.endswith("json"):
                    document = await response.json(content_type=None) or {}
                answer = Answer(response.status, dict(response.headers), document)
        except (ClientConnectionError, ClientPayloadError, ServerDisconnectedError):
            return Answer(0, {}, {})
        if answer.status >= 400 and method != "HEAD" and not str(document.get("type")).startswith("urn:maie:problem:"):
            self.ledger.complain(f"{method} met {answer.status} without a problem: {document}")
        if answer.status >= 500 and answer.status not in OUTAGES:
            self.ledger.complain(f"{method} met {answer.status}")
        return answer


@asynccontextmanager
async def running(folder: Path, injector: Injector, ledger: Ledger) -> AsyncIterator[Place]:
    """A server that has just started. When it has stopped, nothing of it is left in this process."""
    before = open_files()
    with patch.object(Inspector, "start", _not_yet), patch.object(append, "PASS_ON_EVERY", PASS_ON_EVERY):
        async with serving(configure(folder)) as client:
            await _end_what_runs_beside()
            place = Place(folder, client, injector, ledger)
            yield place
            intake = place.intake
            for name, held in (("held", intake.locks._held), ("in line", intake.locks._lines)):
                if held:
                    ledger.complain(f"{name} at the end: {held}")
            if intake.receiving:
                ledger.complain(f"still receiving at the end: {intake.receiving}")
    for left in asyncio.all_tasks() - {asyncio.current_task()}:
        ledger.complain(f"a task is left: {left}")
    for name in open_files() - before:
        ledger.complain(f"{name} is left open")
    for violation in injector.descriptors.take_violations():
        ledger.complain(violation)


async def _not_yet(_: Inspector) -> None:
    """Nothing here is decoded, and children would start for each point."""


async def _end_what_runs_beside() -> None:
    beside = [task for task in asyncio.all_tasks() if task.get_coro().__name__ in BESIDE]  # type: ignore[union-attr]
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
