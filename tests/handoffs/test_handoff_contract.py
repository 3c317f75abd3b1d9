"""What every target promises; see `interfaces.Handoff`."""

from __future__ import annotations

import asyncio

import pytest

from maie_aiohttp.errors import Undelivered
from tests.handoffs.sides import Remote, Side, event

ODD = {"": "", "ü\n\0\x1b\u202e": ("a", "\ud800"), "long": "x" * 16_384}
"""Metadata such as clients may send."""


async def test_is_told_and_acknowledges(side: Side) -> None:
    told = event()
    await side.handoff.deliver(told)
    assert await side.received() == [told.id]


async def test_told_again_it_is_the_same_id(side: Side) -> None:
    told = event()
    for _ in range(2):
        await side.handoff.deliver(told)
    assert {*await side.received()} == {told.id}


async def test_is_told_several_at_once(side: Side) -> None:
    told = [event() for _ in range(20)]
    await asyncio.gather(*(side.handoff.deliver(one) for one in told))
    assert {*await side.received()} == {one.id for one in told}


@pytest.mark.parametrize(
    "changes", [{"metadata": ODD}, {"filename": None, "metadata": {}}, {"filename": "ä\n" * 100, "owner": "a@b"}]
)
async def test_whatever_the_record_says_it_can_be_told(side: Side, changes: dict[str, object]) -> None:
    told = event(**changes)
    await side.handoff.deliver(told)
    assert await side.received() == [told.id]


async def test_never_used_it_can_be_closed(side: Side) -> None:
    await side.handoff.close()


async def test_fault_48_down_it_takes_nothing_and_back_again_it_does(remote: Remote) -> None:
    told = event()
    await remote.leave()
    for _ in range(2):
        with pytest.raises(Undelivered) as raised:
            await remote.handoff.deliver(told)
        assert str(raised.value).isprintable()
        assert "127.0.0.1" not in str(raised.value)  # owners of uploads see it
    await remote.come_back()
    await remote.handoff.deliver(told)
    assert await remote.received() == [told.id]


async def test_restarted_between_two_events_it_gets_both(remote: Remote) -> None:
    """The second may have to be told twice: the connection is gone."""
    first, second = event(), event()
    await remote.handoff.deliver(first)
    await remote.leave()
    await remote.come_back()
    try:
        await remote.handoff.deliver(second)
    except Undelivered:
        await remote.handoff.deliver(second)
    assert second.id in await remote.received()


async def test_hanging_it_is_not_waited_for_without_end(remote: Remote) -> None:
    told = event()
    await remote.hang()
    with pytest.raises(Undelivered, match="in time"):
        await remote.handoff.deliver(told)
    await remote.come_back()
    await remote.handoff.deliver(told)
    assert told.id in await remote.received()


async def test_cancelled_it_can_be_told_again(remote: Remote) -> None:
    told = event()
    await remote.hang()
    delivery = asyncio.create_task(remote.handoff.deliver(told))
    await asyncio.sleep(0.05)
    delivery.cancel()
    await asyncio.wait([delivery])
    assert delivery.cancelled()
    await remote.come_back()
    await remote.handoff.deliver(told)
    assert told.id in await remote.received()
