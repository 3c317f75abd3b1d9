"""Uploads as rows, and rows as uploads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import RowMapping

from maie_aiohttp.model import Metadata, Status, Upload

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Microseconds since the epoch; exact, unlike `datetime.timestamp`."""
    return (moment - EPOCH) // MICROSECOND


def from_microseconds(number: int) -> datetime:
    """The other way round, in UTC."""
    return EPOCH + number * MICROSECOND


def upload_row(upload: Upload) -> dict[str, object]:
    """The columns of `schema.uploads`."""
    return {
        "id": upload.id,
        "status": upload.status.value,
        "filename": upload.filename,
        "size": upload.size,
        "offset": upload.offset,
        "media_type": upload.media_type,
        "format": upload.format,
        "sha256": upload.sha256,
        "locator": upload.locator,
        "created_at": to_microseconds(upload.created_at),
        "stored_at": None if upload.stored_at is None else to_microseconds(upload.stored_at),
        "metadata": dict(upload.metadata),
    }


def outbox_row(upload: Upload) -> dict[str, object]:
    """The columns of `schema.outbox` that announce a stored upload."""
    moment = upload.stored_at or upload.created_at
    return {"upload_id": upload.id, "event": "upload.stored", "created_at": to_microseconds(moment)}


def to_upload(columns: RowMapping) -> Upload:
    """A row of `schema.uploads` as a value."""
    stored_at = columns["stored_at"]
    return Upload(
        id=columns["id"],
        status=Status(columns["status"]),
        filename=columns["filename"],
        size=columns["size"],
        offset=columns["offset"],
        media_type=columns["media_type"],
        format=columns["format"],
        sha256=columns["sha256"],
        locator=columns["locator"],
        created_at=from_microseconds(columns["created_at"]),
        stored_at=None if stored_at is None else from_microseconds(stored_at),
        metadata=_metadata(columns["metadata"]),
    )


def _metadata(stored: Mapping[str, str | list[str]]) -> Metadata:
    return {name: value if isinstance(value, str) else tuple(value) for name, value in stored.items()}
