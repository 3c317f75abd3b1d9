"""Two habits of everything durable: share expensive steps, and never leave one half done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from functools import partial
from threading import Lock
from typing import Any, Generic, ParamSpec, TypeVar

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


def once_a_turn(work: Callable[[], None]) -> Callable[[], None]:
    """`work`, done soon, and once for all who have asked for it until then. To be asked for in the event loop."""
    asked = False

    def ask() -> None:
        nonlocal asked
        if not asked:
            asyncio.get_running_loop().call_soon(do)
            asked = True

    def do() -> None:
        nonlocal asked
        asked = False
        work()

    return ask


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let the work go on beside the requests, however long it takes."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


class Batch(Generic[Item]):
    """Collects items for `run`, which handles a whole batch in a thread of `executor`, and says for each item how it
    went.

    What arrives while one run is under way shares the next, which follows without asking the event loop. There is no
    timer, so nobody waits for company: a lone item runs at once, and a crowd pays for one fsync together.
    """

    def __init__(self, executor: Executor, run: Callable[[Sequence[Item]], Outcomes]) -> None:
        self._executor = executor
        self._run = run
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._running = False
        """Whether a thread looks after what waits."""
        self._lock = Lock()
        """Of these two, which loop and thread both use."""

    async def submit(self, item: Item) -> None:
        """Returns when a run has handled the item; whoever is cancelled waits for that too. Raises what that run says
        of the item, and RuntimeError where the system has no thread for it."""
        done = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.append((item, done))
            begins, self._running = not self._running, True
        if begins:
            self._begin()
        await to_its_end(done)

    def _begin(self) -> None:
        try:
            self._executor.submit(self._work)
        except RuntimeError:
            self._running = False
            self._waiting.clear()
            raise

    def _work(self) -> None:
        """In the thread: handle what waits, until nothing does."""
        while batch := self._next():
            outcomes = self._outcomes([item for item, _ in batch])
            batch[0][1].get_loop().call_soon_threadsafe(_resolve, [done for _, done in batch], outcomes)

    def _next(self) -> list[tuple[Item, asyncio.Future[None]]]:
        with self._lock:
            batch, self._waiting = self._waiting, []
            self._running = bool(batch)
        return batch

    def _outcomes(self, items: Sequence[Item]) -> Outcomes:
        try:
            return self._run(items)
        except Exception as error:  # noqa: BLE001 - whatever broke the run, every waiter must hear of it
            return [error] * len(items)


def _resolve(waiting: Sequence[asyncio.Future[None]], outcomes: Outcomes) -> None:
    for done, outcome in zip(waiting, outcomes, strict=True):
        if outcome is None:
            done.set_result(None)
        else:
            done.set_exception(outcome)
