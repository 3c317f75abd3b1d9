"""Child processes in which strangers' files meet FFmpeg, and how they are asked.

FFmpeg parses what strangers send, so it runs where a crash, a hang or a flood of memory costs that one upload
its answer and the server nothing (OWASP ASVS 5.0, 15.2.5). `confinement` is the other end; there stands the protocol.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar, cast

from maie_aiohttp.errors import Busy, Draining
from maie_aiohttp.inspection.deadlines import Deadlines

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Callable, Sequence

Answer = TypeVar("Answer")

# What the interpreter may need to find its libraries. No more: the server's environment may hold secrets.
ENVIRONMENT = ("PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # or NumPy starts one for each core, which it has no use for here

START_LIMIT = 30.0  # seconds until a child is ready; an idle machine needs 0.2
WAIT_LIMIT = 60.0  # seconds until a child is free; a thousand files at once take 2 to 10
ORPHAN_FACTOR = 20  # times `timeout`, until a child ends by itself: some stand still nine tenths of the time


class DiedError(Exception):
    """The child ended, or no longer speaks the protocol."""


class Pool:
    """`workers` children, each of which looks into one file at a time.

    `timeout` (seconds) bounds a child's look at one file. `memory` (bytes) is what a child may use above its size when
    idle. `longest` (bytes) bounds an answer.
    """

    def __init__(self, program: Path, *, workers: int, timeout: float, memory: int, longest: int) -> None:
        self._command = [sys.executable, "-P", str(program), str(memory), str(ORPHAN_FACTOR * timeout)]
        self._longest = longest
        self._workers = workers
        self._timeout = timeout
        self._deadlines = Deadlines()
        self._children: set[_Child] = set()
        self._burials: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._places: asyncio.Queue[_Child | None] = asyncio.Queue()  # free ones; None has to be filled first
        self._vacate()

    async def start(self) -> None:
        """Start the children ahead of the first file, without waiting until they are ready. May raise Busy."""
        for _ in range(self._workers):
            self._places.put_nowait(self._places.get_nowait() or await self._start_child())

    async def stop(self) -> None:
        """End all children; return when they are gone. Files they are looking at raise Draining."""
        self._stopping = True
        self.go_on()
        for running in self._children:
            running.kill()
        for _ in range(self._workers):
            if child := await self._places.get():
                self._end(child)
        await asyncio.gather(*self._burials)
        self._vacate()

    async def ask(self, understand: Callable[[str], Answer], *question: object) -> Answer:
        """What `understand` makes of a child's answer; it raises ValueError for what is none.

        Raises DiedError if there was no answer, and TimeoutError if not in time; Busy if there is no child; Draining
        when the children are stopped.
        """
        async with self._lent_child() as child, self._deadlines.within(self._timeout):
            return await child.ask(understand, *question)

    def interrupt(self) -> None:
        """Stop the children where they are, and the clocks of their limits. Whoever asks something meanwhile waits.
        Those that still start are not stopped: they would not end with the server yet."""
        self._deadlines.interrupt()
        for running in self._children:
            if running.is_ready:
                running.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End an interruption."""
        for running in self._children:
            running.send_signal(signal.SIGCONT)
        self._deadlines.go_on()

    @asynccontextmanager
    async def _lent_child(self) -> AsyncIterator[_Child]:
        """A child that is ready. It is ended if its question was left without an answer: a late one would be
        taken for the next file's."""
        child = await self._free_place()
        try:
            child = child or await self._start_child()
            await self._greet(child)
            yield child
        except BaseException as error:
            if child:
                self._end(child)
                child = None
            if self._stopping and isinstance(error, Exception):
                raise Draining("The server is stopping.") from None
            raise
        finally:
            self._places.put_nowait(child)

    async def _free_place(self) -> _Child | None:
        """A living child, or None in the place of one."""
        try:
            async with asyncio.timeout(WAIT_LIMIT):
                child = await self._places.get()
        except TimeoutError:
            raise Busy("Too many files are waiting to be decoded.") from None
        if child and not child.alive:
            self._end(child)
            return None
        return child

    async def _start_child(self) -> _Child:
        try:
            child = await _Child.start(self._command, self._longest)
        except OSError:
            raise Busy("No decoder could be started.") from None
        self._children.add(child)
        if self._stopping:  # stop() did not see it
            child.kill()
        return child

    async def _greet(self, child: _Child) -> None:
        try:
            async with self._deadlines.within(START_LIMIT):
                await child.ready()
        except (TimeoutError, DiedError):
            raise Busy("No decoder could be started.") from None

    def _end(self, child: _Child) -> None:
        child.kill()
        self._children.discard(child)
        burial = asyncio.create_task(child.gone())
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)

    def _vacate(self) -> None:
        for _ in range(self._workers):
            self._places.put_nowait(None)


class _Child:
    """A process, and the protocol spoken with it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._questions = cast("StreamWriter", process.stdin)  # never None: pipes were asked for
        self._answers = cast("StreamReader", process.stdout)
        self.is_ready = False
        self._is_killed = False
        self._asked = 0

    @classmethod
    async def start(cls, command: Sequence[str], longest: int) -> Self:
        """In a process group of its own, as Ctrl-C in the server's terminal is the server's business; but not in a
        session of its own, where a low priority may count for nothing (sched(7), autogroup)."""
        return cls(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                limit=longest,
                env=ONE_THREAD | {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
                process_group=0,
            )
        )

    @property
    def alive(self) -> bool:
        return self._process.returncode is None and not self._answers.at_eof()

    async def ready(self) -> None:
        """Return when the process waits for questions. Raises DiedError if it never will."""
        if not self.is_ready and await self._line() != "ready":
            raise DiedError
        self.is_ready = True

    async def ask(self, understand: Callable[[str], Answer], *question: object) -> Answer:
        """Raises DiedError if there is no answer, or one to something else."""
        self._asked += 1
        self._questions.write(json.dumps([self._asked, *question]).encode("ascii") + b"\n")
        with suppress(ConnectionError):  # the missing answer tells as much
            await self._questions.drain()
        number, _, answer = (await self._line()).partition(" ")
        if number != str(self._asked):
            raise DiedError
        try:
            return understand(answer)
        except ValueError:
            raise DiedError from None

    async def _line(self) -> str:
        try:
            return (await self._answers.readuntil(b"\n")).decode("ascii").rstrip()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, UnicodeDecodeError):
            raise DiedError from None

    def send_signal(self, number: signal.Signals) -> None:
        """Not through `Popen`; see `kill`."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Only once: of a process that has ended, `Popen` would collect the status for which asyncio waits."""
        if not self._is_killed:
            self._is_killed = True
            with suppress(ProcessLookupError):
                self._process.kill()

    async def gone(self) -> None:
        """Return when the process has been waited for and both pipes are closed."""
        self._questions.close()
        await self._process.communicate()
