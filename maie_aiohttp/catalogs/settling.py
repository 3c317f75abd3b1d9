"""How stored uploads are recorded: a row for each, an entry in the outbox, and which earlier one had the same bytes.

However many writes share a transaction, each of these costs it one statement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from uuid import UUID

from sqlalchemy import bindparam, delete, func, select, text, update
from sqlalchemy.dialects.sqlite import insert

from maie_aiohttp.catalogs.database import Row, Transaction
from maie_aiohttp.catalogs.quotas import spend
from maie_aiohttp.catalogs.rows import key_row, outbox_row, to_key_use, upload_row
from maie_aiohttp.catalogs.schema import idempotency_keys, outbox, uploads
from maie_aiohttp.catalogs.tokens import use_up
from maie_aiohttp.errors import NotFound
from maie_aiohttp.model import UNDECIDED, Charge, KeyUse, Settled, Status, Upload

NOBODY: Mapping[UUID, Upload] = MappingProxyType({})

Content = tuple[str | None, str]
"""Whose bytes, and their SHA-256."""

_UNDECIDED = uploads.c.status.in_([status.value for status in UNDECIDED])

_ASKED = func.json_each(bindparam("asked")).table_valued("key", "value")
_FIRST = (
    select(uploads.c.id)
    .where(
        uploads.c.sha256 == func.json_extract(_ASKED.c.value, "$[1]"),
        uploads.c.owner.is_not_distinct_from(func.json_extract(_ASKED.c.value, "$[0]")),
        uploads.c.status == Status.STORED.value,
    )
    .order_by(text("uploads.rowid"))
    .limit(1)
    .scalar_subquery()
)
"""Rows are numbered as they are recorded, and stand in the index in that order: however many have the same bytes, this
looks at the first."""
_FIRSTS = select(_ASKED.c.key, _FIRST.label("first"))
FIRST_UPLOADS = select(uploads).where(uploads.c.id.in_(select(_FIRST).select_from(_ASKED)))


def asking(of: Sequence[Upload]) -> Row:
    """The values of these questions."""
    return {"asked": json.dumps(_contents(of))}


class Settling:
    """Uploads that are to be recorded. Where one of `stand_ins` is the first with the bytes of an upload, this is not
    recorded, and that one stands for it. What they use up is the `charge`."""

    def __init__(self, uploads: Sequence[Upload], charge: Charge, stand_ins: Mapping[UUID, Upload]) -> None:
        self.uploads = uploads
        self._charge = charge
        self._stand_ins = stand_ins
        self.outcome = Settled()

    def __call__(self, transaction: Transaction) -> None:
        transaction.together(_settle, self)

    @property
    def ids(self) -> tuple[UUID, ...]:
        """What is to be found under the key they came with; nothing before the first attempt."""
        return tuple(upload.id for upload in self.outcome.uploads)

    def record(self, transaction: Transaction, firsts: MutableMapping[Content, UUID]) -> None:
        """Compare them with `firsts` and with each other, and insert those for which no other stands."""
        noted = [_noted(upload, firsts) for upload in self.uploads]
        self.outcome = Settled([self._stand_ins.get(upload.duplicate_of or upload.id, upload) for upload in noted])
        if recorded := self._recorded:
            transaction.insert(uploads, [upload_row(upload) for upload in recorded])
            transaction.insert(outbox, [outbox_row(upload) for upload in recorded])

    def spend(self, transaction: Transaction) -> None:
        """Count what is recorded in place of what was reserved; a token is used up in any case."""
        stored = [upload.stored for upload in self._recorded if upload.stored is not None]
        if stored and self._charge.reservation is not None:
            spend(
                transaction, self._charge.reservation, self.uploads[0].owner, [one.size for one in stored], stored[0].at
            )
        if self._charge.token is not None:
            use_up(transaction, self._charge.token)

    @property
    def _recorded(self) -> Sequence[Upload]:
        pairs = zip(self.uploads, self.outcome.uploads, strict=True)
        return [settled for given, settled in pairs if settled.id == given.id]


class SettlingOnce:
    """The same, if their key is new. Its being unique decides, also between processes. They may find their own use of
    it: a transaction is tried again, and it may have failed when all was written already."""

    def __init__(self, settling: Settling, use: KeyUse) -> None:
        self._settling = settling
        self._use = use
        self._same_key = idempotency_keys.c.key == use.key

    def __call__(self, transaction: Transaction) -> None:
        new = transaction.execute(insert(idempotency_keys).values(key_row(self._use)).on_conflict_do_nothing())
        if new.rowcount:
            self._settle(transaction)
        else:
            self._repeat(transaction)

    def _settle(self, transaction: Transaction) -> None:
        self._settling(transaction)
        transaction.flush()
        ids = self._settling.ids
        if ids != self._use.uploads:
            changed = key_row(replace(self._use, uploads=ids))
            transaction.execute(update(idempotency_keys).where(self._same_key).values(changed))

    def _repeat(self, transaction: Transaction) -> None:
        found = to_key_use(transaction.execute(select(idempotency_keys).where(self._same_key)).mappings().one())
        if found.uploads != self._settling.ids:
            self._settling.outcome = Settled(earlier=found)


def _settle(transaction: Transaction, settlings: Sequence[Settling]) -> None:
    given = [upload for settling in settlings for upload in settling.uploads]
    _end_receiving(transaction, given)
    firsts = _firsts(transaction, given)
    for settling in settlings:
        settling.record(transaction, firsts)
    for settling in settlings:
        settling.spend(transaction)


def _end_receiving(transaction: Transaction, stored: Sequence[Upload]) -> None:
    """Those that came in pieces have a record, in whose place another one comes. Raises `NotFound` if one was given up
    meanwhile."""
    ids = [upload.id for upload in stored if upload.terms is not None]
    if ids and transaction.execute(delete(uploads).where(uploads.c.id.in_(ids), _UNDECIDED)).rowcount < len(ids):
        raise NotFound("The upload was given up meanwhile.")


def _firsts(transaction: Transaction, of: Sequence[Upload]) -> MutableMapping[Content, UUID]:
    contents, rows = _contents(of), transaction.execute(_FIRSTS, asking(of)).mappings()
    return {contents[row["key"]]: row["first"] for row in rows if row["first"] is not None}


def _contents(of: Sequence[Upload]) -> Sequence[Content]:
    return [(upload.owner, upload.stored.sha256) for upload in of if upload.stored is not None]


def _noted(upload: Upload, firsts: MutableMapping[Content, UUID]) -> Upload:
    if upload.stored is None:
        return upload
    first = firsts.setdefault((upload.owner, upload.stored.sha256), upload.id)
    return upload if first == upload.id else replace(upload, duplicate_of=first)
