"""What an attempt said of another answer, and an index of those. The version before this one leaves it empty."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.add_column("attempts", sa.Column("verdict", sa.String(32)))
    told = sa.text("verdict IS NOT NULL")
    op.create_index("ix_attempts_verdict_at", "attempts", ["verdict", "at"], postgresql_where=told, sqlite_where=told)


def downgrade() -> None:
    """Let them go."""
    op.drop_index("ix_attempts_verdict_at", "attempts")
    op.drop_column("attempts", "verdict")
