"""The composition root: every part is built, wired, started and stopped here, and only here."""

from __future__ import annotations

import asyncio
import math
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from itertools import groupby
from typing import Any, NoReturn

import structlog
from aiohttp import web
from aiohttp.web_routedef import RouteDef

from maie_aiohttp import pages, protocols
from maie_aiohttp.access.admission import Access
from maie_aiohttp.access.signing import Signer, secret_in
from maie_aiohttp.addresses import socket_address
from maie_aiohttp.catalogs.sql import SqlCatalog, sqlite_url
from maie_aiohttp.catalogs.turn import Turn
from maie_aiohttp.crew.bell import Bell
from maie_aiohttp.crew.leadership import leading
from maie_aiohttp.crew.shared_hub import SharedHub
from maie_aiohttp.crew.siblings import Siblings
from maie_aiohttp.crew.succession import recover_beside
from maie_aiohttp.formats import CORE, OPTIONAL
from maie_aiohttp.handoffs import targets
from maie_aiohttp.handoffs.pipeline import pipeline
from maie_aiohttp.inspection.analyst import Analyst
from maie_aiohttp.inspection.clamd import Clamd
from maie_aiohttp.inspection.inspector import Inspector
from maie_aiohttp.inspection.scanner import ClamdScanner, NoScanner
from maie_aiohttp.intake.delivery import Intake, Rules
from maie_aiohttp.intake.locks import Locks
from maie_aiohttp.intake.resumption import Resumption
from maie_aiohttp.interfaces import Scanner
from maie_aiohttp.limits.quota import Quota
from maie_aiohttp.limits.rate import NoRate, Rate
from maie_aiohttp.limits.throttle import Throttle
from maie_aiohttp.progress.followers import Followers
from maie_aiohttp.progress.hub import Hub
from maie_aiohttp.relay import Relay, Schedule, relay
from maie_aiohttp.settings import ConfigurationError, Scan, Settings
from maie_aiohttp.stores.blocks import BlockBudget
from maie_aiohttp.stores.disk import DiskStore
from maie_aiohttp.stores.folder import DataFolder
from maie_aiohttp.stores.space import Reserve
from maie_aiohttp.upkeep import expiry
from maie_aiohttp.upkeep.facts import FactFinder
from maie_aiohttp.upkeep.outlines import Outlines
from maie_aiohttp.upkeep.reconcile import audit, recover
from maie_aiohttp.upkeep.scrub import Bookmark, Scrub
from maie_aiohttp.web import cors, middlewares, trail
from maie_aiohttp.web.appkeys import (
    ACCESS,
    ANALYST,
    CATALOG,
    DRAIN,
    FOLLOWERS,
    HANDOFF,
    INTAKE,
    LIMITS,
    OUTLINES,
    PIPELINE,
    RATE,
    RESUMPTION,
    SERVER,
    STORE,
    TOKENS,
)
from maie_aiohttp.web.browsers import BROWSERS, Browsers
from maie_aiohttp.web.drain import Drain
from maie_aiohttp.web.problems import http_answer

RELAY_AGAIN = 5.0
"""Seconds after which the relay begins anew that failed."""

log = structlog.get_logger()


def check(settings: Settings) -> Rules:
    """What the settings make of it that they cannot know themselves. Raises `ConfigurationError`."""
    unknown = sorted(set(settings.audio.extra_formats) - OPTIONAL)
    if unknown:
        names = ", ".join(sorted(OPTIONAL))
        raise ConfigurationError(f"audio.extra_formats: no such format: {', '.join(unknown)}; there are {names}")
    targets.check(settings)
    return Rules(
        settings.limits.max_size,
        CORE.union(settings.audio.extra_formats),
        reuse=settings.uploads.duplicates == "reuse",
        max_duration=settings.limits.max_duration or math.inf,
        finds_facts=settings.facts.workers > 0,
    )


