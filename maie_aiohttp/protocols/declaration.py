"""What a header declares of a file, the same for a request and for a part of a form; and of a request."""

from __future__ import annotations

from multidict import CIMultiDictProxy

from maie_aiohttp.credentials import Caller
from maie_aiohttp.intake.idempotency import Key
from maie_aiohttp.model import Declared
from maie_aiohttp.web.headers import DIGEST_FIELDS, declared_digests, idempotency_key


def declared(headers: CIMultiDictProxy[str], filename: str | None, *, at_most: int | None) -> Declared:
    """The declaration in these header fields, of a file of this name and at most so many bytes. Raises `Malformed`
    for digests that cannot be read."""
    return Declared(
        filename=filename,
        media_type=headers.get("Content-Type"),
        at_most=at_most,
        digests=declared_digests(value for field in DIGEST_FIELDS for value in headers.getall(field, [])),
    )


def key_of(headers: CIMultiDictProxy[str], door: str, caller: Caller) -> Key | None:
    """What the client calls its request, if it does; other owners, and who comes with a token, may call theirs the
    same. No owner has a slash or a tilde in its name. Raises `Malformed`."""
    text = idempotency_key(headers.getall("Idempotency-Key", []))
    whose = caller.owner or "" if caller.token_id is None else f"~{caller.token_id.hex}"
    return None if text is None else Key(f"{whose}/{text}", door)
