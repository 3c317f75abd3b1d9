"""What can go wrong with an upload. Nothing here knows HTTP; `problems` maps each class to a status.

IntakeError
├── Rejected                the upload itself is refused, for good
│   ├── Malformed           the request does not say what it means, or says it wrongly
│   │   ├── Truncated       the body ended before its own end
│   │   └── DigestMismatch  the bytes are not those the client declared
│   ├── TooLarge            more bytes, parts or fields than the limits allow
│   ├── Empty               no bytes at all
│   ├── NotAudio            content, name or declared type is not accepted audio
│   └── TooSlow             the client stopped sending
├── NotFound                no such upload
├── Damaged                 the stored bytes are no longer those that were accepted
├── Draining                the server is stopping
├── Busy                    a limited resource is taken; the same request works later
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


class Truncated(Malformed):
    """The body ended before its own end."""


class DigestMismatch(Malformed):
    """The bytes are not those the client declared (RFC 9530)."""


class TooLarge(Rejected):
    """More bytes, parts or fields than the limits allow."""


class Empty(Rejected):
    """An upload without a single byte."""


class NotAudio(Rejected):
    """Content, file name or declared type is not accepted audio."""


class TooSlow(Rejected):
    """The client stopped sending."""


class NotFound(IntakeError):
    """No upload with this identifier."""


class Damaged(IntakeError):
    """The stored bytes are no longer those that were accepted."""


class Draining(IntakeError):
    """The server is stopping and takes no new work."""


class Busy(IntakeError):
    """A limited resource is taken, or did not answer in time; the same request works later."""


class StorageFull(IntakeError):
    """The disk has no room for this upload, or keeps its last room in reserve."""


class StorageFailed(IntakeError):
    """The disk or the catalog did not take what it was given; nothing of it counts."""
