"""What every book of upload tokens promises; see `interfaces.TokenBook`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from maie_aiohttp.catalogs.sql import SqlCatalog
from maie_aiohttp.credentials import Token
from maie_aiohttp.model import Charge, Status, Terms
from tests.layers import NOON, sql_catalog, stored, upload

ONE, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
def catalog(sqlite: SqlCatalog) -> SqlCatalog:
    """Each catalog in turn; so far there is one."""
    return sqlite


def token() -> Token:
    """A new one."""
    return Token(uuid4(), None, "ada", None, NOON)


async def test_the_first_has_it(catalog: SqlCatalog) -> None:
    mine = token()
    assert [await catalog.tokens.take(mine, who) for who in (ONE, OTHER, ONE)] == [ONE] * 3
    assert await catalog.tokens.take(token(), OTHER) == OTHER


async def test_of_fifty_at_once_through_two_connections_one_has_it(path: Path) -> None:
    mine, who = token(), [uuid4() for _ in range(50)]
    async with sql_catalog(path) as one, sql_catalog(path) as other:
        asked = ((one, other)[turn % 2].tokens.take(mine, id) for turn, id in enumerate(who))
        assert len({*await asyncio.gather(*asked)}) == 1
        has = await one.tokens.take(mine, uuid4())
        asked_again = ((one, other)[turn % 2].tokens.take_over(mine, uuid4(), has) for turn in range(50))
        assert sum(await asyncio.gather(*asked_again)) == 1


@pytest.mark.parametrize("status", Status)
async def test_what_may_go_on_keeps_it(catalog: SqlCatalog, status: Status) -> None:
    mine = token()
    begun = upload(status=status, stored=None, terms=Terms(token=mine.id, max_size=5))
    assert await catalog.tokens.take(mine, begun.id) == begun.id
    await catalog.create(begun)
    assert (await catalog.get(begun.id)).terms == begun.terms
    is_over = status not in (Status.RECEIVING, Status.SCANNING)
    assert await catalog.tokens.take_over(mine, OTHER, begun.id) == is_over
    assert not await catalog.tokens.take_over(mine, ONE, uuid4())


async def test_what_is_stored_uses_it_up(catalog: SqlCatalog) -> None:
    mine = token()
    begun = upload(status=Status.RECEIVING, stored=None, terms=Terms(token=mine.id))
    await catalog.tokens.take(mine, begun.id)
    await catalog.create(begun)
    done = replace(begun, status=Status.STORED, stored=stored(begun.id))
    await catalog.settle([done], charge=Charge(token=mine.id))
    assert not await catalog.tokens.take_over(mine, OTHER, begun.id)
    await catalog.remove(begun.id)
    assert not await catalog.tokens.take_over(mine, OTHER, begun.id)


async def test_old_ones_are_forgotten(catalog: SqlCatalog) -> None:
    mine = token()
    await catalog.tokens.take(mine, ONE)
    await catalog.tokens.forget(NOON)
    assert await catalog.tokens.take(mine, OTHER) == ONE
    await catalog.tokens.forget(NOON + timedelta(seconds=1))
    assert await catalog.tokens.take(mine, OTHER) == OTHER
