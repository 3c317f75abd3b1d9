"""A catalog in a real file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from maie_aiohttp.catalogs.sql import SqlCatalog
from tests.layers import sql_catalog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the catalog is."""
    return tmp_path / "catalog.sqlite"


@pytest.fixture
async def sqlite(path: Path) -> AsyncIterator[SqlCatalog]:
    """A catalog in SQLite."""
    async with sql_catalog(path) as catalog:
        yield catalog
