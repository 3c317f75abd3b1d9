"""One process that serves: from listening to the last answer."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence

import structlog
from aiohttp import web

from maie_aiohttp.inspection.libmagic import version as libmagic_version
from maie_aiohttp.settings import Server
from maie_aiohttp.web.appkeys import DRAIN, INTAKE
from maie_aiohttp.web.server import Runner

log = structlog.get_logger()


async def serve(runner: Runner, sites: Sequence[web.BaseSite], configured: Server, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then let uploads finish. The runner is set up already."""
    for site in sites:
        await site.start()
    collect_garbage_from_now_on()
    log.info("ready", url=sites[0].name, libmagic=libmagic_version())
    await stop.wait()
    for site in sites:
        await site.stop()
    runner.close_idle()
    await _drain(runner.app, configured)


def collect_garbage_from_now_on() -> None:
    """What is loaded by now stays; no collection needs to look at it again."""
    gc.enable()
    gc.freeze()


async def _drain(built: web.Application, configured: Server) -> None:
    drain = built[DRAIN]
    log.info("stopping", receiving=len(drain), seconds=configured.drain_timeout)
    if late := await drain.run(configured.drain_timeout, built[INTAKE].give_up):
        log.warning("uploads interrupted", uploads=late)
        # Closing a socket with unread bytes in it resets the connection, and the answer with it.
        await asyncio.sleep(configured.linger)
