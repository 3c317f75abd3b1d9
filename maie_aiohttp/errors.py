"""What can go wrong with an upload. Nothing here knows HTTP; `problems` maps each class to a status. `Undelivered` and
`Undeliverable` stand apart: they are about those who are told of uploads, and no client meets them.

IntakeError
├── Rejected                the upload itself is refused, for good
│   ├── Malformed           the request does not say what it means, or says it wrongly
│   │   └── DigestMismatch  the bytes are not those the client declared
│   ├── TooLarge            more bytes, parts or fields than the limits allow
│   ├── TooLong             the recording plays for longer than the limits allow
│   ├── Empty               no bytes at all
│   ├── NotAudio            content, name or declared type is not accepted audio
│   ├── Infected            a malware scanner found something in it
│   ├── KeyReused           its idempotency key was used for something else
│   └── InvalidTask         it asks the pipeline for what that cannot do
├── Interrupted             the bytes stopped coming; those before may count
│   ├── Truncated           the body ended before its own end
│   ├── TooSlow             the client stopped sending
│   ├── Draining            the server is stopping
│   └── Superseded          another request has taken the upload over
├── Unauthenticated         nobody knows who asks
├── NotPermitted            it is known who asks, and that they may not
├── CrossSite               a web page of another site asks, without a key
├── TokenUsed               the upload token has had its upload, or has one under way
├── NotFound                no such upload
├── Gone                    the upload was refused, abandoned or deleted, and is remembered only by name
├── Complete                the upload takes no more bytes
├── OffsetMismatch          the bytes do not begin where those received end
├── InconsistentLength      two statements of one length differ
├── ChecksumMismatch        these bytes are broken; the same ones, sent again, may not be
├── Locked                  another request holds the upload and does not let go
├── Damaged                 the stored bytes are no longer those that were accepted
├── Undecodable             the stored recording cannot be decoded
├── Busy                    a limited resource is taken; the same request works later
├── Limited                 the client has to wait, for a known time
│   ├── OverQuota           its owner has used what may be used
│   ├── QueueFull           the pipeline has more before it than it is to have
│   └── TooMany             too many requests come from its address, or wrong keys
├── NotConfigured           this server was not set up for that
├── StorageFull             the disk has no room
└── StorageFailed           the disk or the catalog did not take the bytes
"""

from __future__ import annotations


class IntakeError(Exception):
    """Root of the tree. `str(error)` is one sentence that may be shown to the client: it never echoes bytes
    of the request, a path or a library's message."""


class Rejected(IntakeError):
    """The upload is refused; sending the same again will be refused again."""


class Malformed(Rejected):
    """The request does not say what it means, or says it wrongly."""


class DigestMismatch(Malformed):
    """The bytes are not those the client declared (RFC 9530)."""


class TooLarge(Rejected):
    """More bytes, parts or fields than the limits allow."""


class TooLong(Rejected):
    """The recording plays for longer than the limits allow."""

    def __init__(self) -> None:
        super().__init__("The recording plays for longer than this server accepts.")


class Empty(Rejected):
    """An upload without a single byte."""


class NotAudio(Rejected):
    """Content, file name or declared type is not accepted audio."""


class Infected(Rejected):
    """A malware scanner found something in the file. The answer does not say what, which would help to hide it."""


class KeyReused(Rejected):
    """The idempotency key was used for another request; nothing of this one is stored."""


class InvalidTask(Rejected):
    """What is asked of the pipeline is not among what it can do."""


class Interrupted(IntakeError):
    """The bytes of an upload stopped coming before their end."""


class Truncated(Interrupted):
    """The body ended before its own end."""


class TooSlow(Interrupted):
    """The client stopped sending."""


class Draining(Interrupted):
    """The server is stopping and takes no new work."""


class Superseded(Interrupted):
    """A newer request has taken the upload over."""


class Unauthenticated(IntakeError):
    """The request has no API key, or none that is valid, where one is needed."""


class NotPermitted(IntakeError):
    """The API key does not allow this."""


class CrossSite(IntakeError):
    """A web page of another site makes a browser send this, where no key is needed."""


class TokenUsed(IntakeError):
    """Something was stored with the upload token, or an upload is under way with it."""


class NotFound(IntakeError):
    """No upload with this identifier."""


class Gone(IntakeError):
    """The upload was refused, or abandoned until it expired, and nothing of it is left but the record; or it was
    deleted, and a request that was sent again asks for it."""


class Complete(IntakeError):
    """The upload has all of its bytes."""


class OffsetMismatch(IntakeError):
    """The bytes sent do not begin where those received end. Both in bytes."""

    def __init__(self, *, expected: int, provided: int) -> None:
        super().__init__("The upload goes on at another offset.")
        self.expected = expected
        self.provided = provided


class InconsistentLength(IntakeError):
    """The length now stated, or the bytes that came, contradict the length stated before."""


class ChecksumMismatch(IntakeError):
    """The bytes of one request are not those its sender summed up; they do not count, and can be sent again."""


class Locked(IntakeError):
    """Another request holds the upload and did not let go in time."""


class Damaged(IntakeError):
    """The stored bytes are no longer those that were accepted."""


class Undecodable(IntakeError):
    """The stored recording cannot be decoded from its beginning to its end, or not in the time there is for that."""


class Busy(IntakeError):
    """A limited resource is taken, or did not answer in time; the same request works later."""


class Limited(IntakeError):
    """The client has to wait; the same request may work after so many `seconds`."""

    def __init__(self, reason: str, *, seconds: int = 60) -> None:
        super().__init__(reason)
        self.seconds = seconds


class OverQuota(Limited):
    """The owner of the upload has used what may be used, or reserved it for what is not finished."""


class TooMany(Limited):
    """Too many requests come from one address, or with wrong keys."""


class QueueFull(Limited):
    """The pipeline has more before it than it is to have."""


class NotConfigured(IntakeError):
    """This server was not set up for what it is asked."""


class StorageFull(IntakeError):
    """The disk has no room for this upload, or keeps its last room in reserve."""


class StorageFailed(IntakeError):
    """The disk or the catalog did not take what it was given; nothing of it counts."""


class Undelivered(Exception):
    """Who was to be told of an upload has not acknowledged it; they are told again."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        """`reason` is one sentence that may be logged and shown. `retry_after` is in seconds, where they said so."""
        super().__init__(reason)
        self.retry_after = retry_after


class Undeliverable(Exception):
    """Who was to be told of an upload does not take it, and will not take it if told again. One sentence, as above."""
