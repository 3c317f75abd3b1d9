"""A new catalog in place of one that is damaged or gone: of its readable rows, and of the files without any.

A record that is made of a file has no name, no metadata and the digest of the bytes as they are now. The old catalog is
kept beside the new one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from maie_aiohttp.catalogs.raw import RawCatalog
from maie_aiohttp.catalogs.salvage import BESIDE, salvage
from maie_aiohttp.catalogs.sql import SqlCatalog, sqlite_url
from maie_aiohttp.errors import Damaged, Empty, NotAudio, StorageFailed
from maie_aiohttp.formats import BY_NAME
from maie_aiohttp.inspection.checks import Sniff
from maie_aiohttp.interfaces import HEAD, Store
from maie_aiohttp.limits.throttle import Throttle
from maie_aiohttp.model import Status, Stored, Upload
from maie_aiohttp.stores import fsio
from maie_aiohttp.stores.folder import SHARDS
from maie_aiohttp.stores.survey import Thing, survey
from maie_aiohttp.upkeep.reconcile import sha256


async def rebuild(catalog: Path, store: Store, root: int, throttle: Throttle) -> str:
    """Put a sound catalog in the place of the file `catalog`; until then the old one stands there. Returns what was
    done."""
    new = catalog.with_name(f"{catalog.name}.new")
    shards = [_files(f"audio/{shard}", root) for shard in SHARDS]
    parts = _files("incoming", root)
    salvaged = salvage(catalog, new, [thing.id for things in (*shards, parts) for thing in things if thing.id])
    opened = await SqlCatalog.open(sqlite_url(new))
    try:
        with closing(RawCatalog(new)) as raw:
            made = 0
            for things in shards:
                records = [await _record(thing, store, throttle) for thing in _without_record(things, raw)]
                if found := [record for record in records if record is not None]:
                    await opened.settle(found)
                made += len(found)
            for part in _without_record(parts, raw):
                await store.quarantine(part.place)
    finally:
        await opened.close()
    return (
        f"made anew, of {salvaged} records that could be read and {made} files without one; {_exchange(catalog, new)}"
    )


def _files(folder: str, root: int) -> Sequence[Thing]:
    return [thing for thing in survey(folder, root) if thing.id and thing.is_file]


def _without_record(things: Sequence[Thing], raw: RawCatalog) -> Sequence[Thing]:
    return [thing for thing in things if thing.id and raw.find(thing.id) is None]


async def _record(thing: Thing, store: Store, throttle: Throttle) -> Upload | None:
    """What a file says of itself; None if it is not what its name says."""
    size, at = thing.found.st_size, datetime.fromtimestamp(thing.found.st_mtime, UTC)
    sniff = Sniff(BY_NAME)
    try:
        async for piece in store.read(thing.place, 0, min(HEAD, size)):
            sniff.feed(piece)
        format, digest = sniff.verdict().format, await sha256(store, thing.place, size, throttle.spend)
    except (NotAudio, Empty, Damaged, StorageFailed):
        return None
    if thing.id is None or format.extension != PurePosixPath(thing.place).suffix:
        return None
    return Upload(
        id=thing.id,
        status=Status.STORED,
        filename=None,
        size=size,
        offset=size,
        created_at=at,
        metadata={},
        stored=Stored(size, format.media_type, format.name, digest, thing.place, at),
    )


def _exchange(catalog: Path, new: Path) -> str:
    """Give the new file the place of the old one. Returns where that is now."""
    aside = catalog.with_name(f"{catalog.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    for suffix in ("", *BESIDE):
        old = catalog.with_name(catalog.name + suffix)
        if old.exists():
            fsio.link(old, aside.with_name(aside.name + suffix))
    for suffix in BESIDE:
        with suppress(FileNotFoundError):
            fsio.unlink(catalog.with_name(catalog.name + suffix))
    fsio.replace(new, catalog)
    _sync(catalog.parent)
    return f"the old one is {aside.name}" if aside.exists() else "there was none"


def _sync(folder: Path) -> None:
    descriptor = fsio.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fsio.fsync(descriptor)
    finally:
        fsio.close(descriptor)
