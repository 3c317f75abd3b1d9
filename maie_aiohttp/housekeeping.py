"""What goes on without being asked: in every process, and for all of them in one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from datetime import timedelta
from typing import NoReturn

import structlog

from maie_aiohttp.concurrency import beside
from maie_aiohttp.crew.bell import Bell, Heard
from maie_aiohttp.crew.leadership import leading
from maie_aiohttp.handoffs import targets
from maie_aiohttp.inspection.analyst import Analyst
from maie_aiohttp.intake.delivery import Intake
from maie_aiohttp.limits.throttle import Throttle
from maie_aiohttp.relay import Relay, Schedule, relay
from maie_aiohttp.settings import Settings
from maie_aiohttp.stores.folder import DataFolder
from maie_aiohttp.upkeep import expiry
from maie_aiohttp.upkeep.facts import FactFinder
from maie_aiohttp.upkeep.reconcile import audit
from maie_aiohttp.upkeep.scrub import Bookmark, Scrub

AGAIN = 5.0
"""Seconds after which begins anew what failed as a whole."""

log = structlog.get_logger()


async def keep_house(intake: Intake, settings: Settings) -> None:
    """What one process at a time does for all."""
    interval = settings.resumable.sweep_interval
    async with (
        leading(intake.locks),
        beside(_keep_looking(intake, settings)),
        beside(_keep_doing(lambda: _follow_up(intake, settings), AGAIN, "stored uploads not followed up")),
    ):
        await _keep_doing(lambda: sweep_once(intake, settings), interval, "expired uploads not swept")


async def keep_agreeing(intake: Intake, interval: float) -> None:
    """Agree with the records on the room that uploads were promised, here and by others."""
    await _keep_doing(lambda: intake.claims.restore(intake.catalog), interval, "promised room not agreed on")


async def keep_tidy(intake: Intake, interval: float) -> None:
    """Give back what was reserved of quotas for requests that are no more, here and elsewhere; forget old tokens."""

    async def tidy() -> None:
        await intake.quotas.tidy()
        await intake.tokens.tidy()

    await _keep_doing(tidy, interval, "quotas and tokens not tidied up")


async def sweep_once(intake: Intake, settings: Settings) -> int:
    """Let end what has had its time. Returns how many uploads did."""
    await expiry.forget_keys(intake.catalog, timedelta(seconds=settings.idempotency.lifetime))
    return await expiry.sweep(intake)


async def _keep_looking(intake: Intake, settings: Settings) -> None:
    """Compare disk and catalog: sizes and names at once, then, if it is wanted, every byte."""
    store, catalog, publish = intake.store, intake.catalog, intake.hub.publish
    if settings.scrub.rate == 0:
        await audit(store, catalog, publish)
        return
    throttle = Throttle(settings.scrub.rate)
    await audit(store, catalog, publish, pace=throttle.spend)
    bookmark = Bookmark(settings.storage.folder / "scrub")
    await Scrub(store, catalog, publish, throttle, bookmark).keep_on(timedelta(seconds=settings.scrub.interval))


async def _follow_up(intake: Intake, settings: Settings) -> None:
    """What becomes of uploads once they are stored: whoever has to do with that hears the same bell."""
    with (
        closing(Bell(DataFolder(settings.storage.folder).bell_file)) as bell,
        bell.listening() as to_relay,
        bell.listening() as to_examine,
    ):
        async with beside(_keep_doing(lambda: _relay(intake, settings, to_relay), AGAIN, "hand-offs not relayed")):
            await _keep_finding_facts(intake, settings, to_examine)


async def _keep_finding_facts(intake: Intake, settings: Settings, heard: Heard) -> None:
    """Examine what was stored; or let it be handed off as it is, also what waited before that was switched off."""
    facts = settings.facts
    if facts.workers == 0:
        await _keep_doing(intake.catalog.facts.forgo, settings.resumable.sweep_interval, "facts not forgone")
    analyst = Analyst(
        workers=facts.workers, timeout=facts.timeout, memory=settings.inspector.memory, patience=facts.decode_time
    )
    finder = FactFinder(intake.store, intake.catalog, intake.hub, analyst, heard, at_once=facts.workers)
    try:
        await finder.keep_on()
    finally:
        await analyst.stop()


async def _relay(intake: Intake, settings: Settings, heard: Heard) -> None:
    """Tell the targets what is stored."""
    chosen = settings.handoff
    schedule = Schedule(chosen.max_attempts, chosen.first_pause, chosen.longest_pause)
    async with AsyncExitStack() as stack:
        relays = []
        for target in targets.build(settings):
            stack.push_async_callback(target.close)
            relays.append(
                Relay(intake.catalog.outbox, target, intake.store.path, schedule, concurrency=chosen.concurrency)
            )
        await relay(relays, heard)


async def _keep_doing(work: Callable[[], Awaitable[object]], interval: float, failure: str) -> NoReturn:
    """At once, and every `interval` seconds."""
    while True:
        try:
            await work()
        except Exception:
            log.exception(failure)
        await asyncio.sleep(interval)
