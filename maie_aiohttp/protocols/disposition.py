"""`Content-Disposition`, of a request (RFC 6266) and of the parts of a form (RFC 7578)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp.multipart import BadContentDispositionHeader, BadContentDispositionParam, parse_content_disposition
from multidict import MultiMapping

from maie_aiohttp.errors import Malformed
from maie_aiohttp.web.headers import display_name

for _category in (BadContentDispositionHeader, BadContentDispositionParam):
    warnings.simplefilter("ignore", _category)  # whoever sent the field is told

_FOREIGN = re.compile(r"""("(?:[^"\\]|\\.)*")|;[^;="]*\*\s*=(?!\s*(?:utf-8|iso-8859-1)?')[^;]*""", re.IGNORECASE)
"""A quoted string, which is kept, or a parameter in another charset than the two that were ever standard (RFC 8187,
section 3.2.1; RFC 5987). aiohttp would ask Python's codecs for it: some raise what it does not expect, and each unknown
name stays in memory."""


@dataclass(frozen=True, slots=True)
class Disposition:
    """One field, parsed."""

    kind: str
    """In lower case: `form-data`, `attachment`."""
    parameters: Mapping[str, str]

    @property
    def is_file(self) -> bool:
        """Whether there is a file name, be it empty."""
        return not self.parameters.keys().isdisjoint(("filename", "filename*"))

    @property
    def filename(self) -> str | None:
        """The file name for showing; where there are two, the one that says its charset."""
        return display_name(self.parameters.get("filename*", self.parameters.get("filename")))


def filename(headers: MultiMapping[str]) -> str | None:
    """The file name for showing that a request's header gives. Raises `Malformed`."""
    fields = headers.getall("Content-Disposition", [])
    return parse(fields).filename if fields else None


def parse(fields: Sequence[str]) -> Disposition:
    """The disposition in the values of all `Content-Disposition` fields. Raises `Malformed` unless there is one, and
    it can be read."""
    only = _FOREIGN.sub(r"\1", fields[0]) if len(fields) == 1 else None
    kind, parameters = parse_content_disposition(only)
    if kind is None:
        raise Malformed("There is no Content-Disposition field, or it cannot be read.")
    return Disposition(kind, parameters)
