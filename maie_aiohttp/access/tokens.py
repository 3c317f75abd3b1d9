"""One upload for each token: several may try, one at a time, until something is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from maie_aiohttp.credentials import Caller, Token
from maie_aiohttp.errors import TokenUsed, Unauthenticated
from maie_aiohttp.interfaces import TokenBook

REMEMBERED = timedelta(days=1)
"""How long a token is known that has expired: clocks differ, and are set."""


class Tokens:
    """Whoever comes with a key instead costs no question."""

    def __init__(
        self, book: TokenBook, own: Callable[[UUID], AbstractContextManager[None]], is_owned: Callable[[UUID], bool]
    ) -> None:
        """`own` says that this process works on something, `is_owned` whether any living process says so."""
        self._book = book
        self._own = own
        self._is_owned = is_owned

    @asynccontextmanager
    async def taken(self, caller: Caller) -> AsyncIterator[None]:
        """For a request: nobody else uses the caller's token meanwhile, nor any more if something is stored then.
        Raises `TokenUsed`, and `Unauthenticated` where its time is over."""
        if caller.token is None:
            yield
            return
        with self._own(id := uuid4()):
            await self.take(id, caller)
            yield

    async def take(self, id: UUID, caller: Caller) -> None:
        """The same for an upload that this process owns: nobody else uses it as long as the upload may go on."""
        token = caller.token
        if token is None:
            return
        if token.expires_at <= datetime.now(UTC):
            raise Unauthenticated("The upload token has expired.")
        holder = await self._book.take(token, id)
        if holder != id and not await self._take_over(token, id, holder):
            raise TokenUsed("This upload token has been used.")

    async def tidy(self) -> None:
        """Forget tokens with which nothing can begin any more."""
        await self._book.forget(datetime.now(UTC) - REMEMBERED)

    async def _take_over(self, token: Token, id: UUID, holder: UUID) -> bool:
        """From a request that has failed, or an upload that was given up."""
        return not self._is_owned(holder) and await self._book.take_over(token, id, holder)
