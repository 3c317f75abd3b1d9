"""An upload as clients see it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from maie_aiohttp.model import Facts, Finding, Metadata, Stored, Upload

COLLECTION = "/v1/uploads"
PROCESS = "/v1/process"
STATUS = "/v1/status"


def path(id: UUID) -> str:
    """Of an upload's record."""
    return f"{COLLECTION}/{id}"


def as_json(upload: Upload, root: str) -> dict[str, object]:
    """The record, ready for `json.dumps`; `root` is what stands before the path in its links."""
    here, stored = root + path(upload.id), upload.stored
    return {
        "id": str(upload.id),
        "status": upload.status.value,
        "filename": upload.filename,
        "size": upload.size,
        "offset": upload.offset,
        "media_type": stored and stored.media_type,
        "format": stored and stored.format,
        "sha256": stored and stored.sha256,
        "duplicate_of": upload.duplicate_of and str(upload.duplicate_of),
        "created_at": moment(upload.created_at),
        "stored_at": stored and moment(stored.at),
        "expires_at": upload.expires_at and moment(upload.expires_at),
        "reason": upload.reason,
        "owner": upload.owner,
        "metadata": _metadata(upload.metadata),
        "facts": stored and _facts(stored),
        "links": {"self": here, "content": f"{here}/content", "waveform": f"{here}/waveform"},
    }


def _facts(stored: Stored) -> dict[str, object] | None:
    """None where nobody has looked for any, or will."""
    if stored.facts_pending:
        return _told("pending", stored, Facts())
    if stored.facts is None:
        return None
    return _told("failed" if Finding.UNEXAMINED in stored.facts.findings else "found", stored, stored.facts)


def _told(status: str, stored: Stored, facts: Facts) -> dict[str, object]:
    return {
        "status": status,
        "container": stored.format,
        "codec": facts.codec,
        "duration": facts.duration,
        "sample_rate": facts.sample_rate,
        "channels": facts.channels,
        "bit_rate": facts.bit_rate,
        "findings": [finding.value for finding in facts.findings],
    }


def moment(at: datetime) -> str:
    """RFC 3339, in UTC, to the microsecond."""
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _metadata(metadata: Metadata) -> dict[str, str | list[str]]:
    return {name: value if isinstance(value, str) else list(value) for name, value in metadata.items()}
