"""What owners use of their quotas, and keys with a quota of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Let keys have a quota, and make the tables of what is reserved and of what was used."""
    op.add_column("api_keys", sa.Column("quota", sa.JSON(none_as_null=True)))
    op.create_table(
        "quota_reservations",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("files", sa.Integer, nullable=False),
    )
    op.create_index("quota_reservations_by_owner", "quota_reservations", ["owner"])
    op.create_table(
        "quota_uses",
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("files", sa.BigInteger, nullable=False),
    )
