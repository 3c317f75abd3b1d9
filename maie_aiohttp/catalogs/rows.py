"""Uploads as rows, and rows as uploads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping

from maie_aiohttp.model import Facts, Finding, KeyUse, Metadata, Outline, Status, Stored, Terms, Upload

Columns = RowMapping | Mapping[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Microseconds since the epoch; exact, unlike `datetime.timestamp`."""
    return (moment - EPOCH) // MICROSECOND


def from_microseconds(number: int) -> datetime:
    """The other way round, in UTC."""
    return EPOCH + number * MICROSECOND


def upload_row(upload: Upload) -> dict[str, object]:
    """The columns of `schema.uploads`, without those of `facts_columns`."""
    stored = upload.stored
    return {
        "id": upload.id,
        "status": upload.status.value,
        "filename": upload.filename,
        "size": upload.size,
        "offset": upload.offset,
        "created_at": to_microseconds(upload.created_at),
        "metadata": dict(upload.metadata),
        "media_type": stored and stored.media_type,
        "format": stored and stored.format,
        "sha256": stored and stored.sha256,
        "locator": stored and stored.locator,
        "stored_at": stored and to_microseconds(stored.at),
        "terms": upload.terms and _terms_column(upload.terms),
        "partial": upload.terms is not None and upload.terms.partial,
        "expires_at": upload.expires_at and to_microseconds(upload.expires_at),
        "reason": upload.reason,
        "owner": upload.owner,
        "duplicate_of": upload.duplicate_of,
        "facts_pending": stored is not None and stored.facts_pending,
    }


def facts_columns(facts: Facts) -> dict[str, object]:
    """Those of `schema.uploads` that say what a recording is."""
    return {
        "facts_pending": False,
        "codec": facts.codec,
        "duration": None if facts.duration is None else to_ticks(facts.duration),
        "sample_rate": facts.sample_rate,
        "channels": facts.channels,
        "bit_rate": facts.bit_rate,
        "findings": "".join(f" {finding.value} " for finding in facts.findings),
    }


def to_ticks(seconds: float) -> int:
    """Microseconds; no recording plays for longer than they can say."""
    return round(min(seconds, 1e12) * 1_000_000)


def outbox_row(upload: Upload) -> dict[str, object]:
    """The columns of `schema.outbox` that announce a stored upload."""
    moment = upload.stored.at if upload.stored else upload.created_at
    return {"upload_id": upload.id, "event": "upload.stored", "created_at": to_microseconds(moment)}


def key_row(use: KeyUse) -> dict[str, object]:
    """The columns of `schema.idempotency_keys`."""
    return {
        "key": use.key,
        "fingerprint": use.fingerprint,
        "uploads": [str(id) for id in use.uploads],
        "used_at": to_microseconds(use.at),
    }


def to_key_use(columns: Columns) -> KeyUse:
    """A row of `schema.idempotency_keys` as a value."""
    return KeyUse(
        key=columns["key"],
        fingerprint=columns["fingerprint"],
        uploads=tuple(UUID(id) for id in columns["uploads"]),
        at=from_microseconds(columns["used_at"]),
    )


def to_upload(columns: Columns) -> Upload:
    """A row of `schema.uploads` as a value."""
    expires_at = columns["expires_at"]
    return Upload(
        id=columns["id"],
        status=Status(columns["status"]),
        filename=columns["filename"],
        size=columns["size"],
        offset=columns["offset"],
        created_at=from_microseconds(columns["created_at"]),
        metadata=_metadata(columns["metadata"]),
        stored=None if columns["locator"] is None else _stored(columns),
        terms=None if columns["terms"] is None else _terms(columns["terms"], partial=columns["partial"]),
        expires_at=None if expires_at is None else from_microseconds(expires_at),
        reason=columns["reason"],
        owner=columns["owner"],
        duplicate_of=columns["duplicate_of"],
    )


def _stored(columns: Columns) -> Stored:
    return Stored(
        size=columns["size"],
        media_type=columns["media_type"],
        format=columns["format"],
        sha256=columns["sha256"],
        locator=columns["locator"],
        at=from_microseconds(columns["stored_at"]),
        facts_pending=bool(columns["facts_pending"]),
        facts=None if columns["findings"] is None else _facts(columns),
    )


def _facts(columns: Columns) -> Facts:
    duration = columns["duration"]
    return Facts(
        codec=columns["codec"],
        duration=None if duration is None else duration / 1_000_000,
        sample_rate=columns["sample_rate"],
        channels=columns["channels"],
        bit_rate=columns["bit_rate"],
        findings=tuple(map(Finding, columns["findings"].split())),
    )


def to_outline(columns: Columns) -> Outline | None:
    """A row of `schema.waveforms` as a value; None where it says that there is none."""
    if columns["pairs"] is None:
        return None
    return Outline(columns["sample_rate"], columns["stretch"], columns["pairs"])


def _terms_column(terms: Terms) -> dict[str, object]:
    return {
        "media_type": terms.media_type,
        "digests": {name: digest.hex() for name, digest in terms.digests.items()},
        "echo": dict(terms.echo),
        "final": terms.final,
        "reserved": terms.reserved,
        "token": terms.token and terms.token.hex,
        "max_size": terms.max_size,
    }


def _terms(column: Mapping[str, Any], *, partial: bool) -> Terms:
    return Terms(
        media_type=column["media_type"],
        digests={name: bytes.fromhex(digest) for name, digest in column["digests"].items()},
        echo=column["echo"],
        partial=partial,
        final=column["final"],
        reserved=column.get("reserved"),
        token=UUID(hex=token) if (token := column.get("token")) else None,
        max_size=column.get("max_size"),
    )


def _metadata(stored: Mapping[str, str | list[str]]) -> Metadata:
    return {name: value if isinstance(value, str) else tuple(value) for name, value in stored.items()}
