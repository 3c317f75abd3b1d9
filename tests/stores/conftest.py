"""Every store there is, for the tests of what all stores promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from maie_aiohttp.stores.disk import DiskStore
from tests.layers import disk_store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The data folder."""
    return tmp_path / "data"


@pytest.fixture
def disk(root: Path) -> Iterator[DiskStore]:
    """A store on the local disk."""
    with disk_store(root) as store:
        yield store
