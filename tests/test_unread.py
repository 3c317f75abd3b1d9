"""What all connections together hold unread decides how much any of them receives at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maie_aiohttp.limits.unread import LARGEST, MIDDLE, SMALLEST, Unread

BUDGET = 4 * LARGEST


class Line:
    """A connection that receives as much as it may, but at most `most`."""

    def __init__(self, unread: Unread, most: int = LARGEST) -> None:
        self._unread = unread
        self._most = most
        self.receives = 0
        self.limited = -1
        """How often it was told to receive less."""
        self.limit_receiving()

    def limit_receiving(self) -> None:
        """As before each receipt of its own."""
        self.limited += 1
        self.receives = min(self._unread.receipt, self._most)
        self._unread.receives(self, self.receives)


def test_receipts_shrink_as_the_budget_fills_and_grow_again() -> None:
    held = Unread(BUDGET)
    receipts = [held.receipt]
    for size in (*[LARGEST] * 4, *[-LARGEST] * 4):
        held.add(size)
        receipts.append(held.receipt)
    assert receipts == [LARGEST, LARGEST, MIDDLE, MIDDLE, SMALLEST, MIDDLE, MIDDLE, LARGEST, LARGEST]


def test_whoever_receives_too_much_hears_it_at_once() -> None:
    held = Unread(BUDGET)
    lines = [Line(held), Line(held, MIDDLE), Line(held, SMALLEST)]
    held.add(2 * LARGEST)
    assert [line.receives for line in lines] == [MIDDLE, MIDDLE, SMALLEST]
    held.add(2 * LARGEST)
    assert [line.receives for line in lines] == [SMALLEST] * 3


def test_a_crowd_that_is_silent_is_not_told_again_and_again() -> None:
    """Each would cost more than the receipt that changed the size."""
    held = Unread(BUDGET)
    crowd, busy = [Line(held, MIDDLE) for _ in range(100)], Line(held)
    for _ in range(50):
        held.add(BUDGET)
        held.add(-BUDGET)
        busy.limit_receiving()
    assert busy.receives == LARGEST
    assert {line.limited for line in crowd} == {1}


def test_who_has_gone_hears_nothing() -> None:
    held = Unread(BUDGET)
    gone = Line(held)
    held.forget(gone)
    held.add(BUDGET)
    assert gone.limited == 0


@given(st.lists(st.integers(0, 2000), max_size=50))
def test_a_crowd_that_comes_to_life_at_once_holds_little_more_than_the_budget(turns: list[int]) -> None:
    """Each receives as much as it may, one after the other, and nobody reads."""
    held = Unread(BUDGET)
    total = 0
    for crowd in turns:
        for _ in range(crowd):
            total += held.receipt
            held.add(held.receipt)
    assert total <= BUDGET + sum(turns) * SMALLEST + LARGEST
