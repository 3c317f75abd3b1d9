"""What the bytes of an upload are asked on their way: how many, what kind, what digest. Each is a `Check`."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Container, Iterable, Mapping

from maie_aiohttp import formats, libmagic
from maie_aiohttp.errors import DigestMismatch, Empty, NotAudio, TooLarge
from maie_aiohttp.interfaces import HEAD, Check, Chunk


class SizeLimit:
    """Cuts off at the chunk that passes the limit. One instance may watch several files of one request."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen = 0

    def feed(self, chunk: Chunk) -> None:
        """Raises `TooLarge`."""
        self._seen += len(chunk)
        if self._seen > self._limit:
            raise TooLarge(f"The upload is larger than the {self._limit} bytes this server accepts.")

    def finish(self) -> Mapping[str, str]:
        """Nothing more to say: a limit is only ever passed on the way."""
        return {}


class Sniff:
    """Decides on the first 64 KiB, in however many pieces they come, whether this is accepted audio."""

    def __init__(self, enabled: Container[str]) -> None:
        self._enabled = enabled
        self._head = bytearray()
        self._verdict: formats.Verdict | None = None

    def feed(self, chunk: Chunk) -> None:
        """Raises `NotAudio`."""
        if self._verdict is None:
            self._head += chunk[: HEAD - len(self._head)]
            if len(self._head) == HEAD:
                self._decide(complete=False)

    def finish(self) -> Mapping[str, str]:
        """`format`, and `decode`: the demuxer that must find a frame in the finished file, or empty where the head
        already showed samples. Raises `Empty` and `NotAudio`."""
        verdict = self._verdict or self._decide(complete=True)
        return {
            "format": verdict.format.name,
            "decode": verdict.format.demuxer if verdict.needs_decode else "",
        }

    def _decide(self, *, complete: bool) -> formats.Verdict:
        if not self._head:
            raise Empty("The upload has no bytes.")
        head = bytes(self._head)
        self._head.clear()
        self._verdict = formats.identify(head, complete, libmagic.media_type(head), self._enabled)
        return self._verdict


class ArchiveTail:
    """Refuses a recording with a ZIP archive behind it: players see the one, unpackers the other, and no look at the
    first bytes can tell. The archive's end record stands in the last bytes (APPNOTE.TXT, section 4.3.16)."""

    KEPT = 4096
    """Bytes looked at; the record is 22 long, and its comment seldom longer than this."""
    SIGNATURE = b"PK\x05\x06"

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, chunk: Chunk) -> None:
        """Keep the last bytes."""
        self._tail = (self._tail + bytes(chunk[-self.KEPT :]))[-self.KEPT :]

    def finish(self) -> Mapping[str, str]:
        """Raises `NotAudio` if an end record reaches exactly to the end of the file."""
        at = self._tail.rfind(self.SIGNATURE)
        comment_size = int.from_bytes(self._tail[at + 20 : at + 22], "little")
        if at >= 0 and at + 22 + comment_size == len(self._tail):
            raise NotAudio("The file is an archive as well.")
        return {}


class Digest:
    """SHA-256 always; whatever else the client declared, verified (RFC 9530)."""

    def __init__(self, declared: Mapping[str, bytes]) -> None:
        self._declared = declared
        self._hashes = {name: hashlib.new(name) for name in {"sha256", *declared}}

    def feed(self, chunk: Chunk) -> None:
        """Hash the next bytes; `hashlib` lets other threads run meanwhile."""
        for running in self._hashes.values():
            running.update(chunk)

    def finish(self) -> Mapping[str, str]:
        """`sha256`, hexadecimal. Raises `DigestMismatch`."""
        for name, expected in self._declared.items():
            if not hmac.compare_digest(self._hashes[name].digest(), expected):
                raise DigestMismatch(f"The {name} digest of the bytes received is not the one declared.")
        return {"sha256": self._hashes["sha256"].hexdigest()}


class Chain:
    """Several checks as one."""

    def __init__(self, checks: Iterable[Check]) -> None:
        self._checks = tuple(checks)

    def feed(self, chunk: Chunk) -> None:
        """Show the chunk to each in turn; the first to raise ends it."""
        for check in self._checks:
            check.feed(chunk)

    def finish(self) -> Mapping[str, str]:
        """All findings together."""
        findings: dict[str, str] = {}
        for check in self._checks:
            findings.update(check.finish())
        return findings
