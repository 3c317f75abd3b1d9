"""What the bytes of an upload are asked on their way: how many, what kind, what digest. Each question is a `Check`."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from struct import unpack_from

from maie_aiohttp import formats
from maie_aiohttp.errors import (
    ChecksumMismatch,
    DigestMismatch,
    Empty,
    IntakeError,
    NotAudio,
    OverQuota,
    Rejected,
    TooLarge,
    TooLong,
)
from maie_aiohttp.inspection import libmagic
from maie_aiohttp.interfaces import HEAD, Chunk, Content


class Check:
    """A fold over the bytes of one upload; this one has no objection to any."""

    def feed(self, chunk: Chunk) -> None:
        """See the next bytes. Raises `errors.Rejected` as soon as they decide against the upload."""

    def finish(self, content: Content) -> None:
        """The upload is complete. Raises `errors.Rejected`."""


def too_large(limit: int) -> TooLarge:
    """The refusal of more bytes than anybody may send, whenever that becomes known."""
    return TooLarge(f"The upload is larger than the {limit} bytes this server accepts.")


def too_long(limit: int) -> TooLarge:
    """The refusal of more bytes than were announced."""
    return TooLarge(f"The upload is larger than the {limit} bytes announced.")


def over_quota(limit: int) -> OverQuota:
    """The refusal of more bytes than could be reserved when the upload began."""
    return OverQuota(f"The upload is larger than the {limit} bytes that were left of the quota.")


class SizeLimit(Check):
    """Cuts off at the chunk that passes the limit, with the `refusal` of it; `seen` bytes came before. One instance may
    watch several files of one request."""

    def __init__(self, limit: int, refusal: Callable[[int], IntakeError] = too_large, *, seen: int = 0) -> None:
        self._limit = limit
        self._refusal = refusal
        self._seen = seen

    def feed(self, chunk: Chunk) -> None:
        """Raises the refusal."""
        self._seen += len(chunk)
        if self._seen > self._limit:
            raise self._refusal(self._limit)


def size_limit(max_size: int, reserved: int | None, *, seen: int = 0) -> SizeLimit:
    """Of what nobody has announced: what the server accepts, or what was reserved of a quota."""
    if reserved is None or reserved >= max_size:
        return SizeLimit(max_size, too_large, seen=seen)
    return SizeLimit(reserved, over_quota, seen=seen)


class Progress(Check):
    """How many bytes of an upload have arrived, for whoever asks while it runs."""

    def __init__(self, received: int = 0) -> None:
        self.received = received

    def feed(self, chunk: Chunk) -> None:
        """Count."""
        self.received += len(chunk)


class Sniff(Check):
    """Decides on the first 64 KiB, in however many pieces they come, whether this is accepted audio; and whether it
    plays for more than `max_duration` seconds, if that is told there."""

    def __init__(self, enabled: Container[str], max_duration: float = math.inf) -> None:
        self._enabled = enabled
        self._max_duration = max_duration
        self._head = bytearray()
        self._verdict: formats.Verdict | None = None

    def feed(self, chunk: Chunk) -> None:
        """Raises `NotAudio` and `TooLong`."""
        if self._verdict is None:
            self._head += chunk[: HEAD - len(self._head)]
            if len(self._head) == HEAD:
                self._verdict = self._decide(complete=False)

    def finish(self, _: Content) -> None:
        """Raises `Empty`, `NotAudio` and `TooLong`."""
        self.verdict()

    def verdict(self) -> formats.Verdict:
        """On the whole upload. Raises `Empty`, `NotAudio` and `TooLong`."""
        if self._verdict is None:
            self._verdict = self._decide(complete=True)
        return self._verdict

    def _decide(self, *, complete: bool) -> formats.Verdict:
        if not self._head:
            raise Empty("The upload has no bytes.")
        head = bytes(self._head)
        self._head.clear()
        verdict = formats.identify(head, complete, libmagic.media_type(head), self._enabled)
        if (formats.span(verdict.format, head) or 0) > self._max_duration:
            raise TooLong
        return verdict


class Digest(Check):
    """SHA-256 always; whatever else the client declared, verified (RFC 9530)."""

    def __init__(self, declared: Mapping[str, bytes], running: Mapping[str, hashlib._Hash] | None = None) -> None:
        self._declared = declared
        self._hashes = running or {name: hashlib.new(name) for name in {"sha256", *declared}}

    def __deepcopy__(self, _: object) -> Digest:
        """Hashes have a way of their own to be copied."""
        return Digest(self._declared, {name: running.copy() for name, running in self._hashes.items()})

    def feed(self, chunk: Chunk) -> None:
        """Hash the next bytes; `hashlib` lets other threads run meanwhile."""
        for running in self._hashes.values():
            running.update(chunk)

    def finish(self, _: Content) -> None:
        """Raises `DigestMismatch`."""
        for name, expected in self._declared.items():
            if not hmac.compare_digest(self._hashes[name].digest(), expected):
                raise DigestMismatch(f"The {name} digest of the bytes received is not the one declared.")

    def sha256(self) -> str:
        """Of the bytes so far, hexadecimal."""
        return self._hashes["sha256"].hexdigest()


class Message(Check):
    """The bytes of one request, verified by themselves (tus checksums, and `Content-Digest` of RFC 9530), then shown to
    the checks of the upload. Where they turn out to be broken, what those said of them does not count."""

    def __init__(self, declared: Mapping[str, bytes], check: Check) -> None:
        self._declared = declared
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in declared}
        self._check = check
        self._refusal: Rejected | None = None

    def feed(self, chunk: Chunk) -> None:
        """Hash the next bytes. Raises what the upload's checks raise, unless that has to wait."""
        for running in self._hashes.values():
            running.update(chunk)
        try:
            if self._refusal is None:
                self._check.feed(chunk)
        except Rejected as refusal:
            if not self._declared:
                raise
            self._refusal = refusal

    def finish(self, _: Content) -> None:
        """Raises `ChecksumMismatch`, and what had to wait."""
        for name, expected in self._declared.items():
            if not hmac.compare_digest(self._hashes[name].digest(), expected):
                raise ChecksumMismatch(f"The {name} digest of these bytes is not the one declared.")
        if self._refusal is not None:
            raise self._refusal


