"""A real server on a real socket for every test that wants one, and the ways to look behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData, web
from aiohttp.test_utils import TestClient, TestServer

from maie_aiohttp.app import build
from maie_aiohttp.settings import Settings
from maie_aiohttp.web.server import Runner
from tests.audio import Sample
from tests.catalogue import numbers_of
from tests.logbook import pytest_configure

__all__ = ["pytest_configure"]

Client = TestClient[web.Request, web.Application]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`pytest -m fault` runs the tests that `docs/reliability.md` names."""
    for item in items:
        for number in numbers_of(item.nodeid.partition("[")[0]):
            item.add_marker(pytest.mark.fault(number))


class HardenedServer(TestServer):
    """pytest-aiohttp's server, run by the runner that serves in production."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(build(settings))
        self.settings = settings

    async def _make_runner(self, **_: object) -> Runner:
        return Runner(self.app, self.settings.server)


def configure(folder: Path, **groups: dict[str, object]) -> Settings:
    """Settings for one test: small, quick, below `folder`."""
    storage = {"folder": str(folder), "reserve": "0 B", **groups.pop("storage", {})}
    inspector = {"workers": 1, **groups.pop("inspector", {})}
    facts = {"workers": 0, **groups.pop("facts", {})}
    return Settings.model_validate({"storage": storage, "inspector": inspector, "facts": facts, **groups})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data folder."""
    return tmp_path / "data"


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Client]:
    """A running server, and a client of it."""
    async with TestClient(HardenedServer(settings)) as client:
        yield client


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[Client]:
    """A client of a server on its defaults."""
    async with serving(configure(folder)) as client:
        yield client


def files(folder: Path) -> list[str]:
    """Every file that holds somebody's bytes, by its path below the data folder."""
    kept = [path for part in ("incoming", "audio", "orphans") for path in (folder / part).rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(folder)) for path in kept)


async def send(client: Client, sample: Sample, *, filename: str | None = None) -> dict[str, Any]:
    """Store a sample through the form door; returns its record."""
    form = FormData(quote_fields=False)
    form.add_field("file", sample.content, filename=filename or sample.filename)
    answer = await client.post("/v1/uploads", data=form)
    assert answer.status == 201, await answer.text()
    uploads: list[dict[str, Any]] = (await answer.json())["uploads"]
    return uploads[0]
