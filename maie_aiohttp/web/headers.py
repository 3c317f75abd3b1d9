"""Header fields, parsed and rendered: no input, no output, no state."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import cast
from urllib.parse import quote

import http_sf

from maie_aiohttp.errors import Malformed
from maie_aiohttp.model import Upload

ALGORITHMS: Mapping[str, str] = {"sha-256": "sha256", "sha-512": "sha512"}
"""RFC 9530 names of the active digest algorithms, and what `hashlib` calls them. The deprecated ones are ignored, as
section 5 of the RFC allows."""

DIGEST_FIELDS = ("Repr-Digest", "Content-Digest")
"""Both cover the same bytes here: an upload in one request, without content coding, is its representation."""

TUS_VERSION = "1.0.0"

PROTECTIVE: Mapping[str, str] = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
)
"""What every answer tells browsers: keep nothing of it, run nothing of it, and let no page of others have it."""

LONGEST_NAME = 255
"""Bytes in UTF-8, the limit of common file systems."""

LONGEST_KEY = 255
"""Characters of an `Idempotency-Key`."""

LONGEST_EXTENSION = 16
"""Bytes, the dot included; what is longer is no extension."""

_BARE = re.compile(r"[!#-+\--:<-\[\]-~]+")
"""Visible characters of ASCII, but for those that end or quote a value: comma, semicolon, quote and backslash."""

_INVISIBLE = re.compile("C.|Z[lp]")
"""Unicode's general categories of controls, formats, surrogates, private and unassigned characters; line and paragraph
separators."""


def display_name(raw: str | None) -> str | None:
    """A client's file name, fit for showing: normalised (NFC), without path, control and bidirectional characters and
    line ends, at most 255 bytes. None if nothing is left, or dots only. It never names a file on disk."""
    if raw is None:
        return None
    name = re.split(r"[/\\]", raw if raw.isascii() and raw.isprintable() else _visible(raw))[-1].strip()
    return _shortened(name) if name.strip(". ") else None


def _visible(raw: str) -> str:
    known = raw.encode("utf-8", "replace").decode("utf-8")
    visible = "".join(character for character in known if not _INVISIBLE.fullmatch(unicodedata.category(character)))
    return unicodedata.normalize("NFC", visible)


def _shortened(name: str) -> str:
    """What goes is the end of the stem: the extension says more."""
    extension = PurePosixPath(name).suffix
    if len(extension.encode()) > LONGEST_EXTENSION:
        extension = ""
    stem = name.removesuffix(extension).encode()
    return stem[: LONGEST_NAME - len(extension.encode())].decode("utf-8", "ignore").rstrip() + extension


def attachment(filename: str | None) -> str:
    """`Content-Disposition` of a download (RFC 6266), with a plain fallback beside the exact name (RFC 8187)."""
    if filename is None:
        return "attachment"
    plain = re.sub(r'[^ -~]|["\\%;]', "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def preferences(fields: Iterable[str]) -> Mapping[str, object]:
    """The values of `Prefer` fields (RFC 7240), True where a preference has none. Nothing where they cannot be read as
    a dictionary (RFC 9651): a preference may always be ignored."""
    try:
        members = http_sf.parse(", ".join(fields).encode("latin-1"), tltype="dictionary")
    except (ValueError, UnicodeError):
        return {}
    return {name: member[0] for name, member in cast("Mapping[str, tuple[object, ...]]", members).items()}


def is_plain(codings: Iterable[str]) -> bool:
    """Whether the values of `Content-Encoding` fields say that the bytes are the file's own."""
    return all(coding.lower() == "identity" for coding in codings)


def declared_digests(fields: Iterable[str]) -> Mapping[str, bytes]:
    """What the values of `Repr-Digest` and `Content-Digest` fields declare (RFC 9530), by `hashlib` name. Raises
    `Malformed` for values that are no digests, or that contradict each other."""
    digests: dict[str, bytes] = {}
    for field in fields:
        for name, value in _dictionary(field).items():
            if name in ALGORITHMS and digests.setdefault(ALGORITHMS[name], value) != value:
                raise Malformed("The digest fields contradict each other.")
    return digests


def idempotency_key(fields: Sequence[str]) -> str | None:
    """The value of `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07, section 2.1): a String of 1 to 255
    characters; also without the quotes, as many clients send it. Parameters say nothing, as none are defined. Raises
    `Malformed`."""
    if not fields:
        return None
    key = _string(fields[0]) if len(fields) == 1 else None
    if not key or len(key) > LONGEST_KEY:
        raise Malformed(f"Idempotency-Key is not one string of 1 to {LONGEST_KEY} characters.")
    return key


def repr_digest(sha256: str) -> str:
    """`Repr-Digest` of a stored upload, from its hexadecimal SHA-256."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def upload_limit(max_size: int, expires_at: datetime | None) -> str:
    """`Upload-Limit`: the bytes an upload may have, at least one, and the seconds left for it."""
    limits = f"max-size={max_size}, min-size=1"
    if expires_at is None:
        return limits
    left = round((expires_at - datetime.now(UTC)).total_seconds())
    return f"{limits}, max-age={max(0, left)}"


def limit_of(upload: Upload, max_size: int) -> str:
    """`Upload-Limit` of an upload that has begun: its token, and what was reserved of a quota for it, bound it too."""
    size = upload.limited(max_size)
    return upload_limit(size if upload.reserved is None else min(size, upload.reserved), upload.expires_at)


def offset_fields(upload: Upload, max_size: int) -> dict[str, str]:
    """How far an upload came, in the fields of the IETF's resumable uploads (section 4.3.2); whether it is complete is
    said in different ways."""
    fields = {
        "Upload-Offset": str(upload.offset),
        "Upload-Limit": limit_of(upload, max_size),
    }
    return fields if upload.size is None else {**fields, "Upload-Length": str(upload.size)}


def _dictionary(field: str) -> Mapping[str, bytes]:
    try:
        members = http_sf.parse(field.encode("latin-1"), tltype="dictionary")
    except (ValueError, UnicodeError):
        raise Malformed("A digest field is not a dictionary of byte sequences.") from None
    return {name: _byte_sequence(member) for name, member in cast("Mapping[str, object]", members).items()}


def _string(field: str) -> str | None:
    if _BARE.fullmatch(field):
        return field
    try:
        item = http_sf.parse(field.encode("latin-1"), tltype="item")
    except (ValueError, UnicodeError):
        return None
    match cast("object", item):
        case (str(value), _):
            return value
    return None


def _byte_sequence(member: object) -> bytes:
    match member:
        case (bytes(value), _):
            return value
    raise Malformed("A digest field is not a dictionary of byte sequences.")
