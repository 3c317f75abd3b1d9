"""Two hubs of one server, in one process: what gets lost between them is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn

import pytest

from maie_aiohttp.crew.shared_hub import SharedHub
from maie_aiohttp.crew.siblings import Exchange, Siblings
from maie_aiohttp.model import Status
from maie_aiohttp.progress.events import KEPT
from tests.layers import upload
from tests.test_events import LONG, receiving


@contextmanager
def hubs() -> Iterator[tuple[SharedHub, SharedHub]]:
    """Both open."""
    exchange = Exchange(2)
    here, there = (SharedHub(Siblings(exchange, number)) for number in range(2))
    here.open(is_successor=False)
    there.open(is_successor=False)
    try:
        yield here, there
    finally:
        here.close()
        there.close()
        for one in (*exchange.inboxes, *exchange.outboxes):
            one.close()


async def sent_away(hub: SharedHub, happen: Callable[[], None]) -> None:
    """Listen to all while something happens, until that ends it."""
    with pytest.raises(TimeoutError):
        await _listen(hub, happen)


async def _listen(hub: SharedHub, happen: Callable[[], None]) -> NoReturn:
    async with hub.listen(None) as listener:
        happen()
        while True:
            await listener.news(LONG)


async def test_nothing_is_said_to_who_does_not_listen() -> None:
    with hubs() as (here, there):
        there.publish(upload())
        assert [*here._siblings._heard()] == []


async def test_who_misses_something_is_sent_away() -> None:
    large = replace(upload(), metadata={"notes": "x" * 2**24})
    with hubs() as (here, there):
        await sent_away(here, lambda: there.publish(large))
        async with here.listen(None) as listener:
            assert here.since(listener.position, listener) == []
            there.publish(upload())
            changes, _ = await listener.news(LONG)
            assert [change.name for change in changes] == ["stored"]


async def test_who_does_not_keep_up_is_sent_away() -> None:
    with hubs() as (here, there):

        def hurry() -> None:
            for _ in range(100 * KEPT):
                there.publish(upload())

        await sent_away(here, hurry)


async def test_what_nobody_knows_the_end_of_is_forgotten_everywhere() -> None:
    one = receiving()
    with hubs() as (here, there):
        there.begun(one)
        async with here.listen(None) as of_all:
            assert list(here.unrecorded) == [one.id]
            there.forget(one.id)
            there.publish(upload())
            await of_all.news(LONG)
            assert not here.unrecorded


async def test_a_successor_makes_listeners_begin_anew() -> None:
    with hubs() as (here, there):
        there.begun(receiving())

        def succeed() -> None:
            there.close()
            there.unrecorded.clear()
            there.open(is_successor=True)

        await sent_away(here, succeed)
        assert not here.unrecorded


async def test_both_listen() -> None:
    one = receiving()
    with hubs() as (here, there):
        async with here.listen(None) as first, there.listen(None) as second:
            there.begun(one)
            here.publish(upload())
            for listener in (first, second):
                seen: set[str] = set()
                while len(seen) < 2:
                    changes, _ = await listener.news(LONG)
                    seen |= {change.name for change in changes}
            assert seen == {Status.RECEIVING, Status.STORED}
