"""A contender at work, and what it uses meanwhile."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from aiohttp import ClientError, ClientSession
from yarl import URL

from benchmarks.contenders import ROOT, Command, Contender, Site
from benchmarks.failures import Failed
from benchmarks.processes import Family

START_LIMIT, QUIET_LIMIT = 30.0, 30.0
"""Seconds."""
POLL = 0.005
QUIET = 0.3
"""Seconds for which a server does nothing before it counts as idle."""
IDLE_SHARE = 0.05
"""Of a core; that much counts as nothing."""


@dataclass(frozen=True, slots=True)
class Server:
    """It answers."""

    contender: Contender
    site: Site
    url: URL
    family: Family
    started: float
    """Seconds from its launch to its first answer."""

    def stored(self, size: int) -> int:
        """How many files of so many bytes it has stored."""
        return sum(1 for path in self.site.uploads.rglob("*") if path.is_file() and path.stat().st_size == size)

    async def quiet(self, seconds: float = QUIET) -> None:
        """Wait until it has done nothing for so long. Raises Failed if it goes on for too long."""
        async with _limit(QUIET_LIMIT, "was not idle"):
            before, now = -math.inf, self.family.cpu()
            while now - before > IDLE_SHARE * seconds:
                await asyncio.sleep(seconds)
                before, now = now, self.family.cpu()


@dataclass(slots=True)
class Usage:
    """What a server used while it was watched. Memory in bytes, of all its processes."""

    pss: int
    """When the watch began."""
    peak_pss: int = 0
    """Each at its own peak, as far as they share no more by the end."""
    peak_rss: int = 0
    cpu: float = 0.0
    """Seconds, user and system."""


@asynccontextmanager
async def serving(contender: Contender, command: Command, folder: Path, largest: int) -> AsyncIterator[Server]:
    """Start a server in a folder of its own inside `folder`; both end with the block. Raises Failed."""
    with tempfile.TemporaryDirectory(prefix=f"{contender.name}-", dir=folder, ignore_cleanup_errors=True) as made:
        site = Site(Path(made), _free_port(), largest)
        site.uploads.mkdir()
        begun = perf_counter()
        process = await _launch(contender, command, site)
        try:
            url = URL.build(scheme="http", host="127.0.0.1", port=site.port)
            await _answer(process, url.with_path(contender.health), site)
            yield Server(contender, site, url, Family(process.pid), perf_counter() - begun)
        finally:
            await _stop(process)


@asynccontextmanager
async def watched(server: Server) -> AsyncIterator[Usage]:
    """What the server uses in the block; CPU time and peaks are known at its end. Meanwhile nobody looks: to add up a
    process's PSS takes it milliseconds in which it can map no memory. Raises Failed if one of its processes ends, since
    nobody would know its peak."""
    family = server.family
    await server.quiet()
    members = set(family.members())
    family.forget_peak()
    usage = Usage(family.pss())
    cpu = family.cpu()
    yield usage
    usage.cpu = family.cpu() - cpu
    usage.peak_rss = family.peak_rss()
    usage.peak_pss = family.pss() + usage.peak_rss - family.rss()
    if not members <= set(family.members()):
        raise Failed("one of its processes ended")


async def _launch(contender: Contender, command: Command, site: Site) -> Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAIE_")}
    environment = {**inherited, "PYTHONPATH": str(ROOT), "TMPDIR": str(site.folder), **contender.environment(site)}
    with _log(site).open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *command,
            *contender.arguments(site),
            cwd=site.folder,
            env=environment,
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


async def _answer(process: Process, url: URL, site: Site) -> None:
    """Wait for the first 200."""
    async with _limit(START_LIMIT, "did not start"), ClientSession() as session:
        while process.returncode is None:
            with suppress(ClientError):
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(POLL)
    raise Failed(f"ended at once: {_log(site).read_text(errors='replace')[-300:]}")


async def _stop(process: Process) -> None:
    """At once, with its children: what it has stored is thrown away."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


@asynccontextmanager
async def _limit(seconds: float, failure: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Failed(f"{failure} within {seconds:.0f} s") from error


def _log(site: Site) -> Path:
    return site.folder / "log"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
