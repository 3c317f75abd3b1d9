"""When enough of a quota is free again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maie_aiohttp.limits.quota import PATIENCE, Need, Quota, Spent, Usage, end_of, minute_of
from tests.layers import NOON

THIS = minute_of(NOON)
HOUR = timedelta(hours=1)


def usage(*spent: Spent, size: int = 0, files: int = 0, uploads: int = 0) -> Usage:
    return Usage(size, files, uploads, spent)


NEXT_MINUTE = 60


@pytest.mark.parametrize(
    ("used", "quota", "seconds"),
    [
        (usage(), Quota(size=10, window=HOUR), 1),
        (usage(Spent(THIS, 5, 1)), Quota(size=10, window=HOUR), 1),
        (usage(Spent(THIS, 6, 1)), Quota(size=10, window=HOUR), 3600 + NEXT_MINUTE),
        (usage(Spent(THIS - 60, 6, 1)), Quota(size=10, window=HOUR), NEXT_MINUTE),
        (usage(Spent(THIS - 60, 1, 1), Spent(THIS - 30, 6, 1)), Quota(size=10, window=HOUR), 1800 + NEXT_MINUTE),
        (usage(Spent(THIS - 60, 1, 1)), Quota(files=1, window=HOUR), NEXT_MINUTE),
        (usage(size=6), Quota(size=10, window=HOUR), PATIENCE),
        (usage(Spent(THIS - 60, 1, 1), size=6), Quota(size=10, window=HOUR), NEXT_MINUTE),
        (usage(files=1), Quota(files=1, window=HOUR), PATIENCE),
        (usage(uploads=1), Quota(uploads=1, window=HOUR), PATIENCE),
        (usage(uploads=1), Quota(uploads=2, window=HOUR), 1),
    ],
)
def test_how_long_to_wait(used: Usage, quota: Quota, seconds: int) -> None:
    assert used.seconds_until(quota, Need(5, 5), NOON) == seconds


MINUTES = st.integers(THIS - 60, THIS)
SPENT = st.lists(st.builds(Spent, MINUTES, st.integers(1, 50), st.integers(1, 5)), unique_by=lambda one: one.minute)


@settings(deadline=None)
@given(SPENT, st.integers(5, 60), st.integers(1, 9))
def test_who_waits_so_long_and_no_shorter_finds_room(spent: list[Spent], size: int, files: int) -> None:
    used = usage(*sorted(spent, key=lambda one: one.minute))
    quota, need = Quota(size, files, window=HOUR), Need(5, 5)

    def fits(seconds: int) -> bool:
        since = minute_of(NOON + timedelta(seconds=seconds) - HOUR)
        left = [one for one in used.spent if one.minute >= since]
        return sum(one.size for one in left) + 5 <= size and sum(one.files for one in left) < files

    seconds = used.seconds_until(quota, need, NOON)
    assert fits(seconds)
    assert seconds == 1 or not fits(seconds - 1)


def test_a_minute_ends_where_the_next_begins() -> None:
    assert minute_of(end_of(THIS)) == THIS + 1
    assert minute_of(end_of(THIS) - timedelta(microseconds=1)) == THIS


@pytest.mark.parametrize(
    ("used", "size", "left"),
    [(usage(), None, None), (usage(Spent(THIS, 3, 1), size=4), 10, 3), (usage(size=40), 10, 0)],
)
def test_what_is_left(used: Usage, size: int | None, left: int | None) -> None:
    assert used.left(Quota(size)) == left
