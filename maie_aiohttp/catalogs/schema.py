"""The tables. Times are microseconds since the epoch in UTC: exact, sortable, and the same in every database."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    false,
    text,
)

REVISION = "0010"
"""The newest migration; a catalog that already stands there starts without loading Alembic."""

metadata = MetaData()

uploads = Table(
    "uploads",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("filename", Text),
    Column("size", BigInteger),
    Column("offset", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("metadata", JSON, nullable=False),
    # Of what is stored:
    Column("media_type", String(64)),
    Column("format", String(16)),
    Column("sha256", String(64)),
    Column("locator", Text),
    Column("stored_at", BigInteger),
    # Of what comes in pieces:
    Column("terms", JSON(none_as_null=True)),
    Column("partial", Boolean, nullable=False, server_default=false()),
    Column("expires_at", BigInteger),
    Column("reason", Text),
    Column("owner", String(64)),
    Column("duplicate_of", Uuid),
    # What a recording is:
    Column("facts_pending", Boolean, nullable=False, server_default=false()),
    Column("codec", String(32)),
    Column("duration", BigInteger),
    Column("sample_rate", BigInteger),
    Column("channels", BigInteger),
    Column("bit_rate", BigInteger),
    Column("findings", Text),
    Index("uploads_newest", "created_at", "id"),
    Index("uploads_newest_by_status", "status", "created_at", "id"),
    Index("uploads_expiring", "expires_at"),
    Index("uploads_newest_by_owner", "owner", "created_at", "id", sqlite_where=text("owner IS NOT NULL")),
    Index("uploads_by_content", "sha256", "owner", sqlite_where=text("sha256 IS NOT NULL")),
    Index("uploads_unexamined", "stored_at", sqlite_where=text("facts_pending = 1")),
    Index("uploads_newest_by_duration", "created_at", "id", "duration", sqlite_where=text("duration IS NOT NULL")),
    Index("uploads_newest_by_codec", "codec", "created_at", "id", sqlite_where=text("codec IS NOT NULL")),
    Index("uploads_newest_with_findings", "created_at", "id", sqlite_where=text("findings > ''")),
)
"""The duration is in microseconds. Findings stand between spaces: an empty text for none, NULL without facts."""

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

letters = Table(
    "letters",
    metadata,
    Column("target", String(64), primary_key=True),
    Column("number", outbox.c.number.type, ForeignKey("outbox.number", ondelete="CASCADE"), primary_key=True),
    # SQLite gives the last number again when its entry is gone: this tells whose letter it is.
    Column("upload_id", Uuid, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("due_at", BigInteger),
    Column("delivered_at", BigInteger),
    Column("died_at", BigInteger),
    Index("letters_newest", "number", "target"),
    Index("letters_waiting", "target", "due_at", sqlite_where=text("due_at IS NOT NULL")),
    Index("letters_dead", "number", "target", sqlite_where=text("died_at IS NOT NULL")),
)
"""What has become of the entries of the outbox, for each target. A target has a row for every entry up to the last one
for which it has any; those behind it are new to it."""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(320), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("uploads", JSON, nullable=False),
    Column("used_at", BigInteger, nullable=False),
    Index("idempotency_keys_oldest", "used_at"),
)
"""Which request a key came with; written in the transaction of its uploads, and still there when these are deleted. In
front of each stand its owner and a slash."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("quota", JSON(none_as_null=True)),
)
"""Revoked keys stay: their names stand in logs, and as long as there is one, nobody comes in without."""

quota_reservations = Table(
    "quota_reservations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("files", Integer, nullable=False),
    Index("quota_reservations_by_owner", "owner"),
)
"""What is not finished, of owners with a quota; the owner of what came without a key is the empty text. That for an
upload which comes in pieces has its id, and goes in the transaction that ends it."""

quota_uses = Table(
    "quota_uses",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
)
"""What was stored in each minute since the epoch; written in the transaction of the uploads, and still there when these
are deleted."""

token_uses = Table(
    "token_uses",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("holder", Uuid, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("is_used_up", Boolean, nullable=False),
    Index("token_uses_expiring", "expires_at"),
)
"""Which upload tokens were used. The holder is an upload that began with it, or a request that does not say yet whether
anything is stored; used up is what was stored with, and says so in that transaction."""

waveforms = Table(
    "waveforms",
    metadata,
    Column("upload_id", Uuid, ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    Column("sample_rate", BigInteger),
    Column("stretch", BigInteger),
    Column("pairs", LargeBinary),
)
"""Outlines of recordings, drawn when first asked for. NULL where the recording cannot be decoded."""