def build(settings: Settings) -> web.Application:
    """The whole application. Its parts start with it and stop with it. Raises `ConfigurationError`."""
    return _application(settings, running(settings, check(settings)))


def build_worker(settings: Settings, siblings: Siblings, *, is_successor: bool) -> web.Application:
    """The application of one worker, with its share of the settings. Its supervisor has done what `recover_once`
    does; a successor does it for the worker whose place it takes."""
    return _application(settings, _joining(settings, check(settings), siblings, is_successor=is_successor))


def _application(settings: Settings, started: AbstractAsyncContextManager[Intake]) -> web.Application:
    app = web.Application(middlewares=[middlewares.identify, middlewares.report, middlewares.hold_back])
    app.on_response_prepare.extend((middlewares.finish_headers, trail.write))
    cors.allow_origins(app, settings.cors)
    app[SERVER] = settings.server
    app[LIMITS] = settings.limits
    app[HANDOFF] = settings.handoff
    app[DRAIN] = Drain()
    app[BROWSERS] = Browsers(settings)
    app[RATE] = _rate(settings)
    app[TOKENS] = settings.tokens

    async def parts(app: web.Application) -> AsyncIterator[None]:
        async with started as intake:
            app[INTAKE], app[STORE], app[CATALOG] = intake, intake.store, intake.catalog
            app[RESUMPTION] = Resumption(
                intake, timedelta(seconds=settings.resumable.lifetime), workers=settings.server.workers
            )
            app[FOLLOWERS] = Followers(intake.catalog, workers=settings.server.workers)
            app[ACCESS] = await _access(intake, settings)
            async with (
                pipeline(settings, intake.catalog.outbox) as app[PIPELINE],
                _read_on_request(app, settings),
                _beside(app[ACCESS].keep_current()),
                _beside(_keep_agreeing(intake, settings.resumable.sweep_interval)),
                _beside(_keep_tidy(intake, settings.resumable.sweep_interval)),
                _beside(_keep_house(intake, settings)),
            ):
                yield

    app.cleanup_ctx.append(parts)
    _add_routes(app, (*protocols.ROUTES, *pages.ROUTES))
    return app


@asynccontextmanager
async def running(settings: Settings, rules: Rules) -> AsyncIterator[Intake]:
    """Everything below HTTP, started and reconciled. Raises `StorageFailed` if it cannot start."""
    raise_descriptor_limit()
    async with AsyncExitStack() as stack:
        folder = DataFolder(settings.storage.folder)
        stack.callback(folder.close)
        folder.open()
        intake = await _assemble(stack, folder, settings, rules)
        await recover(intake.store, intake.catalog)
        await _start_inspector(stack, intake)
        yield intake


async def recover_once(settings: Settings, folder: DataFolder) -> None:
    """What has to be done in a data folder before workers serve. Raises `StorageFailed` if that cannot be, and
    `ConfigurationError` where anybody could come in."""
    async with AsyncExitStack() as stack:
        intake = await _assemble(stack, folder, settings, check(settings))
        await _access(intake, settings)
        await recover(intake.store, intake.catalog)


@asynccontextmanager
async def _joining(
    settings: Settings, rules: Rules, siblings: Siblings, *, is_successor: bool
) -> AsyncIterator[Intake]:
    """Everything below HTTP, beside other workers."""
    hub = SharedHub(siblings)
    async with AsyncExitStack() as stack:
        folder = DataFolder(settings.storage.folder)
        stack.callback(folder.close)
        folder.attach()
        intake = await _assemble(stack, folder, settings, rules, hub)
        await _start_inspector(stack, intake)
        stack.callback(hub.close)
        hub.open(is_successor=is_successor)
        if is_successor:
            await stack.enter_async_context(_beside(recover_beside(intake.store, intake.catalog, intake.locks)))
        yield intake


