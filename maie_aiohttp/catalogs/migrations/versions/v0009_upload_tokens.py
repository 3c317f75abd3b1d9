"""Which upload tokens were used."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the table of used tokens."""
    op.create_table(
        "token_uses",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("holder", sa.Uuid, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("is_used_up", sa.Boolean, nullable=False),
    )
    op.create_index("token_uses_expiring", "token_uses", ["expires_at"])
