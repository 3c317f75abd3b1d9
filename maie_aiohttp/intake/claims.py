"""The room promised to uploads that come in pieces, from their creation to their end: also while nobody sends."""

from __future__ import annotations

from uuid import UUID

from maie_aiohttp.interfaces import Catalog, Store
from maie_aiohttp.limits.ledger import Claim
from maie_aiohttp.model import Position, Upload

PAGE = 200


class Claims:
    """By upload. That an upload is not in here costs no more than asking anew."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._claims: dict[UUID, Claim] = {}

    def __getitem__(self, id: UUID) -> Claim | None:
        return self._claims.get(id)

    def keep(self, id: UUID, claim: Claim) -> None:
        """From now on this is the upload's."""
        self.end(id)
        self._claims[id] = claim

    async def ensure(self, id: UUID, size: int) -> None:
        """Make it a claim for `size` bytes at least. Raises `StorageFull`.

        Where less is left of what was promised for them, they were written before, but did not count: they are still on
        the disk, and make room for themselves.
        """
        claim = self._claims.get(id)
        if claim is None or claim.promised < size:
            self.end(id)
            self.keep(id, await self._store.admit(size))
        elif claim.left < size:
            claim.resize(size)
        else:
            await self._store.confirm(claim)

    def pause(self, upload: Upload) -> None:
        """Nobody sends for now: what it may still bring is promised on, if that is known."""
        left = _missing(upload)
        if left and (claim := self._claims.get(upload.id)) is not None:
            claim.resize(left)
        else:
            self.end(upload.id)

    def end(self, id: UUID) -> None:
        """Give back what is left."""
        if (claim := self._claims.pop(id, None)) is not None:
            claim.release()

    async def restore(self, catalog: Catalog) -> None:
        """Agree with the records again: at start, and now and then, since other processes may have ended uploads, or
        begun some."""
        before, receiving = set(self._claims), set[UUID]()
        after: Position | None = None
        while page := await catalog.receiving(PAGE, after=after):
            for upload in page:
                receiving.add(upload.id)
                self._agree(upload, known=upload.id in before)
            after = Position(page[-1].created_at, page[-1].id)
        for id in before - receiving:
            self.end(id)

    def _agree(self, upload: Upload, *, known: bool) -> None:
        """Of an upload that somebody sends just now, some bytes are written that its record does not tell of yet."""
        left, claim = _missing(upload), self._claims.get(upload.id)
        if claim is not None:
            claim.resize(min(left, claim.left))
        elif left and not known:
            self.keep(upload.id, self._store.promise(left))


def _missing(upload: Upload) -> int:
    """Bytes that are still to come, as far as that is known."""
    return 0 if upload.size is None else upload.size - upload.offset
