"""What must hold after a restart, whatever went wrong before it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tests.faults.doors import BYTES, PARTIAL, UPLOADS, resume, send_keyed
from tests.faults.ledger import digest
from tests.faults.place import Place
from tests.faults.relaying import filed, notes, told, unfiled
from tests.layers import query

NEWEST = 9
"""Uploads that are read back through the server; the older ones were, and their files are compared each time."""


@dataclass(frozen=True, slots=True)
class Row:
    """What the catalog says of an upload."""

    status: str
    offset: int
    size: int | None
    sha256: str | None
    locator: str | None
    partial: bool


async def check(place: Place) -> None:
    """Complain to the ledger of all that does not hold."""
    for violation in disagreements(place.folder):
        place.ledger.complain(violation)
    for promises in (_broken_promises, _repetitions):
        async for violation in promises(place):
            place.ledger.complain(violation)


def disagreements(folder: Path) -> Iterator[str]:
    """Where disk and catalog contradict each other."""
    rows, told = _rows(folder), _told(folder)
    stored = {row.locator: id for id, row in rows.items() if row.locator is not None}
    published = {str(path.relative_to(folder)) for path in (folder / "audio").rglob("*") if path.is_file()}
    parts = {path.stem: path.stat().st_size for path in (folder / "incoming").iterdir()}
    receiving = {id for id, row in rows.items() if row.status == "receiving"}
    yield from (f"{place} has a file or a record, not both" for place in published ^ stored.keys())
    yield from (f"{id} has bytes below incoming/ or a record, not both" for id in parts.keys() ^ receiving)
    yield from (f"{id} has {told[id]} outbox entries" for id in {*told, *rows} if told[id] != (id in stored.values()))
    yield from _untold(folder)
    for id, row in rows.items():
        if row.status not in ("stored", "receiving", "expired"):
            yield f"{id} is {row.status}"
        if row.locator in published:
            bytes_there = (folder / str(row.locator)).read_bytes()
            if (len(bytes_there), hashlib.sha256(bytes_there).hexdigest()) != (row.size, row.sha256):
                yield f"{id} is {row.status}, and its file is not what its record says"
        if row.status == "receiving" and parts.get(id, 0) < row.offset:
            yield f"{id} has {parts.get(id)} bytes, and its record says {row.offset}"


def _untold(folder: Path) -> Iterator[str]:
    """Where a relay has gone through the outbox: what its target was not told, or is on file as if it had been."""
    if notes(folder).exists():
        yield from (f"{id} is stored, and not on file as delivered" for id in unfiled(folder))
        yield from (f"{id} is on file as delivered, and was never told" for id in filed(folder) - told(folder).keys())


async def _broken_promises(place: Place) -> AsyncIterator[str]:
    ledger, rows = place.ledger, _rows(place.folder)
    kept = ledger.must_be_there()
    for id, sha256 in kept.items():
        if id not in rows or rows[id].sha256 != sha256:
            yield f"{id} was acknowledged and is {rows.get(id)}"
    for id in list(kept)[-NEWEST:]:
        if await _sha256(place, id) != kept[id]:
            yield f"{id} was acknowledged and does not read back"
    for id in ledger.gone & rows.keys():
        yield f"{id} was deleted and is {rows[id].status}"
    for id, offset in dict(ledger.told).items():
        if id not in ledger.leaving and not await _goes_on(place, id):
            yield f"{id} cannot go on at {offset}: {rows.get(id)}"


async def _repetitions(place: Place) -> AsyncIterator[str]:
    for key, number in place.ledger.keys.items():
        if not await send_keyed(place, key):
            yield f"{key} cannot be sent again"
        times = sum(row.sha256 == digest(number) for row in _rows(place.folder).values())
        if times != 1:
            yield f"{key} is stored {times} times"


async def _goes_on(place: Place, id: str) -> bool:
    number = place.ledger.recordings[id]
    return await resume(place, id, number, BYTES) or await resume(place, id, number, PARTIAL)


async def _sha256(place: Place, id: str) -> str | None:
    async with place.client.get(f"{UPLOADS}/{id}/content") as response:
        return hashlib.sha256(await response.read()).hexdigest() if response.status == 200 else None


def _rows(folder: Path) -> dict[str, Row]:
    columns = 'id, status, "offset", size, sha256, locator, partial'
    found = query(folder / "catalog.sqlite", f"SELECT {columns} FROM uploads")  # noqa: S608 - our own columns
    return {str(UUID(hex=str(id))): Row(*rest) for id, *rest in found}  # type: ignore[arg-type]  # as in the schema


def _told(folder: Path) -> Counter[str]:
    found = query(folder / "catalog.sqlite", "SELECT upload_id FROM outbox")
    return Counter(str(UUID(hex=str(id))) for (id,) in found)
