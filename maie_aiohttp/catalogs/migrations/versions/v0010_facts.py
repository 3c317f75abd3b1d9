"""What recordings are, and their outlines."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Let uploads have facts, and make the table of outlines. Of what is stored already, nobody waits for any."""
    op.add_column("uploads", sa.Column("facts_pending", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("uploads", sa.Column("codec", sa.String(32)))
    for number in ("duration", "sample_rate", "channels", "bit_rate"):
        op.add_column("uploads", sa.Column(number, sa.BigInteger))
    op.add_column("uploads", sa.Column("findings", sa.Text))
    for name, columns, only in (
        ("uploads_unexamined", ["stored_at"], "facts_pending = 1"),
        ("uploads_newest_by_duration", ["created_at", "id", "duration"], "duration IS NOT NULL"),
        ("uploads_newest_by_codec", ["codec", "created_at", "id"], "codec IS NOT NULL"),
        ("uploads_newest_with_findings", ["created_at", "id"], "findings > ''"),
    ):
        op.create_index(name, "uploads", columns, sqlite_where=sa.text(only))
    op.create_table(
        "waveforms",
        sa.Column("upload_id", sa.Uuid, sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("sample_rate", sa.BigInteger),
        sa.Column("stretch", sa.BigInteger),
        sa.Column("pairs", sa.LargeBinary),
    )
