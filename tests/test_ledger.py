"""Promises of free space, and that they can be kept."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from maie_aiohttp.errors import StorageFull
from maie_aiohttp.limits.ledger import Claim, Ledger

SIZES = st.integers(0, 1000)
WHICH = st.integers(0, 10**6)


class Disk(RuleBasedStateMachine):
    """A disk that nobody else writes to, measured at any time and for any time."""

    def __init__(self) -> None:
        super().__init__()
        self.free = 5000
        self.ledger = Ledger()
        self.ledger.measured(self.free, 0)
        self.claims: list[Claim] = []
        self.measuring: tuple[int, int] | None = None

    @rule(size=SIZES)
    def claim(self, size: int) -> None:
        """Somebody asks for room."""
        with suppress(StorageFull):
            self.claims.append(self.ledger.claim(size))

    @rule(which=WHICH, size=SIZES)
    def write(self, which: int, size: int) -> None:
        """A claim is used, no further than it goes."""
        if self.claims:
            claim = self.claims[which % len(self.claims)]
            written = min(size, claim.left)
            self.free -= written
            claim.spend(written)

    @rule(which=WHICH)
    def release(self, which: int) -> None:
        """An upload ends; its bytes stay."""
        if self.claims:
            self.claims.pop(which % len(self.claims)).release()

    @rule(size=SIZES)
    def delete(self, size: int) -> None:
        """Something stored is deleted."""
        self.free += size

    @rule()
    def begin_to_measure(self) -> None:
        """The system looks at the disk; what it found is heard of later."""
        self.measuring = self.ledger.spent, self.free

    @rule()
    def hear_the_measure(self) -> None:
        """Meanwhile, anything may have been written."""
        if self.measuring is not None:
            spent, free = self.measuring
            self.ledger.measured(free, spent)
            self.measuring = None

    @invariant()
    def every_promise_can_be_kept(self) -> None:
        """All together."""
        assert self.ledger.promised == sum(claim.left for claim in self.claims)
        assert self.ledger.promised <= self.free
        for claim in self.claims:
            self.ledger.confirm(claim)


TestDisk = Disk.TestCase


def test_a_ledger_without_a_measurement_promises_nothing() -> None:
    with pytest.raises(StorageFull):
        Ledger().claim(1)


def test_more_may_be_written_than_was_claimed() -> None:
    ledger = Ledger()
    ledger.measured(100, 0)
    claim = ledger.claim(10)
    claim.spend(30)
    assert (claim.left, ledger.promised) == (0, 0)
    with pytest.raises(StorageFull):
        ledger.claim(71)
    ledger.claim(70)


def test_released_twice_is_given_back_once() -> None:
    ledger = Ledger()
    ledger.measured(100, 0)
    one, _ = ledger.claim(40), ledger.claim(40)
    one.release()
    one.release()
    assert ledger.promised == 40
    ledger.claim(60)


def test_who_claimed_nothing_leaves_what_others_claimed() -> None:
    ledger = Ledger()
    ledger.measured(100, 0)
    claimed, unclaimed = ledger.claim(40), ledger.claim(0)
    assert (claimed.must_leave, unclaimed.must_leave) == (0, 40)
