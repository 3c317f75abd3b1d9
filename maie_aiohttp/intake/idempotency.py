"""A request that is sent again with its `Idempotency-Key`: what makes two the same, and what the second one gets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from maie_aiohttp.errors import Damaged, Gone, KeyReused
from maie_aiohttp.interfaces import Catalog
from maie_aiohttp.model import KeyUse, Status, Upload


@dataclass(frozen=True, slots=True)
class Key:
    """What a client calls its request."""

    text: str
    door: str
    """Where it came in; the answers of two doors differ."""


def use_of(key: Key, uploads: Sequence[Upload]) -> KeyUse:
    """The use of a key for the files of one request."""
    return KeyUse(key.text, _fingerprint(key.door, uploads), tuple(one.id for one in uploads), datetime.now(UTC))


async def repeated(catalog: Catalog, use: KeyUse, earlier: KeyUse) -> Sequence[Upload]:
    """What the request stored when it came before, as it is now. Raises `KeyReused` if that was another request, `Gone`
    if a file of it was deleted, and `Damaged` if one has changed: the client must not let go of its own."""
    if use.fingerprint != earlier.fingerprint:
        raise KeyReused("This Idempotency-Key was used for another request.")
    records = await catalog.find(earlier.uploads)
    if len(records) < len(earlier.uploads):
        raise Gone("What was stored with this Idempotency-Key has been deleted.")
    uploads = [records[id] for id in earlier.uploads]
    if any(upload.status is Status.DAMAGED for upload in uploads):
        raise Damaged("What was stored with this Idempotency-Key is no longer what was accepted.")
    return uploads


def _fingerprint(door: str, uploads: Sequence[Upload]) -> str:
    """Of everything that is kept of a request. It stands in catalogs: another way to calculate it would refuse what is
    sent again after an upgrade."""
    files = [[upload.filename, upload.stored and upload.stored.sha256] for upload in uploads]
    kept = {"door": door, "files": files, "metadata": dict(uploads[0].metadata)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
