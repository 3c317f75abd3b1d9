"""An upload as clients see it."""

from __future__ import annotations

from datetime import datetime

from maie_aiohttp.model import Metadata, Upload

COLLECTION = "/v1/uploads"


def location(upload: Upload) -> str:
    """The path of an upload's record."""
    return f"{COLLECTION}/{upload.id}"


def as_json(upload: Upload) -> dict[str, object]:
    """The record, ready for `json.dumps`."""
    here = location(upload)
    return {
        "id": str(upload.id),
        "status": upload.status.value,
        "filename": upload.filename,
        "size": upload.size,
        "offset": upload.offset,
        "media_type": upload.media_type,
        "format": upload.format,
        "sha256": upload.sha256,
        "created_at": _moment(upload.created_at),
        "stored_at": upload.stored_at and _moment(upload.stored_at),
        "metadata": _metadata(upload.metadata),
        "links": {"self": here, "content": f"{here}/content"},
    }


def _moment(moment: datetime) -> str:
    """RFC 3339, in UTC, to the microsecond."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _metadata(metadata: Metadata) -> dict[str, str | list[str]]:
    return {name: value if isinstance(value, str) else list(value) for name, value in metadata.items()}