class Polyglot(Check):
    """Refuses a recording with a ZIP archive behind it: players see the one, unpackers the other, and no look at the
    first bytes can tell.

    Unpackers search the end of a file for the end record (APPNOTE.TXT, section 4.3.16), and tolerate bytes before and
    behind the archive. The record's four bytes stand in one recording of 65,000 by chance; that they lead to a
    directory as well does not happen. An archive without files has no directory, and nothing to unpack.
    """

    END = re.compile(rb"PK\x05\x06")
    END_SIZE = 22
    LOCATOR_SIZE = 20
    LOCATOR = b"PK\x06\x07"
    """What stands before the end record of a ZIP64 archive (section 4.3.15) is enough: it is no chance."""
    DIRECTORY = b"PK\x01\x02"
    SEARCHED = LOCATOR_SIZE + END_SIZE + 65_535
    """Bytes: these two records, and the longest comment."""

    def finish(self, content: Content) -> None:
        """Raises `NotAudio`."""
        start = max(0, content.size - self.SEARCHED)
        tail = content.read(start, self.SEARCHED)
        for end in self.END.finditer(tail):
            if self._has_locator(tail, end.start()) or self._has_directory(content, start, tail, end.start()):
                raise NotAudio("The file is an archive as well.")

    def _has_locator(self, tail: bytes, end: int) -> bool:
        return end >= self.LOCATOR_SIZE and tail.startswith(self.LOCATOR, end - self.LOCATOR_SIZE)

    def _has_directory(self, content: Content, start: int, tail: bytes, end: int) -> bool:
        """Whether a directory stands just before the record at `end` of the tail, where most unpackers look, or in the
        place that the record names, where others do."""
        if len(tail) - end < self.END_SIZE:
            return False
        size, offset = unpack_from("<II", tail, end + 12)
        places = (start + end - size, offset)
        return any(0 <= place < start + end and content.read(place, 4) == self.DIRECTORY for place in places)


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known of an upload that passed every check."""

    format: formats.Format
    demuxer: str | None
    """Must find a frame in the finished file; None where the head already showed samples."""
    sha256: str
    """Hexadecimal."""


class Examination(Check):
    """Every check of one upload, as one; the first to object ends it."""

    def __init__(
        self, enabled: Container[str], digests: Mapping[str, bytes], *, max_duration: float = math.inf
    ) -> None:
        self._sniff = Sniff(enabled, max_duration)
        self._digest = Digest(digests)
        self._checks: tuple[Check, ...] = (self._sniff, self._digest, Polyglot())

    def feed(self, chunk: Chunk) -> None:
        """Raises what any check raises."""
        for check in self._checks:
            check.feed(chunk)

    def finish(self, content: Content) -> None:
        """Raises what any check raises."""
        for check in self._checks:
            check.finish(content)

    def findings(self) -> Findings:
        """After `finish`."""
        verdict = self._sniff.verdict()
        demuxer = verdict.format.demuxer if verdict.needs_decode else None
        return Findings(verdict.format, demuxer, self._digest.sha256())
