"""What no record of this server says, as far as the record alone can tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from maie_aiohttp.formats import BY_NAME
from maie_aiohttp.model import Status, Stored, Upload
from maie_aiohttp.stores.shelf import id_of, shard

_SHA256 = re.compile(r"[0-9a-f]{64}")


def contradictions(upload: Upload) -> Iterator[str]:
    """Each as the end of a sentence about the record. SQLite keeps any type in any column."""
    name: object = upload.filename
    if name is not None and not isinstance(name, str):
        yield "its file name is no text"
    if not _is_count(upload.offset):
        yield "its offset is no number of bytes"
    if upload.stored is not None:
        yield from _of_stored(upload, upload.stored)
    elif upload.status in (Status.STORED, Status.DAMAGED):
        yield f"it is {upload.status}, and has no file"
    elif upload.status is Status.RECEIVING:
        yield from _of_receiving(upload)


def is_own(stored: Stored, upload: Upload) -> bool:
    """Whether the locator is that of this very upload; any other may lead anywhere."""
    place = PurePosixPath(stored.locator) if isinstance(stored.locator, str) else PurePosixPath()
    return str(place) == stored.locator and str(place.parent) == shard(upload.id) and id_of(place.name) == upload.id


def _of_stored(upload: Upload, stored: Stored) -> Iterator[str]:
    if upload.status is Status.RECEIVING:
        yield "it is receiving, and has a file"
    if not _is_count(stored.size) or upload.offset != stored.size:
        yield "its size and its offset are not the same number of bytes"
    if not isinstance(stored.sha256, str) or not _SHA256.fullmatch(stored.sha256):
        yield "its SHA-256 is none"
    if upload.expires_at is not None:
        yield "it is stored, and expires"
    yield from _of_format(stored)


def _of_format(stored: Stored) -> Iterator[str]:
    format = BY_NAME.get(stored.format)
    if format is None:
        yield "there is no such format as its own"
    elif stored.media_type != format.media_type:
        yield f"its media type is not {format.media_type}, that of {format.name}"
    elif PurePosixPath(str(stored.locator)).suffix != format.extension:
        yield f"its file's name does not end in {format.extension}"


def _of_receiving(upload: Upload) -> Iterator[str]:
    if upload.terms is None:
        yield "it is receiving, and nothing was agreed upon"
    if upload.size is not None and not _is_count(upload.size):
        yield "its size is no number of bytes"
    elif upload.size is not None and _is_count(upload.offset) and upload.offset > upload.size:
        yield "its offset is behind its size"
    if upload.expires_at is None:
        yield "it is receiving, and never expires"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0
