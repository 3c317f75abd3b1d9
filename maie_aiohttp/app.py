"""The web application: its parts, its routes, and what goes on beside the requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from itertools import groupby

from aiohttp import web
from aiohttp.web_routedef import RouteDef

from maie_aiohttp import pages, protocols
from maie_aiohttp.assembly import access, check, joining, running
from maie_aiohttp.concurrency import beside
from maie_aiohttp.crew.siblings import Siblings
from maie_aiohttp.handoffs.pipeline import pipeline
from maie_aiohttp.housekeeping import keep_agreeing, keep_house, keep_tidy
from maie_aiohttp.inspection.analyst import Analyst
from maie_aiohttp.intake.delivery import Intake
from maie_aiohttp.intake.resumption import Resumption
from maie_aiohttp.limits.rate import NoRate, Rate
from maie_aiohttp.progress.followers import Followers
from maie_aiohttp.settings import Settings
from maie_aiohttp.upkeep.outlines import Outlines
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
    TAGGER,
    TOKENS,
)
from maie_aiohttp.web.browsers import BROWSERS, Browsers
from maie_aiohttp.web.drain import Drain
from maie_aiohttp.web.problems import http_answer


def build(settings: Settings) -> web.Application:
    """The whole application. Its parts start with it and stop with it. Raises `ConfigurationError`."""
    return _application(settings, running(settings, check(settings)))


def build_worker(settings: Settings, siblings: Siblings, *, is_successor: bool) -> web.Application:
    """The application of one worker, with its share of the settings. Its supervisor has done what `recover_once`
    does; a successor does it for the worker whose place it takes."""
    return _application(settings, joining(settings, check(settings), siblings, is_successor=is_successor))


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
            app[ACCESS] = await access(intake, settings)
            async with (
                pipeline(settings, intake.catalog.outbox) as app[PIPELINE],
                _read_on_request(app, settings),
                beside(app[ACCESS].keep_current()),
                beside(keep_agreeing(intake, settings.resumable.sweep_interval)),
                beside(keep_tidy(intake, settings.resumable.sweep_interval)),
                beside(keep_house(intake, settings)),
            ):
                yield

    app.cleanup_ctx.append(parts)
    _add_routes(app, (*protocols.ROUTES, *pages.ROUTES))
    return app


@asynccontextmanager
async def _read_on_request(app: web.Application, settings: Settings) -> AsyncIterator[None]:
    """What recordings are read for only when somebody asks. Tags, which take a moment, do not wait for outlines."""
    memory = settings.inspector.memory
    analyst = Analyst(workers=1, timeout=settings.waveforms.timeout, memory=memory)
    tagger = Analyst(workers=1, timeout=settings.inspector.timeout, memory=memory)
    outlines = Outlines(app[STORE], app[CATALOG], app[INTAKE].locks, analyst)
    app[ANALYST], app[TAGGER], app[OUTLINES] = analyst, tagger, outlines
    try:
        yield
    finally:
        await outlines.close()
        await analyst.stop()
        await tagger.stop()


def _rate(settings: Settings) -> NoRate:
    limits = settings.requests
    return Rate(limits.per_second, limits.burst) if limits.per_second else NoRate()


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
