"""Uploads that are recorded before they are complete."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Let what is only known at the end be unknown, and add what is only known of uploads in pieces."""
    # SQLite makes the table anew, and every deletion from the old one takes its outbox entries along.
    op.execute("CREATE TEMPORARY TABLE waiting AS SELECT * FROM outbox")
    with op.batch_alter_table("uploads") as table:
        table.alter_column("size", existing_type=sa.BigInteger, nullable=True)
        table.alter_column("media_type", existing_type=sa.String(64), nullable=True)
        table.alter_column("format", existing_type=sa.String(16), nullable=True)
        table.alter_column("sha256", existing_type=sa.String(64), nullable=True)
        table.alter_column("locator", existing_type=sa.Text, nullable=True)
        table.add_column(sa.Column("terms", sa.JSON))
        table.add_column(sa.Column("partial", sa.Boolean, nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("expires_at", sa.BigInteger))
        table.add_column(sa.Column("reason", sa.Text))
    op.create_index("uploads_expiring", "uploads", ["expires_at"])
    op.execute("DELETE FROM outbox")
    op.execute("INSERT INTO outbox SELECT * FROM waiting")
    op.execute("DROP TABLE waiting")
