"""A local folder as a store: "accepted" means fdatasync, a name that overwrites nothing, and fsync of its folder."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import UUID

from maie_aiohttp.concurrency import Batch, Outcomes, in_thread
from maie_aiohttp.errors import Damaged, StorageFailed, StorageFull
from maie_aiohttp.interfaces import UNKNOWN, Advance, Ahead, Chunk, Conclude, Observe, Read, nothing
from maie_aiohttp.limits.ledger import Claim
from maie_aiohttp.stores.append import Append
from maie_aiohttp.stores.blocks import BlockBudget
from maie_aiohttp.stores.failures import translated
from maie_aiohttp.stores.folder import DataFolder
from maie_aiohttp.stores.gatherer import Gatherer
from maie_aiohttp.stores.part import PartFile
from maie_aiohttp.stores.recording import Recording
from maie_aiohttp.stores.shelf import Publication, Shelf, shard
from maie_aiohttp.stores.space import Reserve, Space
from maie_aiohttp.stores.writer import Writer

READ_SIZE = 262_144

GRACE = 3600.0
"""Seconds; a published file without a record is left alone so long, since its upload may still be settling."""

_TROUBLE = (StorageFull, StorageFailed)
"""What the next upload may meet as well; the readiness probe finds out."""

Args = ParamSpec("Args")
Result = TypeVar("Result")


class DiskStore:
    """See `interfaces.Store`. Locators are paths relative to the data folder."""

    def __init__(self, folder: DataFolder, blocks: BlockBudget, reserve: Reserve, *, threads: int) -> None:
        self._folder = folder
        self._shelf = Shelf(folder.descriptor)
        self._blocks = blocks
        self._reserve = reserve
        self._space = Space(self._measure)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="disk")
        self._publishing = Batch(self._executor, self._publish_batch)
        self._discarding = Batch(self._executor, self._shelf.discard_all)
        self._troubled = False

    def close(self) -> None:
        """Let the threads finish what they do."""
        self._executor.shutdown()
        self._shelf.close()

    async def admit(self, size: int) -> Claim:
        return await self._space.claim(size)

    async def confirm(self, claim: Claim) -> None:
        await self._space.confirm(claim)

    def promise(self, size: int) -> Claim:
        return self._space.promise(size)

    async def probe(self) -> None:
        (await self.admit(1)).release()  # Not 0: that fits on a full disk.
        if self._troubled:
            await self._hop(self._shelf.write_probe)
            self._troubled = False

    def locator_of(self, id: UUID) -> str:
        return f"incoming/{id}.part"

    async def append(
        self,
        locator: str,
        offset: int,
        chunks: AsyncIterator[bytes],
        observe: Observe,
        conclude: Conclude = nothing,
        *,
        advance: Advance | None = None,
        ahead: Ahead = UNKNOWN,
    ) -> int:
        part = PartFile(self._folder.descriptor, locator, offset, observe, conclude, self._shelf.take_back)
        appending = Append(
            part,
            ahead.claim or self.promise(0),
            full_block=self._blocks.block_size,
            is_heard=advance is not None,
            leave_free=self._leave_free,
        )

        def write(block: Chunk) -> bool:
            with self._translated():
                return appending.write(block)

        async def flush() -> None:
            size = await self._hop(appending.flush)
            if advance is not None:
                await advance(size)

        try:
            async with (
                Writer(self._executor, write, flush) as writer,
                Gatherer(self._blocks, writer, at_most=ahead.at_most) as gatherer,
            ):
                async for chunk in chunks:
                    await gatherer.add(chunk)
                    del chunk
                    ahead.taken()
                    await gatherer.make_room()
                return await self._hop(appending.finish, await gatherer.rest())
        finally:
            part.close()

    async def begin(self, locator: str) -> None:
        await self._hop(self._shelf.begin, locator)

    async def replay(self, locator: str, stop: int, observe: Observe) -> None:
        recording = Recording(self._folder.descriptor, locator)

        def show(start: int) -> int:
            piece = recording.read(start, min(READ_SIZE, stop - start))
            observe(piece)
            return start + len(piece)

        try:
            start = 0
            while start < stop:
                start = await self._hop(show, start)
        finally:
            recording.close()

    async def publish(self, locator: str, id: UUID, extension: str) -> str:
        published = f"{shard(id)}/{id}{extension}"
        await self._publishing.submit(Publication(locator, published))
        return published

    async def retract(self, locator: str, published: str) -> None:
        await self._hop(self._shelf.retract, Publication(locator, published))

    async def discard(self, locator: str) -> None:
        await self._discarding.submit(locator)

    async def size(self, locator: str) -> int | None:
        return await self._hop(self._shelf.size, locator)

    def path(self, locator: str) -> Path:
        return self._folder.root / locator

    async def read(self, locator: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        recording = Recording(self._folder.descriptor, locator)
        try:
            async with aclosing(self._pieces(recording, start, stop)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            recording.close()

    @asynccontextmanager
    async def opened(self, locator: str) -> AsyncIterator[Read | None]:
        recording = Recording(self._folder.descriptor, locator)
        try:
            yield partial(self._pieces, recording) if await self._is_there(recording) else None
        finally:
            recording.close()

    async def unfinished(self) -> Sequence[UUID]:
        return await self._hop(self._shelf.unfinished)

    async def published(self, ids: Collection[UUID]) -> Mapping[UUID, str]:
        return await self._hop(self._shelf.published, ids)

    async def all_published(self) -> AsyncGenerator[Sequence[tuple[UUID, str]], None]:
        files = self._shelf.all_published(time.time() - GRACE)
        while batch := await self._hop(lambda: list(islice(files, 500))):
            yield batch

    async def quarantine(self, locator: str) -> None:
        await self._hop(self._shelf.quarantine, locator)

    async def _pieces(self, recording: Recording, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        while start < stop:
            piece = await self._hop(recording.read, start, min(READ_SIZE, stop - start))
            start += len(piece)
            yield piece

    async def _is_there(self, recording: Recording) -> bool:
        try:
            await self._hop(recording.reach)
        except Damaged:
            return False
        return True

    async def _measure(self) -> int:
        return await self._hop(self._reserve.free, self._folder.descriptor)

    def _leave_free(self, size: int) -> None:
        """In a worker thread. Raises `StorageFull`, and OSError."""
        if self._reserve.free(self._folder.descriptor) < size:
            raise StorageFull("There is no room for this upload.")

    async def _hop(self, work: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs) -> Result:
        with self._translated():
            return await in_thread(self._executor, work, *args, **kwargs)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The system's errors as ours; remembered where the next upload may meet them too."""
        try:
            with translated():
                yield
        except _TROUBLE:
            self._troubled = True
            raise

    def _publish_batch(self, batch: Sequence[Publication]) -> Outcomes:
        """In a worker thread."""
        outcomes = self._shelf.publish(batch)
        self._troubled = self._troubled or any(isinstance(outcome, _TROUBLE) for outcome in outcomes)
        return outcomes
