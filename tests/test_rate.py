"""How often one address may ask."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maie_aiohttp.limits import rate
from maie_aiohttp.limits.rate import NoRate, Rate
from tests.clock import Clock

ADA, BOB = ip_address("192.0.2.1"), ip_address("192.0.2.2")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_so_many_at_once_then_so_many_a_second(clock: Clock) -> None:
    bucket = Rate(4, 8, now=clock)
    assert [bucket.wait(ADA) for _ in range(9)] == [*[0] * 8, 0.25]
    assert bucket.wait(BOB) == 0
    clock.time += 0.25
    assert [bucket.wait(ADA), bucket.wait(ADA)] == [0, 0.25]
    clock.time += 1_000
    assert [bucket.wait(ADA) for _ in range(9)] == [*[0] * 8, 0.25]


def test_a_wrong_key_counts_as_a_second(clock: Clock) -> None:
    bucket = Rate(4, 8, now=clock)
    for _ in range(3):
        bucket.punish(ADA)
    assert bucket.wait(ADA) == 1.25
    clock.time += 1.25
    assert bucket.wait(ADA) == 0


@settings(deadline=None)
@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 9), st.integers(1, 20))
def test_in_no_time_more_than_the_burst_and_what_that_time_allows(
    pauses: list[float], per_second: int, burst: int
) -> None:
    clock, taken = Clock(), list[float]()
    bucket = Rate(per_second, burst, now=clock)
    for pause in pauses:
        clock.time += pause
        wait = bucket.wait(ADA)
        if wait == 0:
            taken.append(clock.time)
        else:
            assert wait <= 1 / per_second + 1e-9
    for first, begin in enumerate(taken):
        for last, end in enumerate(taken[first:]):
            assert last + 1 <= burst + (end - begin) * per_second + 1e-6


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("0.0.0.1", "::1:0:0:0:0", False),
    ],
)
def test_who_is_one(clock: Clock, one: str, other: str, same: bool) -> None:
    bucket = Rate(1, 1, now=clock)
    assert bucket.wait(ip_address(one)) == 0
    assert (bucket.wait(ip_address(other)) > 0) == same


def test_memory_is_bounded_and_those_that_ask_most_are_kept(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "REMEMBERED", 10)
    bucket = Rate(1, 2, now=clock)
    bucket.wait(ADA)
    bucket.wait(ADA)
    for number in range(100):
        bucket.wait(ip_address(number))
        bucket.punish(ADA)
    assert len(bucket) == 10
    assert bucket.wait(ADA) > 0


def test_without_a_rate_nobody_waits() -> None:
    nothing = NoRate()
    for _ in range(9):
        nothing.punish(ADA)
        assert nothing.wait(ADA) == 0
