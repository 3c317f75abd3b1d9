"""Two habits of everything durable: share expensive steps, and never leave one half done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Generic, ParamSpec, TypeVar

from aiofiles.os import wrap

Args = ParamSpec("Args")
Item = TypeVar("Item")
Result = TypeVar("Result")

Outcomes = Sequence[Exception | None]
"""For each item of a run, what went wrong with it."""


async def to_its_end(work: Awaitable[Result]) -> Result:
    """Await `work`; whoever is cancelled meanwhile, however often, waits for its end first. A thread cannot be stopped,
    so its bytes would land after the upload was given up; and a commit must not be parted from its clean-up."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # Seen: asyncio reports errors at which nobody looked.
        raise


async def in_thread(
    executor: Executor, work: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs
) -> Result:
    """Have `work` done by a thread of `executor`. Whoever is cancelled waits for its end. Raises what it raises."""
    return await to_its_end(_hop(partial(work, *args, **kwargs), executor=executor))


def _call(work: Callable[[], Result]) -> Result:
    return work()


_hop = wrap(_call)


class Batch(Generic[Item]):
    """Collects items for `run`, which handles a whole batch and says for each item how it went.

    What arrives while one run is under way shares the next. There is no timer, so nobody waits for company: a lone item
    runs at once, and a crowd pays for one fsync together.
    """

    def __init__(self, run: Callable[[Sequence[Item]], Awaitable[Outcomes]]) -> None:
        self._run = run
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> None:
        """Returns when a run has handled the item; whoever is cancelled waits for that too. Raises what that run says
        of the item."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run_all())
        await to_its_end(done)

    async def _run_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            outcomes = await self._outcomes([item for item, _ in batch])
            for (_, done), outcome in zip(batch, outcomes, strict=True):
                _resolve(done, outcome)
        self._runner = None

    async def _outcomes(self, items: Sequence[Item]) -> Outcomes:
        try:
            return await self._run(items)
        except Exception as error:  # noqa: BLE001 - whatever broke the run, every waiter must hear of it
            return [error] * len(items)


def _resolve(done: asyncio.Future[None], outcome: Exception | None) -> None:
    if outcome is None:
        done.set_result(None)
    else:
        done.set_exception(outcome)
