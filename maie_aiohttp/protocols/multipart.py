"""The form door: `multipart/form-data`, files and text fields in any order, one outcome for all of it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from maie_aiohttp.errors import Empty, Malformed, TooLarge
from maie_aiohttp.model import Declared, Metadata, Upload
from maie_aiohttp.protocols.body import Body
from maie_aiohttp.protocols.declaration import key_of
from maie_aiohttp.protocols.parts import HEADER_SIZE, Part, boundary_of, label, walk
from maie_aiohttp.settings import Limits
from maie_aiohttp.web.appkeys import INTAKE, LIMITS
from maie_aiohttp.web.permission import caller

FIELD_NAME_SIZE = 255
"""Characters."""


Look = Callable[[Metadata], None]
"""Sees text fields; may raise `errors.Rejected`."""


def _anything(_: Metadata) -> None:
    """Text fields are their sender's."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a door wants of a form, within the limits of all forms."""

    door: str = "form"
    """As `idempotency.Key` has it."""
    max_files: int = sys.maxsize
    check: Look = _anything
    """Sees the fields that came before a file, and more of them may come."""
    accept: Look = _anything
    """Sees all of them, at the end."""


ANY = Form()


async def receive(request: web.Request, body: Body, form: Form = ANY) -> Sequence[Upload]:
    """Take the form to its end, once its header is not refused. Returns what is stored now; raises, and stores
    nothing, if any part is refused."""
    boundary, sender = boundary_of(request), caller(request)
    key = key_of(request.headers, form.door, sender)
    intake, limits = request.app[INTAKE], request.app[LIMITS]
    files_together = Declared(at_most=_files_size(request.content_length, limits))
    fields = Fields(limits)
    files, max_files = 0, min(limits.max_files, form.max_files)
    at_most = None if request.content_length is None else min(request.content_length, limits.max_size)
    async with intake.delivery(files_together, sender, most=at_most) as delivery:
        async for part in _at_most(limits.max_files + limits.max_fields, walk(boundary, body)):
            field = label(part, at_most=at_most)
            if field.file is None:
                await fields.read(field.name, part)
                continue
            if field.file.filename is None and await part.is_empty():
                continue  # a file input that was left empty; browsers send it so
            files += 1
            if files > max_files:
                raise TooLarge(f"The form has more files than are accepted here: {max_files}.")
            form.check(fields.metadata())
            intake.check(field.file)
            await delivery.receive(field.file, part.chunks(limits.chunk_size), body.taken)
        if not files:
            raise Empty("The form has no file.")
        form.accept(fields.metadata())
        return await delivery.settle(fields.metadata(), key)


async def _at_most(count: int, parts: AsyncIterator[Part]) -> AsyncIterator[Part]:
    """The parts, those that were left empty included. Raises `TooLarge` at one too many."""
    left = count
    async for part in parts:
        left -= 1
        if left < 0:
            raise TooLarge(f"The form has more than the {count} parts this server accepts.")
        yield part


def _files_size(length: int | None, limits: Limits) -> int | None:
    """What the files in a form of so many bytes come to together, if all that may stand around them is there."""
    around = limits.max_fields_size + (limits.max_files + limits.max_fields + 1) * HEADER_SIZE
    return None if length is None else max(length - around, 1)


class Fields:
    """The text fields of one form, bounded in number and size."""

    def __init__(self, limits: Limits) -> None:
        self._number_left = limits.max_fields
        self._size_left = limits.max_fields_size
        self._values: dict[str, tuple[str, ...]] = {}

    async def read(self, name: str, part: Part) -> None:
        """Take one field. Raises `TooLarge` and `Malformed`."""
        self._number_left -= 1
        if self._number_left < 0 or len(name) > FIELD_NAME_SIZE:
            raise TooLarge("The form has more or longer text fields than this server accepts.")
        content = bytearray()
        async for chunk in part.chunks(self._size_left + 1):
            content += chunk
            self._size_left -= len(chunk)
            if self._size_left < 0:
                raise TooLarge("The text fields of the form are larger than this server accepts.")
        self._add(_text(name.encode("utf-8", "surrogateescape")), _text(content))

    def metadata(self) -> Metadata:
        """One value a name; a tuple only where a name came more than once."""
        return {name: values[0] if len(values) == 1 else values for name, values in self._values.items()}

    def _add(self, name: str, value: str) -> None:
        self._values[name] = (*self._values.get(name, ()), value)


def _text(content: bytes | bytearray) -> str:
    """UTF-8, without NUL: databases do not take it in text."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("A text field of the form is not UTF-8.") from None
    if "\0" in text:
        raise Malformed("A text field of the form holds a NUL character.")
    return text
