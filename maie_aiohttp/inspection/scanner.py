"""Whether there is malware in a finished file: clamd looks, or nobody."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import structlog

from maie_aiohttp.errors import Busy, Draining, Infected, TooLarge
from maie_aiohttp.inspection.clamd import Clamd, NoAnswer
from maie_aiohttp.interfaces import Begin

PATIENCE = 5.0
"""Seconds until clamd has said that it is there; while it loads signatures, it goes on answering."""

CLEAN = "stream: OK"
FOUND = re.compile(r"stream: (?P<signature>.+) FOUND")
NOT_TAKEN = "INSTREAM size limit exceeded. ERROR"
NOT_FINISHED = "Heuristics.Limits.Exceeded"
"""How the name begins of what clamd finds where it stopped looking, if it is told to say so (`AlertExceedsMax`)."""

log = structlog.get_logger()


class NoScanner:
    """See `interfaces.Scanner`. Takes every file as it is."""

    has_a_say = False

    async def admit(self) -> None: ...

    async def probe(self) -> None: ...

    async def scan(self, chunks: AsyncGenerator[bytes, None], begin: Begin) -> None: ...

    async def stop(self) -> None: ...


class ClamdScanner:
    """See `interfaces.Scanner`. Shows `clamd` so many files at a time; `timeout` (seconds) is how long a file may wait
    for its verdict, its turn included. Without a verdict no file is taken."""

    has_a_say = True

    def __init__(self, clamd: Clamd, *, connections: int, timeout: float) -> None:
        self._clamd = clamd
        self._turns = asyncio.Semaphore(connections)
        self._timeout = timeout
        self._failing = False
        self._waiting: set[asyncio.Timeout] = set()
        self._stopping = False

    async def admit(self) -> None:
        if self._failing:
            await self.probe()

    async def probe(self) -> None:
        async with self._answering(PATIENCE):
            if (answer := await self._clamd.ping()) != "PONG":
                raise NoAnswer(answer)

    async def scan(self, chunks: AsyncGenerator[bytes, None], begin: Begin) -> None:
        await begin()
        async with self._answering(self._timeout), self._turns:
            _deliver(await self._clamd.scan(chunks))

    async def stop(self) -> None:
        self._stopping = True
        for limit in self._waiting:
            if not limit.expired():
                limit.reschedule(0)

    @asynccontextmanager
    async def _answering(self, seconds: float) -> AsyncIterator[None]:
        """For as long as clamd is waited for. Raises `Busy` and `Draining`."""
        try:
            async with self._limit(seconds):
                yield
        except (OSError, NoAnswer) as error:  # TimeoutError is one
            if self._stopping:
                raise Draining("The server is stopping; send the upload again.") from None
            self._note(error)
            raise Busy("The malware scanner gives no verdict at the moment.") from error
        self._note(None)

    @asynccontextmanager
    async def _limit(self, seconds: float) -> AsyncIterator[None]:
        async with asyncio.timeout(0 if self._stopping else seconds) as limit:
            self._waiting.add(limit)
            try:
                yield
            finally:
                self._waiting.discard(limit)

    def _note(self, failure: Exception | None) -> None:
        """Log the first failure, and that there is none any more."""
        if failure is not None and not self._failing:
            log.error("malware scanner fails", reason=str(failure) or "timeout")
        if failure is None and self._failing:
            log.info("malware scanner answers again")
        self._failing = failure is not None


def _deliver(answer: str) -> None:
    found = FOUND.fullmatch(answer)
    if answer == NOT_TAKEN or (found and found["signature"].startswith(NOT_FINISHED)):
        log.error("malware scanner takes no file of this size", answer=answer)
        raise TooLarge("The file is larger than what the malware scanner looks through.")
    if found:
        log.warning("malware found", signature=found["signature"])
        raise Infected("There is malware in the file.")
    if answer != CLEAN:
        raise NoAnswer(answer)
