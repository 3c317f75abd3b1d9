"""For supervisors and load balancers: does it live, and should it get work?"""

from __future__ import annotations

from aiohttp import web

from maie_aiohttp.errors import IntakeError
from maie_aiohttp.web.appkeys import CATALOG, DRAIN, HANDOFF, INTAKE, STORE
from maie_aiohttp.web.problems import KINDS, Kind, problem


async def health(_request: web.Request) -> web.Response:
    """`GET /health`: answered as long as the event loop turns."""
    return web.json_response({"status": "ok"})


async def ready(request: web.Request) -> web.Response:
    """`GET /ready`: how many uploads are on their way, and with how many bytes; how many hand-offs wait, and how many
    were given up; 503 while any would be refused:
    stopping, disk full or failing, no catalog, no scanner."""
    try:
        request.app[DRAIN].check()
        await request.app[STORE].probe()
        await request.app[CATALOG].probe()
        await request.app[INTAKE].scanner.probe()
        backlogs = [await request.app[CATALOG].outbox.backlog(target) for target in request.app[HANDOFF].targets]
    except IntakeError as error:
        return problem(request, Kind(503, KINDS[type(error)].slug), str(error))
    receiving = request.app[INTAKE].receiving.values()
    received = sum(progress.received for progress in receiving)
    return web.json_response(
        {
            "status": "ready",
            "receiving": len(receiving),
            "received": received,
            "handoffs_waiting": sum(backlog.waiting for backlog in backlogs),
            "handoffs_dead": sum(backlog.dead for backlog in backlogs),
        }
    )
