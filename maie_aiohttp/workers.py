"""A server of several processes. Their supervisor locks the data folder, clears up after a crash and listens, once; the
workers take turns in accepting what comes.

The listening sockets are shared, not opened by each with SO_REUSEPORT: then the kernel would deal clients out by their
addresses, also to a worker that is busy, and those who wait for one that dies would be lost.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import partial

import structlog

from maie_aiohttp import app, assembly, journal
from maie_aiohttp.crew import shares
from maie_aiohttp.crew.siblings import Exchange, Siblings
from maie_aiohttp.crew.supervisor import SIGNALS, Start, Supervisor
from maie_aiohttp.errors import IntakeError
from maie_aiohttp.settings import Settings
from maie_aiohttp.stores.folder import DataFolder
from maie_aiohttp.web.listening import BACKLOG, Site, bind, clear_away
from maie_aiohttp.web.server import Runner, check_parser
from maie_aiohttp.web.serving import collect_garbage_from_now_on, serve
from maie_aiohttp.web.tls import Certificate, Unusable

ACCEPT = 1
"""Clients that a worker takes at a time, so that others who are free get some of a crowd."""

log = structlog.get_logger()


def run(settings: Settings, certificate: Certificate | None) -> int:
    """Serve until SIGTERM or SIGINT; the supervisor keeps the certificate for workers to come. Returns the exit status.
    Raises what keeps a server from starting."""
    check_parser()
    assembly.raise_descriptor_limit()
    folder = DataFolder(settings.storage.folder)
    folder.open()
    try:
        with journal.written(level=settings.log.level, style=settings.log.format, audit_file=settings.log.audit_file):
            listening = asyncio.run(_begin(settings, folder))
        collect_garbage_from_now_on()
        work = partial(_work, settings, certificate, listening, Exchange(settings.server.workers))
        close, renew = partial(_close, listening), partial(_renew, certificate)
        return Supervisor(settings.server.workers, work, close, renew).run()
    finally:
        clear_away(settings.server)
        folder.close()


async def _begin(settings: Settings, folder: DataFolder) -> Sequence[socket.socket]:
    """What is done once for all workers. Returns the sockets that now listen."""
    await assembly.recover_once(settings, folder)
    return [_Listening.of(one) for one in await bind(settings.server)]


def _close(listening: Sequence[socket.socket]) -> None:
    for one in listening:
        one.close()


def _renew(certificate: Certificate | None) -> None:
    """Workers say what is wrong with it."""
    if certificate is not None:
        with suppress(Unusable):
            certificate.renew()


class _Listening(socket.socket):
    """A socket that listens, in every process that has it."""

    @classmethod
    def of(cls, bound: socket.socket) -> _Listening:
        """Let a bound socket listen, as this."""
        bound.listen(BACKLOG)
        return cls(fileno=bound.detach())

    def listen(self, _: int = 0, /) -> None:
        """Nothing to do. asyncio means this number to be the clients to accept at a time, too."""


def _work(
    settings: Settings,
    certificate: Certificate | None,
    listening: Sequence[socket.socket],
    exchange: Exchange,
    start: Start,
) -> int:
    """One worker, from its first step to its last. Returns the exit status."""
    with journal.written(level=settings.log.level, style=settings.log.format, audit_file=settings.log.audit_file):
        try:
            siblings = Siblings(exchange, start.number)
            asyncio.run(_serve(shares.share(settings, start.number), certificate, listening, siblings, start))
        except (IntakeError, OSError, RuntimeError) as error:
            log.error("worker does not run", reason=str(error))  # noqa: TRY400 - says it all
            return 1
    return 0


async def _serve(
    settings: Settings,
    certificate: Certificate | None,
    listening: Sequence[socket.socket],
    siblings: Siblings,
    start: Start,
) -> None:
    structlog.contextvars.bind_contextvars(worker=start.number)
    async with certificate.kept() if certificate else nullcontext():
        stop = _stop_signal(start.lifeline)
        if start.predecessor is not None:
            log.warning("worker replaced", died=start.predecessor.pid, of=str(start.predecessor))
        built = app.build_worker(settings, siblings, is_successor=start.predecessor is not None)
        runner = Runner(built, settings.server)
        await runner.setup()
        try:
            sites = [Site(runner, one, certificate, settings.server, ACCEPT) for one in listening]
            await serve(runner, sites, settings.server, stop)
        finally:
            await runner.cleanup()
    log.info("stopped")


def _stop_signal(lifeline: int) -> asyncio.Event:
    """Set by the first signal, also one that did not come from the supervisor, or when that is gone. More of them
    change nothing: a service manager may send the same to all processes, and the supervisor sends SIGKILL."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def lost() -> None:
        loop.remove_reader(lifeline)
        stop.set()

    loop.add_reader(lifeline, lost)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return stop
