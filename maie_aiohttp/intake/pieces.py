"""What one request brings of an upload, and what the request says of the whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from maie_aiohttp.errors import Complete, Gone, InconsistentLength, IntakeError, Interrupted, OffsetMismatch
from maie_aiohttp.inspection.checks import Check, Progress, SizeLimit, size_limit, too_long
from maie_aiohttp.intake.locks import Interrupt
from maie_aiohttp.interfaces import Advance, Chunk, Taken, nobody_waits, unheard
from maie_aiohttp.model import Status, Upload
from maie_aiohttp.streams import Chunks, watched


@dataclass(frozen=True, slots=True)
class Piece:
    """The bytes of one request. All numbers are bytes."""

    offset: int
    """Where they begin."""
    chunks: AsyncIterator[bytes]
    """None of them empty."""
    interrupt: Interrupt
    """Ends `chunks` with this error; called when another request takes the upload over."""
    size: int | None = None
    """How many there are, if the request says so."""
    length: int | None = None
    """Of the whole upload, if the request says so."""
    last: bool | None = None
    """Whether the upload ends with them; None where its length alone decides."""
    digests: Mapping[str, bytes] = field(default_factory=dict)
    """By `hashlib` name: what these bytes alone must hash to. Such a piece counts whole or not at all."""
    taken: Taken = nobody_waits
    """Hears that what was pulled of `chunks` has been taken in."""
    durable: Advance = unheard
    """Hears the offset up to which the upload cannot be lost, now and then."""


class Interruption:
    """Ends a piece: the bytes that are awaited, and whatever looks in between."""

    def __init__(self, pass_on: Interrupt) -> None:
        self._pass_on = pass_on
        self._error: IntakeError | None = None

    def __call__(self, error: IntakeError) -> None:
        """End it with this error."""
        self._error = error
        self._pass_on(error)

    def check(self, _: Chunk) -> None:
        """Raises that error."""
        if self._error is not None:
            raise self._error


def check_open(upload: Upload) -> None:
    """Raises `Gone` for an upload that was refused or has expired."""
    if upload.status in (Status.REJECTED, Status.EXPIRED):
        raise Gone(upload.reason or "The upload has expired.")
    if upload.expires_at is not None and upload.expires_at <= datetime.now(UTC):
        raise Gone("The upload has expired.")


def agreed(upload: Upload, piece: Piece) -> Upload:
    """The upload with what the piece's request adds to it: its length, if that was not known. Raises `Gone`,
    `Complete`, `OffsetMismatch` and `InconsistentLength`."""
    check_open(upload)
    if upload.is_final:
        raise Complete("An upload that is made of others takes no bytes but theirs.")
    if upload.offset != piece.offset:
        raise OffsetMismatch(expected=upload.offset, provided=piece.offset)
    if upload.is_whole and piece.size != 0:
        raise Complete("The upload has all of its bytes.")
    stated = {length for length in (upload.size, piece.length, _end(piece)) if length is not None}
    if len(stated) > 1 or any(length < upload.offset for length in stated):
        raise InconsistentLength("The length does not agree with what was said or sent before.")
    return replace(upload, size=max(stated, default=None))


def _end(piece: Piece) -> int | None:
    """Where the whole upload ends, if it does so with this piece."""
    return piece.offset + piece.size if piece.last and piece.size is not None else None


class Arrival:
    """The bytes of a piece as they come, up to where they break off. A client that is lost is no failure of the upload:
    what ended the bytes is kept as `failure`, and those before it count."""

    def __init__(self, upload: Upload, piece: Piece, max_size: int) -> None:
        self.failure: Interrupted | InconsistentLength | None = None
        self.progress = Progress(upload.offset)
        self._upload = upload
        self._piece = piece
        self._limit: Check
        if upload.size is None:
            self._limit = size_limit(max_size, upload.reserved, seen=upload.offset)
        else:
            self._limit = SizeLimit(upload.size, too_long, seen=upload.offset)

    def offset_after(self, size: int) -> int:
        """From where on the upload, of `size` bytes now and not complete, has to be sent again. Of a broken message
        with a digest nothing counts; and who broke off at the very end sends the last byte again, as nobody may be told
        that all bytes are there."""
        if self.failure is None:
            return size
        if self._piece.digests:
            return self._upload.offset
        if size == self._upload.size:
            return max(self._upload.offset, size - 1)
        return size

    def ends_at(self, size: int) -> bool:
        """Whether the upload, of `size` bytes now, is complete."""
        said = self._piece.last
        return self.failure is None and (size == self._upload.size if said is None else said)

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes. Raises `TooLarge` or `OverQuota` beyond what the upload may have."""
        return watched(Chunks(self._next), self._limit.feed, self.progress.feed)

    async def _next(self) -> bytes:
        try:
            chunk = await anext(self._piece.chunks, b"")
        except Interrupted as error:
            self.failure = error
            return b""
        if not chunk:
            self.failure = self._missing()
        return chunk

    def _missing(self) -> InconsistentLength | None:
        if self._piece.last and self._upload.size not in (None, self.progress.received):
            return InconsistentLength("The upload was to end here, but is not as long as was said.")
        return None
