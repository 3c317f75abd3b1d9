"""Owners of uploads, and the keys they come with."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Let uploads have an owner, make the table of API keys, and put the owner, still none, before idempotency keys."""
    with op.batch_alter_table("idempotency_keys") as table:
        table.alter_column("key", existing_type=sa.String(255), type_=sa.String(320), existing_nullable=False)
    op.execute("UPDATE idempotency_keys SET key = '/' || key")
    op.add_column("uploads", sa.Column("owner", sa.String(64)))
    op.create_index(
        "uploads_newest_by_owner", "uploads", ["owner", "created_at", "id"], sqlite_where=sa.text("owner IS NOT NULL")
    )
    op.create_table(
        "api_keys",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
    )
