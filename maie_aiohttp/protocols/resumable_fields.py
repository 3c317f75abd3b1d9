"""The header fields of "Resumable Uploads for HTTP" (draft-ietf-httpbis-resumable-upload), parsed and rendered: no
input, no output, no state. A field of the wrong type or value counts as not sent.

Clients of drafts name their interop version. The drafts behind versions 3 (-01) to 9 (-12 and later) differ, for a
server, in no more than the constants below say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

import http_sf
from multidict import CIMultiDictProxy

from maie_aiohttp.errors import InconsistentLength

KNOWN = range(3, 10)
"""Interop versions."""

RENAMED = 4
"""First version with `Upload-Complete`; before it was `Upload-Incomplete`, and meant the opposite."""

PROGRESSIVE = 5
"""First version whose clients expect interim responses that tell progress."""

TYPED = 6
"""First version that gives appends their own media type."""

EXPLICIT = 7
"""First version whose appends must say whether they are the last."""

_Value = TypeVar("_Value", int, bool)


@dataclass(frozen=True, slots=True)
class Fields:
    """What a request says. None where it says nothing that counts."""

    version: int | None = None
    """The interop version, if it is a known one."""
    offset: int | None = None
    """Where the content begins in the upload; bytes."""
    length: int | None = None
    """Of the whole upload; bytes."""
    complete: bool | None = None
    """Whether the upload ends with the content."""

    @property
    def dialect(self) -> int:
        """The interop version to speak: who names none speaks what the newest draft says."""
        return KNOWN[-1] if self.version is None else self.version

    @property
    def last(self) -> bool | None:
        """Whether an append ends the upload; None if it does not say. Draft -01 says by silence that it does."""
        return True if self.complete is None and self.dialect < RENAMED else self.complete

    def total(self, start: int, size: int | None) -> int | None:
        """The upload's length, where this request, with `size` bytes that begin at `start`, tells it in one way or in
        both. Raises `InconsistentLength`."""
        if not self.last or size is None:
            return self.length
        end = start + size
        if self.length not in (None, end):
            raise InconsistentLength("Upload-Length is not where the content of this last request ends.")
        return end


def parse(headers: CIMultiDictProxy[str]) -> Fields:
    """What these header fields say."""
    version = _integer(headers, "Upload-Draft-Interop-Version")
    version = version if version in KNOWN else None
    complete = _item(headers, "Upload-Complete", bool)
    if complete is None and version is not None and version < RENAMED:
        incomplete = _item(headers, "Upload-Incomplete", bool)
        complete = None if incomplete is None else not incomplete
    return Fields(version, _integer(headers, "Upload-Offset"), _integer(headers, "Upload-Length"), complete)


def completeness(complete: bool, dialect: int) -> Mapping[str, str]:
    """The field that says whether a response comes from the finished upload (true), or from this protocol."""
    if dialect < RENAMED:
        return {"Upload-Incomplete": http_sf.ser(not complete)}
    return {"Upload-Complete": http_sf.ser(complete)}


def _integer(headers: CIMultiDictProxy[str], name: str) -> int | None:
    value = _item(headers, name, int)
    return value if value is not None and value >= 0 else None


def _item(headers: CIMultiDictProxy[str], name: str, kind: type[_Value]) -> _Value | None:
    """The item in all fields of this name, without its parameters, if it is exactly of this type (RFC 9651, section
    4.2)."""
    try:
        item = http_sf.parse(", ".join(headers.getall(name, [])).encode("ascii"), tltype="item")
    except ValueError:
        return None
    value, _ = cast("tuple[object, object]", item)
    return value if type(value) is kind else None
