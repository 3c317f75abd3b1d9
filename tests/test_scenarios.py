"""The scenarios of `python -m tests.soak`, small: what they assert holds at every size."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.redis_server import needs_redis
from tests.scenarios import (
    crowd,
    drain,
    flat_memory,
    handoff,
    idle_crowd,
    interruptions,
    kills,
    mixed,
    races,
    repetitions,
    start,
)
from tests.scenarios.process import MIB
from tests.scenarios.report import Report

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def fine(report: Report) -> bool:
    """Nothing went wrong. What did, and the figures, are shown where an assertion fails."""
    assert not report.violations, str(report)
    return True


async def test_a_server_takes_all_the_descriptors_it_may_have(folder: Path) -> None:
    assert fine(await start.run(folder, starts=2, limit=float("inf")))


async def test_a_long_upload_needs_no_more_memory_than_a_short_one(folder: Path) -> None:
    assert fine(await flat_memory.run(folder, size=64_000_000, limit=8 * MIB))


async def test_uploads_held_open_together_all_end_well(folder: Path) -> None:
    assert fine(await crowd.run(folder, count=25, each=MIB))


async def test_idle_and_slow_connections_keep_nobody_out(folder: Path) -> None:
    assert fine(await idle_crowd.run(folder, count=50, limit=float("inf"), idle_limit=MIB))


async def test_what_was_acknowledged_survives_kills(folder: Path) -> None:
    assert fine(await kills.run(folder, rounds=2))


async def test_fault_07_what_is_sent_again_until_it_is_answered_is_stored_once(folder: Path) -> None:
    assert fine(await repetitions.run(folder, rounds=2))


async def test_what_was_acknowledged_survives_kills_of_workers(folder: Path) -> None:
    assert fine(await kills.run_workers(folder, rounds=2))


@needs_redis
async def test_each_recording_is_worked_on_once_whatever_is_killed(folder: Path) -> None:
    assert fine(await handoff.run(folder, rounds=2))


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_stopping_server_loses_no_upload_without_a_word(folder: Path, workers: int) -> None:
    assert fine(await drain.run(folder, workers=workers))


async def test_an_upload_survives_interruptions_of_every_kind(folder: Path) -> None:
    assert fine(await interruptions.run(folder, rounds=len(interruptions.KINDS)))


async def test_of_two_who_want_the_same_one_wins(folder: Path) -> None:
    assert fine(await races.run(folder, rounds=6, starts=1))


async def test_everything_at_once(folder: Path) -> None:
    assert fine(await mixed.run(folder, seconds=8))
