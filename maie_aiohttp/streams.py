"""Bytes on their way through several hands, none of which holds them while another one works."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

Pull = Callable[[], Awaitable[bytes]]
"""The next bytes; none at the end."""


class Chunks:
    """What `pull` gives, to its end. A generator would keep each chunk by its name until it is asked for the next one:
    with a thousand uploads that wait for their turn, 512 KiB each."""

    def __init__(self, pull: Pull) -> None:
        self._pull = pull

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if chunk := await self._pull():
            return chunk
        raise StopAsyncIteration


def watched(chunks: AsyncIterator[bytes], *see: Callable[[bytes], None]) -> Chunks:
    """The same chunks; each is shown to all who want to `see` it, in their order, before it is handed on. Raises what
    they raise."""

    async def pull() -> bytes:
        chunk = await anext(chunks, b"")
        for look in see:
            look(chunk)
        return chunk

    return Chunks(pull)
