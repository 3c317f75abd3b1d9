"""Which uploads have the bytes of an earlier one."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"


def upgrade() -> None:
    """Let uploads name an earlier one, and be found by their bytes. Those that are there already name none."""
    op.add_column("uploads", sa.Column("duplicate_of", sa.Uuid))
    op.create_index("uploads_by_content", "uploads", ["sha256", "owner"], sqlite_where=sa.text("sha256 IS NOT NULL"))
