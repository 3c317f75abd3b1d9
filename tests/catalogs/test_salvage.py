"""What becomes of letters where a catalog is repaired, or made anew."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from maie_aiohttp.catalogs.raw import RawCatalog
from maie_aiohttp.catalogs.salvage import salvage
from maie_aiohttp.model import Letter, Upload
from tests.layers import NOON, query, sql_catalog, upload


async def told(path: Path, count: int) -> tuple[list[Upload], list[Letter]]:
    """A catalog of so many uploads, all of them delivered."""
    async with sql_catalog(path) as catalog:
        uploads = [upload() for _ in range(count)]
        await catalog.settle(uploads)
        letters = [replace(one, attempts=1, delivered_at=NOON) for one in await catalog.outbox.fresh("a", 99)]
        await catalog.outbox.file(letters)
    return uploads, letters


async def test_a_catalog_made_anew_knows_who_was_told(path: Path, tmp_path: Path) -> None:
    uploads, letters = await told(path, 3)
    new = tmp_path / "new.sqlite"
    assert salvage(path, new, []) == 3
    async with sql_catalog(new) as catalog:
        assert [await catalog.outbox.of(one.id) for one in uploads] == [[letter] for letter in letters]
        assert await catalog.outbox.fresh("a", 99) == []


async def test_an_entry_that_could_not_be_read_is_announced_anew(path: Path, tmp_path: Path) -> None:
    (first, second), _ = await told(path, 2)
    query(path, f"DELETE FROM outbox WHERE upload_id = '{second.id.hex}'")  # noqa: S608 - our own id
    new = tmp_path / "new.sqlite"
    salvage(path, new, [])
    with closing(RawCatalog(new, "rw")) as raw:
        raw.announce(second.id)
    async with sql_catalog(new) as catalog:
        (letter,) = await catalog.outbox.fresh("a", 99)
        assert letter.upload == second
        assert len(await catalog.outbox.of(first.id)) == 1


async def test_an_entry_that_is_withdrawn_takes_its_letters_along(path: Path) -> None:
    (stored,), (letter,) = await told(path, 1)
    with closing(RawCatalog(path, "rw")) as raw:
        raw.withdraw(letter.number)
        assert query(path, "SELECT * FROM letters") == []
        raw.announce(stored.id)
    async with sql_catalog(path) as catalog:
        assert [one.upload for one in await catalog.outbox.fresh("a", 99)] == [stored]
