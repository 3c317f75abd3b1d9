"""Stands beside aiotus's own tests as `conftest.py`: where they would start tusd, they get the server in `TUSD_URL`."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from yarl import URL


@pytest.fixture
def tusd() -> SimpleNamespace:
    """Where uploads are created."""
    return SimpleNamespace(url=URL(os.environ["TUSD_URL"]), certificate=None)
