"""Telling what becomes of uploads: in order, to those concerned, without waiting for anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from maie_aiohttp.errors import Busy, Draining, NotAudio, Truncated
from maie_aiohttp.inspection.checks import Progress
from maie_aiohttp.model import Status, Terms, Upload
from maie_aiohttp.progress import hub as module
from maie_aiohttp.progress.events import KEPT, Change, Listener
from maie_aiohttp.progress.hub import Hub
from tests.layers import upload

NOW = 0.0
LONG = 20.0


def receiving(terms: Terms | None = None) -> Upload:
    return upload(status=Status.RECEIVING, stored=None, offset=0, terms=terms)


async def heard(listener: Listener) -> list[tuple[str, UUID]]:
    """The changes that have gathered."""
    changes, _ = await listener.news(NOW)
    return [(change.name, change.upload.id) for change in changes]


async def counted(listener: Listener) -> dict[UUID, int]:
    """The next counts of bytes."""
    _, counts = await listener.news(LONG)
    return {count.upload.id: count.received for count in counts}


async def test_everybody_hears_of_their_own_in_order() -> None:
    hub, one, other = Hub(), receiving(), receiving()
    async with hub.listen(None) as of_all, hub.listen(one.id) as of_one:
        hub.publish(one)
        hub.publish(other)
        hub.publish(replace(one, status=Status.STORED))
        hub.deleted(other)
        changes = [("receiving", one.id), ("receiving", other.id), ("stored", one.id), ("deleted", other.id)]
        assert await heard(of_all) == changes
        assert await heard(of_one) == [("receiving", one.id), ("stored", one.id)]
        assert await heard(of_one) == []


async def test_a_part_is_told_only_to_who_asks_for_it() -> None:
    hub, part = Hub(), receiving(Terms(partial=True))
    async with hub.listen(None) as of_all, hub.listen(part.id) as of_part:
        hub.publish(part)
        assert await heard(of_all) == []
        assert await heard(of_part) == [("receiving", part.id)]


async def test_whoever_falls_behind_is_sent_away_alone() -> None:
    hub, one = Hub(), upload()
    async with hub.listen(None) as awake:
        sleeping = asyncio.create_task(sleep_through(hub))
        await asyncio.sleep(0)
        for _ in range(KEPT + 1):
            hub.publish(one)
            await awake.news(LONG)
        with pytest.raises(TimeoutError):
            await sleeping
        hub.publish(one)
        assert len(await heard(awake)) == 1


async def sleep_through(hub: Hub) -> None:
    """Listen, and let everything gather."""
    async with hub.listen(None):
        await asyncio.Event().wait()


async def test_the_newest_changes_are_remembered() -> None:
    hub = Hub()
    told = [upload() for _ in range(KEPT + 10)]
    async with hub.listen(None) as listener:
        start = listener.position
        for one in told[:10]:
            hub.publish(one)
        changes, _ = await listener.news(LONG)
        for one in told[10:]:
            hub.publish(one)
            await listener.news(LONG)
        assert ids_of(hub.since(changes[-1].id, listener)) == [one.id for one in told[10:]]
        assert hub.since(changes[-2].id, listener) is None
        assert hub.since(start, listener) is None
    async with hub.listen(told[-1].id) as listener:
        assert ids_of(hub.since(changes[-1].id, listener)) == [told[-1].id]
        assert hub.since(listener.position, listener) == []


def ids_of(changes: Sequence[Change] | None) -> list[UUID]:
    assert changes is not None
    return [change.upload.id for change in changes]


async def test_another_run_is_not_remembered() -> None:
    async with Hub().listen(None) as before:
        pass
    after = Hub()
    async with after.listen(None) as listener:
        assert after.since(before.position, listener) is None


@pytest.mark.parametrize(
    ("error", "name", "status", "reason"),
    [
        (NotAudio("This is text."), "rejected", Status.REJECTED, "This is text."),
        (Truncated("It broke off."), "deleted", Status.RECEIVING, "It broke off."),
        (Draining("Come back."), "deleted", Status.RECEIVING, "Come back."),
        (asyncio.CancelledError(), "deleted", Status.RECEIVING, None),
    ],
)
async def test_an_upload_without_a_record_ends_once(
    error: BaseException, name: str, status: Status, reason: str | None
) -> None:
    hub, one = Hub(), receiving()
    async with hub.listen(one.id) as listener:
        hub.begun(one)
        assert hub.unrecorded == {one.id: one}
        hub.given_up(one.id, error)
        hub.given_up(one.id, error)
        (_, end), _ = await listener.news(LONG)
    assert (end.name, end.upload.status, end.upload.reason) == (name, status, reason)
    assert hub.unrecorded == {}


async def test_what_is_stored_is_not_given_up() -> None:
    hub, one = Hub(), receiving()
    async with hub.listen(one.id) as listener:
        hub.begun(one)
        hub.publish(replace(one, status=Status.STORED))
        hub.given_up(one.id, asyncio.CancelledError())
        assert await heard(listener) == [("receiving", one.id), ("stored", one.id)]


async def test_counts_are_told_at_intervals_and_only_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 0.01)
    hub, one, idle, progress = Hub(), receiving(), receiving(), Progress()
    async with hub.listen(None) as listener:
        with hub.reception(one, progress), hub.reception(idle, Progress()):
            assert await counted(listener) == {one.id: 0, idle.id: 0}
            progress.feed(b"four")
            progress.feed(b"five")
            assert await counted(listener) == {one.id: 8}
            progress.feed(b"six")
        assert await counted(listener) == {one.id: 11}
    assert not hub.receiving


async def test_a_newcomer_takes_no_count_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 0.01)
    hub, one, progress = Hub(), receiving(), Progress()
    async with hub.listen(None) as first:
        with hub.reception(one, progress):
            assert await counted(first) == {one.id: 0}
            progress.feed(b"four")
            async with hub.listen(None) as newcomer:
                assert await counted(first) == {one.id: 4}
                assert await counted(newcomer) == {one.id: 4}


@pytest.mark.parametrize(("about_all", "waits"), [(True, "CROWDED_SAMPLE"), (False, "SAMPLE")])
async def test_a_crowd_that_follows_all_is_told_less_often(
    monkeypatch: pytest.MonkeyPatch, *, about_all: bool, waits: str
) -> None:
    for name in ("SAMPLE", "CROWDED_SAMPLE"):
        monkeypatch.setattr(module, name, 0.01 if name == waits else LONG * 10)
    monkeypatch.setattr(module, "CROWD", 0)
    hub, one, progress = Hub(), receiving(), Progress()
    with hub.reception(one, progress):
        async with hub.listen(None if about_all else one.id) as listener:
            assert await counted(listener) == {one.id: 0}
            progress.feed(b"four")
            assert await counted(listener) == {one.id: 4}


async def test_who_follows_all_shares_what_there_is_to_tell() -> None:
    hub, whole, part = Hub(), receiving(), receiving(Terms(partial=True))
    async with hub.listen(None) as first, hub.listen(None) as second, hub.listen(part.id) as of_part:
        with hub.reception(whole, Progress(5)), hub.reception(part, Progress(7)):
            hub._look()
            _, counts = await first.news(NOW)
            assert (await second.news(NOW))[1] is counts
            assert [count.upload for count in counts] == [whole]
            assert await counted(of_part) == {part.id: 7}


async def test_those_who_begin_share_the_states_that_stay() -> None:
    hub, one, other = Hub(), upload(), receiving()
    async with hub.listen(None) as listener:
        before = hub.snapshot([one, other, one], listener)
        after = hub.snapshot([replace(one), replace(other, offset=1), one], listener)
    assert after[0] is before[0]
    assert after[1].upload.offset == 1
    assert [change.id for change in after] == [None, None, listener.position]


async def test_no_more_are_listened_to_than_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LISTENERS", 1)
    hub = Hub()
    async with hub.listen(None):
        with pytest.raises(Busy):
            await hub.listen(None).__aenter__()
    async with hub.listen(None):
        pass


async def test_who_comes_late_sees_what_is_under_way() -> None:
    hub, one, progress = Hub(), receiving(), Progress(7)
    with hub.reception(one, progress):
        async with hub.listen(None) as first:
            assert await counted(first) == {one.id: 7}
            async with hub.listen(one.id) as second:
                assert await counted(second) == {one.id: 7}


async def test_a_change_outdates_the_count_before_it() -> None:
    hub, one = Hub(), receiving()
    async with hub.listen(None) as listener:
        with hub.reception(one, Progress(7)):
            hub._look()
            hub.publish(replace(one, status=Status.STORED))
            changes, counts = await listener.news(LONG)
    assert [change.name for change in changes] == ["stored"]
    assert not counts


async def test_nobody_looks_when_nobody_listens() -> None:
    hub = Hub()
    async with hub.listen(None):
        pass
    hub._look()  # for the last time
    with hub.reception(receiving(), Progress(7)):
        pass
    assert hub._paused == {}
