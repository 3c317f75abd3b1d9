"""What all connections together hold unread decides how much any of them receives at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maie_aiohttp.limits.unread import LARGEST, MIDDLE, SMALLEST, Share, Unread

BUDGET = 4 * LARGEST


class Line:
    """A connection that receives as much as it may, but at most `most`."""

    def __init__(self, unread: Unread, most: int = LARGEST) -> None:
        self.share = Share(unread, self)
        self._most = most
        self.receives = 0
        self.limited = -1
        """How often it was told to receive less."""
        self.limit_receiving()

    def limit_receiving(self) -> None:
        """As before each receipt of its own."""
        self.limited += 1
        self.receives = min(self.share.receipt, self._most)
        self.share.receives(self.receives)


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
    gone.share.give_up()
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


def test_in_a_crowd_whoever_waits_again_with_more_to_come_receives_much() -> None:
    held = Unread(BUDGET)
    held.add(BUDGET)
    line, receipts = Line(held), []
    for came in (SMALLEST, LARGEST, LARGEST - 1, 1, SMALLEST):
        line.share.ask()
        line.limit_receiving()
        receipts.append(line.receives)
        line.share.add(came)
        line.share.take()
    assert receipts == [SMALLEST, LARGEST, LARGEST, SMALLEST, SMALLEST]


def test_however_many_have_more_to_come_only_some_receive_much() -> None:
    held = Unread(BUDGET)
    held.add(BUDGET)
    crowd = [Line(held) for _ in range(100)]
    for line in crowd:
        line.share.add(SMALLEST)
        line.share.take()
        line.share.ask()
        line.limit_receiving()
    much = [line for line in crowd if line.receives == LARGEST]
    assert len(much) * LARGEST == 2 * BUDGET
    much.pop().share.give_up()
    crowd[-1].share.ask()
    assert crowd[-1].share.receipt == LARGEST


def test_whoever_has_much_in_hand_keeps_others_from_receiving_much() -> None:
    """Until it has been taken in, and not only until it came."""
    held = Unread(BUDGET)
    crowd = [Line(held) for _ in range(100)]
    for line in crowd:
        line.share.add(SMALLEST)
        line.share.take()
        line.share.ask()
        line.limit_receiving()
        line.share.add(line.receives)
        line.share.take()
    assert held._held <= 3 * BUDGET + 100 * SMALLEST
    for line in crowd:
        line.share.done()
    assert held._held == 0


def test_whoever_reads_without_asking_keeps_nothing() -> None:
    """aiohttp itself does, with the rest of a body that was refused."""
    held = Unread(BUDGET)
    share = Line(held).share
    for _ in range(10):
        share.add(LARGEST)
        share.take()
        assert not share.is_used_up


def test_in_a_crowd_whoever_does_not_wait_receives_little_and_stops() -> None:
    held = Unread(BUDGET)
    held.add(BUDGET)
    share = Line(held).share
    share.ask()
    share.add(SMALLEST)
    share.take()  # and now its upload waits for something else
    assert (share.receipt, share.is_used_up) == (SMALLEST, True)


def test_what_an_upload_has_in_its_hands_counts_until_it_waits_again() -> None:
    held = Unread(4 * MIDDLE)
    share = Line(held).share
    share.ask()
    share.add(2 * MIDDLE)
    share.take()
    in_hand = held.receipt
    share.ask()
    assert (in_hand, held.receipt) == (MIDDLE, LARGEST)


@given(st.lists(st.sampled_from(["add", "take", "ask", "drop"]), max_size=50))
def test_nothing_is_left_of_a_connection_that_has_gone(steps: list[str]) -> None:
    held = Unread(BUDGET)
    share = Line(held).share
    for step in steps:
        if step == "add":
            share.add(MIDDLE)
        else:
            getattr(share, step)()
    share.give_up()
    held.add(BUDGET // 4)
    assert held.receipt == LARGEST
