"""What all connections together hold unread decides how much any of them receives at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maie_aiohttp.unread import LARGEST, MIDDLE, SMALLEST, Unread

BUDGET = 4 * LARGEST


def unread() -> tuple[Unread, list[int]]:
    """And the receipts that it announced."""
    announced: list[int] = []
    held = Unread(BUDGET, lambda: announced.append(held.receipt))
    return held, announced


def test_receipts_shrink_as_the_budget_fills_and_grow_again() -> None:
    held, announced = unread()
    assert held.receipt == LARGEST
    for _ in range(4):
        held.add(LARGEST)
    for _ in range(4):
        held.add(-LARGEST)
    assert announced == [MIDDLE, SMALLEST, MIDDLE, LARGEST]


def test_what_changes_nothing_is_not_announced() -> None:
    held, announced = unread()
    held.add(1)
    held.add(-1)
    held.add(0)
    assert announced == []


@given(st.lists(st.integers(0, 2000), max_size=50))
def test_a_crowd_that_comes_to_life_at_once_holds_little_more_than_the_budget(turns: list[int]) -> None:
    """Each receives as much as it may, one after the other, and nobody reads."""
    held, _ = unread()
    total = 0
    for crowd in turns:
        for _ in range(crowd):
            total += held.receipt
            held.add(held.receipt)
    assert total <= BUDGET + sum(turns) * SMALLEST + LARGEST
