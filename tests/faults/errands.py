"""What is done to a folder that no server is using: recovery at the start, and `fsck --repair`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from uuid import uuid4

from maie_aiohttp import assembly
from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.fsck.findings import Report
from maie_aiohttp.fsck.run import repair
from maie_aiohttp.stores.folder import DataFolder
from maie_aiohttp.upkeep.reconcile import recover
from tests.conftest import configure
from tests.faults.doors import BYTES, TUS, UPLOADS, Raw, fresh
from tests.faults.ledger import content
from tests.faults.place import Place
from tests.layers import KIB, MIB, query

Arm = Callable[[], None]
"""Called when the errand begins: the calls after it count."""

BEGUN = 9 * KIB
"""Bytes that an upload has which goes on later."""


def unarmed() -> None:
    """Nothing goes wrong."""


class Errand(ABC):
    """On one folder. What is stored by then, and what has begun, is known by the ids."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stored: list[str] = []
        self.begun: list[str] = []

    async def prepare(self, place: Place) -> None:
        """Let clients store four recordings and begin three."""
        known = set(place.ledger.acknowledged)
        for _ in range(4):
            await Raw(place).finish()
        self.stored = [id for id in place.ledger.acknowledged if id not in known]
        self.begun = [await _begin(place) for _ in range(3)]

    def spoil(self) -> None:
        """Leave what a crash leaves."""
        self._file(self.stored[0]).chmod(0o440)
        self._part(self.stored[0]).hardlink_to(self._file(self.stored[0]))  # the mark was not removed
        self._file(self.stored[1]).rename(self._part(self.stored[1]))  # a deletion was not finished
        self._published(self.begun[0]).hardlink_to(self._part(self.begun[0]))  # published, not recorded
        query(self.folder / "catalog.sqlite", _edit(self.begun[1], "status = 'scanning'"))
        for _ in range(2):  # received, or even published, by a server that was killed
            unknown = str(uuid4())
            self._part(unknown).write_bytes(bytes(BEGUN))
        self._published(unknown).hardlink_to(self._part(unknown))

    @abstractmethod
    async def run(self, arm: Arm) -> None:
        """Do it. Raises `IntakeError` and OSError."""

    def _part(self, id: str) -> Path:
        return self.folder / f"incoming/{id}.part"

    def _published(self, id: str) -> Path:
        return self.folder / f"audio/{id[:2]}/{id}.wav"

    _file = _published


class Recovery(Errand):
    """As a server does it when it starts."""

    async def run(self, arm: Arm) -> None:
        settings = configure(self.folder)
        async with AsyncExitStack() as stack:
            folder = DataFolder(self.folder)
            stack.callback(folder.close)
            folder.open()
            store = assembly.disk_store(settings, folder)
            stack.callback(store.close)
            catalog = await SqlCatalog.open(assembly.catalog_url(settings, folder))
            stack.push_async_callback(catalog.close)
            arm()
            await recover(store, catalog)


class Repair(Errand):
    """`fsck --repair`, of more than a crash leaves."""

    def spoil(self) -> None:
        super().spoil()
        self._published(str(uuid4())).write_bytes(bytes(BEGUN))
        with self._part(self.begun[2]).open("ab") as part:
            part.write(bytes(BEGUN))
        self._file(self.stored[2]).chmod(0o600)
        entry = f"DELETE FROM outbox WHERE upload_id = '{self.stored[3].replace('-', '')}'"  # noqa: S608 - our own id
        query(self.folder / "catalog.sqlite", entry)

    async def run(self, arm: Arm) -> None:
        arm()
        with ExitStack() as stack:
            report = Report(_unsaid)
            stack.callback(report.close)
            await repair(configure(self.folder), report, rate=100 * MIB)


async def _begin(place: Place) -> str:
    number = fresh()
    whole = content(number)
    id = (await place.ask("POST", UPLOADS, {**TUS, "Upload-Length": str(len(whole))})).id
    place.ledger.begun(id, number)
    answer = await place.ask("PATCH", f"{UPLOADS}/{id}", {**BYTES, "Upload-Offset": "0"}, whole[:BEGUN])
    assert answer.status == 204, answer
    place.ledger.heard(id, BEGUN)
    return id


def _edit(id: str, values: str) -> str:
    return f"UPDATE uploads SET {values} WHERE id = '{id.replace('-', '')}'"  # noqa: S608 - our own id


def _unsaid(_: str) -> None:
    """Nobody reads it."""


ERRANDS: tuple[type[Errand], ...] = (Recovery, Repair)
