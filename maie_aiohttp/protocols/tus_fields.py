"""The header fields of tus 1.0.0, parsed and rendered. What cannot be read raises `Malformed`."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from uuid import UUID

from multidict import CIMultiDictProxy

from maie_aiohttp.errors import Malformed
from maie_aiohttp.web.headers import TUS_VERSION
from maie_aiohttp.web.records import COLLECTION

VERSION = TUS_VERSION

EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "checksum",
    "expiration",
    "termination",
    "concatenation",
)

DIGEST_SIZES: Mapping[str, int] = {"sha1": 20, "sha256": 32, "sha512": 64, "md5": 16}
"""Bytes, by algorithm; tus and `hashlib` call them the same."""

_NUMBER = re.compile("[0-9]{1,40}")
"""Numbers far beyond all limits are read as well: what is wrong with them is their size, not their form."""

_KEY = re.compile("[!-~]+")

_BASE64 = re.compile("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
"""RFC 4648, section 4, with all of its padding."""

_URL = re.compile(rf'[!"$->@-~]*{COLLECTION}/([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})')
"""Of an upload, behind whatever proxies put before its path; no query, no fragment."""


def only(headers: CIMultiDictProxy[str], name: str) -> str | None:
    """The field's value, None if it is not there. Two are refused: servers on the way may have read the other one."""
    values = headers.getall(name, [])
    if len(values) > 1:
        raise Malformed(f"{name} is there more than once.")
    return values[0] if values else None


def number(text: str) -> int:
    """The value of `Upload-Offset` or `Upload-Length`, in bytes."""
    if not _NUMBER.fullmatch(text):
        raise Malformed("Upload-Offset and Upload-Length are decimal numbers.")
    return int(text)


def length(given: str | None, deferred: str | None) -> int | None:
    """Bytes of a new upload, from its `Upload-Length` and `Upload-Defer-Length`; None if that is to be told later."""
    if (given is None) is (deferred is None):
        raise Malformed("A new upload has either Upload-Length or Upload-Defer-Length.")
    if given is not None:
        return number(given)
    if deferred != "1":
        raise Malformed("The only value of Upload-Defer-Length is 1.")
    return None


def metadata(text: str) -> Mapping[str, str]:
    """The pairs of `Upload-Metadata`. There may be none: some clients send the field empty. What is not UTF-8 in a
    value, or NUL, which databases do not take in text, becomes U+FFFD."""
    pairs: dict[str, str] = {}
    for pair in text.split(",") if text else ():
        key, _, value = pair.strip(" \t").partition(" ")
        if not _KEY.fullmatch(key) or key in pairs:
            raise Malformed("The keys of Upload-Metadata are unique, of visible ASCII characters.")
        pairs[key] = _decoded(value).decode("utf-8", "replace").replace("\0", "\ufffd")
    return pairs


def parts(text: str) -> Sequence[UUID]:
    """The uploads that `Upload-Concat` puts together; none if it says `partial`."""
    if text == "partial":
        return ()
    kind, _, urls = text.partition(";")
    if kind != "final":
        raise Malformed("Upload-Concat is either partial or final.")
    return [_identifier(url) for url in urls.split(" ")]


def checksum(text: str) -> Mapping[str, bytes]:
    """What a request's bytes hash to, from `Upload-Checksum`: one digest, by `hashlib` name."""
    algorithm, _, value = text.partition(" ")
    if algorithm not in DIGEST_SIZES:
        raise Malformed(f"The algorithms of Upload-Checksum are {', '.join(DIGEST_SIZES)}.")
    digest = _decoded(value)
    if len(digest) != DIGEST_SIZES[algorithm]:
        raise Malformed("The digest in Upload-Checksum has not the length of its algorithm's.")
    return {algorithm: digest}


def expires(moment: datetime) -> str:
    """The value of `Upload-Expires`: IMF-fixdate (RFC 9110, section 5.6.7), to the second before."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def _decoded(text: str) -> bytes:
    if not _BASE64.fullmatch(text):
        raise Malformed("The values of Upload-Metadata and Upload-Checksum are in Base64.")
    return base64.b64decode(text)


def _identifier(url: str) -> UUID:
    found = _URL.fullmatch(url)
    if found is None:
        raise Malformed("Upload-Concat names what is no upload here.")
    return UUID(found[1])
