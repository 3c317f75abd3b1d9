"""The command line: serve, sweep, compare disk and catalog, or check the configuration."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import structlog

from maie_aiohttp import app, assembly, journal, settings
from maie_aiohttp.catalogs.database import is_damage
from maie_aiohttp.commands import keys, letters, tokens
from maie_aiohttp.crew import shares
from maie_aiohttp.errors import IntakeError
from maie_aiohttp.fsck.command import add_to as add_fsck
from maie_aiohttp.fsck.command import main as fsck
from maie_aiohttp.limits import allocator
from maie_aiohttp.web import serving, tls
from maie_aiohttp.web.listening import Site, bind, clear_away
from maie_aiohttp.web.server import Runner

log = structlog.get_logger()


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns the exit status: 2 for a wrong configuration, 1 where the server cannot run."""
    chosen = _parser().parse_args(arguments)
    allocator.tune()
    try:
        configured = settings.load(chosen.config)
        assembly.check(configured)
        shares.check(configured)
        if chosen.command == "check-config":
            sys.stdout.write(settings.render(configured))
            return 0
        if chosen.command in _TOOLS:
            return _TOOLS[chosen.command](configured, chosen)
        return _COMMANDS[chosen.command](configured)
    except settings.ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (IntakeError, OSError, RuntimeError) as error:
        causes = [str(cause) for cause in (error, error.__cause__) if cause is not None]
        advice = _ADVICE if is_damage(error.__cause__) else ""
        sys.stderr.write(f"The server cannot run: {' '.join(causes)}{advice}\n")
        return 1


def serve(configured: settings.Settings) -> int:
    """Run until SIGTERM or SIGINT, then let uploads finish; a second signal ends the process at once. Returns the exit
    status."""
    settings.prepare_folder(configured)
    certificate = tls.configured(configured.server)
    if configured.server.workers > 1:
        from maie_aiohttp import workers  # noqa: PLC0415 - few servers have any

        return workers.run(configured, certificate)
    return _run(partial(_serve, certificate), configured)


async def _serve(certificate: tls.Certificate | None, configured: settings.Settings) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _unheard)  # where there is a certificate, it hears it
    async with certificate.kept() if certificate else nullcontext():
        stop = _stop_signal()
        runner = Runner(app.build(configured), configured.server)
        await runner.setup()
        try:
            sites = [Site(runner, one, certificate, configured.server) for one in await bind(configured.server)]
            await serving.serve(runner, sites, configured.server, stop)
        finally:
            await runner.cleanup()
            clear_away(configured.server)
    log.info("stopped")


def sweep(configured: settings.Settings) -> int:
    """Let abandoned uploads expire, and say how many did. Returns the exit status."""
    return _run(_sweep, configured)


async def _sweep(configured: settings.Settings) -> None:
    log.info("swept", uploads=await assembly.sweep(configured, assembly.check(configured)))


_ADVICE = (
    "\n`python -m maie_aiohttp fsck` says what is wrong with it. `python -m maie_aiohttp fsck --repair` keeps it, and "
    "makes a new one of what can be read of it and of the recordings."
)

_TOOLS = {"fsck": fsck, "keys": keys.main, "tokens": tokens.main, "handoffs": letters.main}

_COMMANDS = {"serve": serve, "sweep": sweep, None: serve}


def _run(work: Callable[[settings.Settings], Coroutine[None, None, None]], configured: settings.Settings) -> int:
    with journal.written(level=configured.log.level, style=configured.log.format, audit_file=configured.log.audit_file):
        asyncio.run(work(configured))
    return 0


def _unheard() -> None:
    """There is nothing to read again. Without this, `systemctl reload` would end the server."""


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    return stop


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="maie_aiohttp", description="Audio intake server.")
    parser.add_argument("--config", type=Path, help="settings file (default: config.toml, if there is one)")
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("serve", help="run the server (the default)")
    commands.add_parser("sweep", help="let abandoned uploads expire now; a server may be running")
    keys.add_to(commands)
    tokens.add_to(commands)
    letters.add_to(commands)
    add_fsck(commands)
    commands.add_parser("check-config", help="print the effective settings, secrets masked")
    return parser
