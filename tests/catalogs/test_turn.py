"""Writers of several processes, one at a time."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from asyncio.subprocess import PIPE
from contextlib import closing
from pathlib import Path

import pytest

from maie_aiohttp.catalogs import turn as module
from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.catalogs.turn import Turn
from tests.layers import query, upload

COUNT = 200


async def write(catalog: Path) -> None:
    """Many records, one transaction each."""
    with closing(Turn(catalog.with_name("turn"))) as turn:
        records = await SqlCatalog.open(f"sqlite:///{catalog}", turn.taken)
        for _ in range(COUNT):
            await records.settle([upload()])
        await records.close()


async def test_writers_in_several_processes_lose_nothing(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.sqlite"
    await (await SqlCatalog.open(f"sqlite:///{catalog}")).close()
    command = (sys.executable, "-m", "tests.catalogs.test_turn", str(catalog))
    writers = [await asyncio.create_subprocess_exec(*command, stderr=PIPE) for _ in range(3)]
    for writer in writers:
        _, said = await writer.communicate()
        assert (writer.returncode, said) == (0, b"")
    assert query(catalog, "SELECT count(*) FROM uploads") == [(3 * COUNT,)]
    assert query(catalog, "SELECT count(*) FROM outbox") == [(3 * COUNT,)]


async def test_who_has_it_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    with closing(Turn(tmp_path / "turn")) as held, closing(Turn(tmp_path / "turn")) as turn, held.taken():
        with turn.taken():
            pass
        catalog = await SqlCatalog.open(f"sqlite:///{tmp_path / 'catalog.sqlite'}", turn.taken)
        await catalog.settle([upload()])
        await catalog.close()


def test_it_is_given_back_where_a_write_fails(tmp_path: Path) -> None:
    with closing(Turn(tmp_path / "turn")) as one, closing(Turn(tmp_path / "turn")) as other:
        with pytest.raises(sqlite3.OperationalError), one.taken():
            raise sqlite3.OperationalError
        assert other._take()
        assert not one._take()


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1])))
