"""The tables. Times are microseconds since the epoch in UTC: exact, sortable, and the same in every database."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
)

REVISION = "0001"
"""The newest migration; a catalog that already stands there starts without loading Alembic."""

metadata = MetaData()

uploads = Table(
    "uploads",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("filename", Text),
    Column("size", BigInteger, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("media_type", String(64), nullable=False),
    Column("format", String(16), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("locator", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("stored_at", BigInteger),
    Column("metadata", JSON, nullable=False),
    Index("uploads_newest", "created_at", "id"),
    Index("uploads_newest_by_status", "status", "created_at", "id"),
)

outbox = Table(
    "outbox",
    metadata,
    # SQLite numbers rows by itself only where the key is an INTEGER.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("upload_id", Uuid, ForeignKey("uploads.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("event", String(32), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
"""What is still to be told to the pipeline: one row a stored upload, written in its transaction."""
