"""Letters: how far each target knows of what stands in the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table. Nobody knows of anything yet."""
    op.create_table(
        "letters",
        sa.Column("target", sa.String(64), primary_key=True),
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            sa.ForeignKey("outbox.number", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("upload_id", sa.Uuid, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("delivered_at", sa.BigInteger),
        sa.Column("died_at", sa.BigInteger),
    )
    op.create_index("letters_newest", "letters", ["number", "target"])
    op.create_index("letters_waiting", "letters", ["target", "due_at"], sqlite_where=sa.text("due_at IS NOT NULL"))
    op.create_index("letters_dead", "letters", ["number", "target"], sqlite_where=sa.text("died_at IS NOT NULL"))