async def _start_inspector(stack: AsyncExitStack, intake: Intake) -> None:
    stack.push_async_callback(intake.give_up)
    await intake.inspector.start()


async def sweep(settings: Settings, rules: Rules) -> int:
    """Let abandoned uploads expire, whether or not a server runs. Returns how many. Raises `StorageFailed` if that
    cannot be done."""
    async with AsyncExitStack() as stack:
        folder = DataFolder(settings.storage.folder)
        stack.callback(folder.close)
        folder.attach()
        return await _sweep(await _assemble(stack, folder, settings, rules), settings)


async def _assemble(
    stack: AsyncExitStack, folder: DataFolder, settings: Settings, rules: Rules, hub: Hub | None = None
) -> Intake:
    store = disk_store(settings, folder)
    stack.callback(store.close)
    turn = Turn(folder.root / "turn")
    stack.callback(turn.close)
    bell = Bell(folder.bell_file)
    stack.callback(bell.close)
    catalog = await SqlCatalog.open(catalog_url(settings, folder), turn.taken, bell.ring)
    stack.push_async_callback(catalog.close)
    locks = Locks(folder.locks_file)
    stack.callback(locks.close)
    return Intake(store, catalog, _inspector(settings), locks, rules, _scanner(settings.scan), hub)


def raise_descriptor_limit() -> None:
    """Take as many file descriptors as the system gives without asking: every upload needs two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS names a hard limit that it does not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def catalog_url(settings: Settings, folder: DataFolder) -> str:
    """Where the uploads are recorded."""
    return settings.catalog.url or sqlite_url(folder.root / "catalog.sqlite")


def token_signer(settings: Settings) -> Signer:
    """Of upload tokens. Makes the secret if there is none. Raises `StorageFailed`."""
    secret = settings.tokens.secret
    return Signer(secret_in(settings.storage.folder / "token-secret") if secret is None else secret.encode())


def disk_store(settings: Settings, folder: DataFolder) -> DiskStore:
    """The store in a folder that is open."""
    storage = settings.storage
    return DiskStore(
        folder,
        BlockBudget(largest=storage.block_size, total=storage.block_budget),
        Reserve(storage.reserve, storage.reserve_ratio),
        threads=storage.write_threads,
    )


def _inspector(settings: Settings) -> Inspector:
    limits = settings.inspector
    return Inspector(workers=limits.workers, timeout=limits.timeout, memory=limits.memory)


def _scanner(configured: Scan) -> Scanner:
    address = socket_address(configured.clamd or "")
    if address is None:
        return NoScanner()
    return ClamdScanner(Clamd(address), connections=configured.connections, timeout=configured.timeout)


def _rate(settings: Settings) -> NoRate:
    limits = settings.requests
    return Rate(limits.per_second, limits.burst) if limits.per_second else NoRate()


def _quota(settings: Settings) -> Quota:
    """Of owners who have none of their own."""
    limits = settings.quota
    return Quota(limits.size, limits.files, limits.uploads, timedelta(seconds=limits.window))


async def _access(intake: Intake, settings: Settings) -> Access:
    """Raises `ConfigurationError` where anybody could come in."""
    signer = token_signer(settings)
    access = Access(intake.catalog.keyring, signer, settings.access.without_keys, _quota(settings))
    await access.refresh()
    access.check(settings.server)
    return access


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


async def _keep_finding_facts(intake: Intake, settings: Settings) -> None:
    """Examine what was stored; or let it be handed off as it is, also what waited before that was switched off."""
    facts = settings.facts
    if facts.workers == 0:
        await _keep_doing(intake.catalog.facts.forgo, settings.resumable.sweep_interval, "facts not forgone")
    analyst = Analyst(
        workers=facts.workers, timeout=facts.timeout, memory=settings.inspector.memory, patience=facts.decode_time
    )
    try:
        await FactFinder(intake.store, intake.catalog, intake.hub, analyst, at_once=facts.workers).keep_on()
    finally:
        await analyst.stop()


@asynccontextmanager
async def _read_on_request(app: web.Application, settings: Settings) -> AsyncIterator[None]:
    """What recordings are read for only when somebody asks."""
    analyst = Analyst(workers=1, timeout=settings.waveforms.timeout, memory=settings.inspector.memory)
    outlines = Outlines(app[STORE], app[CATALOG], app[INTAKE].locks, analyst)
    app[ANALYST], app[OUTLINES] = analyst, outlines
    try:
        yield
    finally:
        await outlines.close()
        await analyst.stop()


async def _keep_house(intake: Intake, settings: Settings) -> None:
    """What one process at a time does for all."""
    interval = settings.resumable.sweep_interval
    async with (
        leading(intake.locks),
        _beside(_keep_looking(intake, settings)),
        _beside(_keep_relaying(intake, settings)),
        _beside(_keep_finding_facts(intake, settings)),
    ):
        await _keep_doing(lambda: _sweep(intake, settings), interval, "expired uploads not swept")


async def _keep_relaying(intake: Intake, settings: Settings) -> None:
    """Whatever goes wrong with it."""
    await _keep_doing(lambda: _relay(intake, settings), RELAY_AGAIN, "hand-offs not relayed")


async def _relay(intake: Intake, settings: Settings) -> None:
    """Tell the targets what is stored."""
    chosen = settings.handoff
    schedule = Schedule(chosen.max_attempts, chosen.first_pause, chosen.longest_pause)
    async with AsyncExitStack() as stack:
        bell = Bell(DataFolder(settings.storage.folder).bell_file)
        stack.callback(bell.close)
        relays = []
        for target in targets.build(settings):
            stack.push_async_callback(target.close)
            relays.append(
                Relay(intake.catalog.outbox, target, intake.store.path, schedule, concurrency=chosen.concurrency)
            )
        await relay(relays, bell.heard)


async def _keep_agreeing(intake: Intake, interval: float) -> None:
    """Agree with the records on the room that uploads were promised, here and by others."""
    await _keep_doing(lambda: intake.claims.restore(intake.catalog), interval, "promised room not agreed on")


async def _keep_tidy(intake: Intake, interval: float) -> None:
    """Give back what was reserved of quotas for requests that are no more, here and elsewhere; forget old tokens."""

    async def tidy() -> None:
        await intake.quotas.tidy()
        await intake.tokens.tidy()

    await _keep_doing(tidy, interval, "quotas and tokens not tidied up")


async def _keep_doing(work: Callable[[], Awaitable[object]], interval: float, failure: str) -> NoReturn:
    """At once, and every `interval` seconds."""
    while True:
        try:
            await work()
        except Exception:
            log.exception(failure)
        await asyncio.sleep(interval)


async def _sweep(intake: Intake, settings: Settings) -> int:
    """Let end what has had its time. Returns how many uploads did."""
    await expiry.forget_keys(intake.catalog, timedelta(seconds=settings.idempotency.lifetime))
    return await expiry.sweep(intake)


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let the work go on beside the requests, however long it takes."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _add_routes(app: web.Application, routes: Iterable[RouteDef]) -> None:
    """Every route, and for each path and for all others an answer that is ours, given before `100 Continue`."""
    app.add_routes(routes)
    for path, group in groupby(sorted(routes, key=_path), key=_path):
        _refuse_rest(app, path, 405, {"Allow": ", ".join(_methods(group))})
    _refuse_rest(app, "/{rest:.*}", 404, {})


def _path(route: RouteDef) -> str:
    return route.path


def _methods(routes: Iterable[RouteDef]) -> list[str]:
    methods = {route.method for route in routes}
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def _refuse_rest(app: web.Application, path: str, status: int, headers: dict[str, str]) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return http_answer(request, status, headers)

    app.router.add_route("*", path, refuse, expect_handler=refuse)
