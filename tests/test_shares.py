"""What workers share is what the settings say, all together."""

from __future__ import annotations

from pathlib import Path

import pytest

from maie_aiohttp.crew import shares
from maie_aiohttp.limits.unread import BUDGET
from maie_aiohttp.settings import ConfigurationError, Settings
from maie_aiohttp.web.server import Runner, Server
from tests.conftest import HardenedServer, configure


def settings(workers: int, **groups: dict[str, object]) -> Settings:
    return Settings.model_validate({"server": {"workers": workers}, **groups})


def test_one_worker_has_it_all() -> None:
    alone = settings(1)
    shares.check(alone)
    assert shares.share(alone, 0) == alone


@pytest.mark.parametrize("workers", [2, 3, 7])
def test_nothing_is_lost_and_nothing_is_added(workers: int) -> None:
    whole = settings(workers, inspector={"workers": 11}, storage={"write_threads": 9, "block_budget": "16777219 B"})
    shares.check(whole)
    parts = [shares.share(whole, number) for number in range(workers)]
    assert sum(part.inspector.workers for part in parts) == 11
    assert sum(part.storage.write_threads for part in parts) == 9
    assert sum(part.storage.block_budget for part in parts) == 16_777_219
    assert sum(part.limits.max_uploads for part in parts) == whole.limits.max_uploads
    assert {part.limits.max_size for part in parts} == {whole.limits.max_size}
    assert {part.server.max_connections for part in parts} == {None}


def test_connections_are_shared_where_they_are_counted() -> None:
    whole = Settings.model_validate({"server": {"workers": 2, "max_connections": 5}})
    assert [shares.share(whole, number).server.max_connections for number in range(2)] == [3, 2]


def test_a_scanner_that_nobody_asked_for_is_no_matter() -> None:
    shares.check(settings(3, inspector={"workers": 3}, scan={"connections": 2}))


@pytest.mark.parametrize(
    ("groups", "scarce"),
    [
        ({"inspector": {"workers": 2}}, "inspector.workers"),
        ({"storage": {"write_threads": 2}, "inspector": {"workers": 3}}, "storage.write_threads"),
        ({"storage": {"block_budget": "1 MiB"}, "inspector": {"workers": 3}}, "storage.block_budget"),
        (
            {"inspector": {"workers": 3}, "scan": {"clamd": "unix:/run/clamd.ctl", "connections": 2}},
            "scan.connections",
        ),
    ],
)
def test_where_some_would_go_away_empty_there_are_too_many(groups: dict[str, dict[str, object]], scarce: str) -> None:
    with pytest.raises(ConfigurationError, match=scarce):
        shares.check(settings(3, **groups))


async def test_what_is_received_and_not_yet_read_is_shared(folder: Path) -> None:
    server = HardenedServer(configure(folder, server={"workers": 2}, inspector={"workers": 2}))
    async with server:
        assert isinstance(server.runner, Runner)
        assert isinstance(server.runner.server, Server)
        assert server.runner.server.bounds.unread._budget == BUDGET // 2
