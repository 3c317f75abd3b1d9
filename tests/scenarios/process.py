"""A server in a process of its own, and what Linux says of that process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests import logbook

KIB = 1024
MIB = 1024 * KIB

START_LIMIT = 30.0
"""Seconds from the launch to the line that says "ready"; an idle machine needs 0.6."""

FORGET_PEAK = "5"
"""See proc_pid_clear_refs(5): VmHWM starts again from what is resident now."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes resident."""

    now: int
    peak: int
    """The most since the start, or since `forget_peak`."""


class Process:
    """A launched server. Its log is read as it comes, so that a full pipe never stops it."""

    def __init__(self, running: asyncio.subprocess.Process) -> None:
        self._running = running
        self._url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read_log())
        self.log: list[str] = []
        """Its lines, so far."""

    @classmethod
    async def launch(cls, *arguments: str | Path, environment: Mapping[str, str]) -> Self:
        """Start Python. The server logs `{"event": "ready", "url": ...}` on standard error when it serves."""
        running = await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=PIPE, env=environment)
        return cls(running)

    async def url(self) -> str:
        """Where it listens. Raises RuntimeError, with its log, if it ended instead."""
        async with asyncio.timeout(START_LIMIT):
            return await asyncio.shield(self._url)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; a process that has ended does not mind."""
        if self._running.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._running.pid, number)  # `send_signal` polls, and takes the exit status from asyncio

    async def ended(self) -> int:
        """Wait for its end. Returns the exit status, negative after a signal."""
        await self._reading
        return await self._running.wait()

    def memory(self) -> Memory:
        """What it occupies, its decoding children not counted."""
        status = (self._proc / "status").read_text()
        kibibytes = dict(line.split(":", 1) for line in status.splitlines())
        return Memory(*(int(kibibytes[name].split()[0]) * KIB for name in ("VmRSS", "VmHWM")))

    def cpu(self) -> float:
        """Seconds of CPU time so far, user and system."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def forget_peak(self) -> None:
        """Let `Memory.peak` begin anew."""
        (self._proc / "clear_refs").write_text(FORGET_PEAK)

    def children(self) -> Sequence[int]:
        """The ids of the processes it started itself."""
        return [int(pid) for pid in (self._proc / "task" / self._proc.name / "children").read_text().split()]

    def descriptors(self) -> int:
        """How many files and sockets it has open."""
        return sum(1 for _ in (self._proc / "fd").iterdir())

    def sockets(self) -> int:
        """How many of them are sockets."""
        return sum(_is_socket(entry) for entry in (self._proc / "fd").iterdir())

    def descriptor_limits(self) -> tuple[str, str]:
        """How many it may open: the soft limit and the hard one."""
        limits = (self._proc / "limits").read_text()
        line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
        soft, hard = line.split()[3:5]
        return soft, hard

    @property
    def _proc(self) -> Path:
        return Path("/proc", str(self._running.pid))

    async def _read_log(self) -> None:
        assert self._running.stderr is not None
        async for line in self._running.stderr:
            self.log.append(line.decode(errors="replace").rstrip())
            logbook.keep(self.log[-1])
            self._notice_ready(self.log[-1])
        if not self._url.done():
            self._url.set_exception(RuntimeError("\n".join(["The server did not start.", *self.log])))
            self._url.exception()  # whoever launched it only to kill it does not ask

    def _notice_ready(self, line: str) -> None:
        with suppress(ValueError):
            event = json.loads(line)
            if event.get("event") == "ready" and not self._url.done():
                self._url.set_result(event["url"])


def _is_socket(descriptor: Path) -> bool:
    """Of one that may be closed meanwhile."""
    with suppress(FileNotFoundError):
        return str(descriptor.readlink()).startswith("socket:")
    return False


PRODUCT = ("-m", "maie_aiohttp")


async def launch(folder: Path, settings: Mapping[str, str], program: Sequence[str] = PRODUCT) -> Process:
    """The product, on any free port, with its data in `folder`. `settings` as in `{"limits.max_size": "1 GB"}`;
    `program` is what Python is to run."""
    chosen = {"server.port": "0", "storage.folder": str(folder), "storage.reserve": "0 B", "log.format": "json"}
    variables = {f"MAIE_{key.replace('.', '__')}".upper(): value for key, value in {**chosen, **settings}.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAIE_")}
    return await Process.launch(*program, environment={**inherited, **variables})


@asynccontextmanager
async def serving(
    folder: Path, settings: Mapping[str, str] | None = None, program: Sequence[str] = PRODUCT
) -> AsyncIterator[Process]:
    """The product, serving; killed at the end, if it still runs then."""
    process = await launch(folder, settings or {}, program)
    try:
        await process.url()
        yield process
    finally:
        process.signal(signal.SIGKILL)
        await process.ended()
