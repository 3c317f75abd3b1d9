"""The command line: serve, sweep, compare disk and catalog, or check the configuration."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from pathlib import Path

import structlog
from aiohttp import web
from yarl import URL

from maie_aiohttp import allocator, app, journal, settings
from maie_aiohttp.appkeys import DRAIN, INTAKE
from maie_aiohttp.catalogs.database import is_damage
from maie_aiohttp.errors import IntakeError
from maie_aiohttp.fsck.command import add_to as add_fsck
from maie_aiohttp.fsck.command import main as fsck
from maie_aiohttp.libmagic import version as libmagic_version
from maie_aiohttp.server import Runner

log = structlog.get_logger()


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns the exit status: 2 for a wrong configuration, 1 where the server cannot run."""
    chosen = _parser().parse_args(arguments)
    allocator.tune()
    try:
        configured = settings.load(chosen.config)
        app.check(configured)
        if chosen.command == "check-config":
            sys.stdout.write(settings.render(configured))
            return 0
        if chosen.command == "fsck":
            return fsck(configured, chosen)
        if chosen.command != "sweep":
            settings.prepare_folder(configured)
        with journal.written(level=configured.log.level, style=configured.log.format):
            asyncio.run(_COMMANDS[chosen.command](configured))
    except settings.ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (IntakeError, OSError, RuntimeError) as error:
        causes = [str(cause) for cause in (error, error.__cause__) if cause is not None]
        advice = _ADVICE if is_damage(error.__cause__) else ""
        sys.stderr.write(f"The server cannot run: {' '.join(causes)}{advice}\n")
        return 1
    return 0


async def serve(configured: settings.Settings) -> None:
    """Run until SIGTERM or SIGINT, then let uploads finish; a second signal ends the process at once."""
    stop = _stop_signal()
    built = app.build(configured)
    runner = Runner(built, configured.server)
    await runner.setup()
    try:
        site = web.TCPSite(runner, configured.server.host, configured.server.port, backlog=1024)
        await site.start()
        host, port = runner.addresses[0][:2]
        _collect_garbage_from_now_on()
        log.info("ready", url=str(URL.build(scheme="http", host=host, port=port)), libmagic=libmagic_version())
        await stop.wait()
        await site.stop()
        runner.close_idle()
        await _drain(built, configured.server)
    finally:
        await runner.cleanup()
    log.info("stopped")


async def sweep(configured: settings.Settings) -> None:
    """Let abandoned uploads expire, and say how many did."""
    log.info("swept", uploads=await app.sweep(configured, app.check(configured)))


_ADVICE = (
    "\n`python -m maie_aiohttp fsck` says what is wrong with it. `python -m maie_aiohttp fsck --repair` keeps it, and "
    "makes a new one of what can be read of it and of the recordings."
)

_COMMANDS = {"serve": serve, "sweep": sweep, None: serve}


def _collect_garbage_from_now_on() -> None:
    """What is loaded by now stays; no collection needs to look at it again."""
    gc.enable()
    gc.freeze()


async def _drain(built: web.Application, configured: settings.Server) -> None:
    drain = built[DRAIN]
    log.info("stopping", receiving=len(drain), seconds=configured.drain_timeout)
    if late := await drain.run(configured.drain_timeout, built[INTAKE].give_up):
        log.warning("uploads interrupted", uploads=late)
        # Closing a socket with unread bytes in it resets the connection, and the answer with it.
        await asyncio.sleep(configured.linger)


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
    add_fsck(commands)
    commands.add_parser("check-config", help="print the effective settings, secrets masked")
    return parser
