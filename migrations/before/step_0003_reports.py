"""Indexes that reports read by: one source's sums, one tag's, and the attempts that failed in one way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_index("ix_spend_source_grain_start", "spend", ["source", "grain", "start"])
    op.create_index("ix_spend_tags_tag_grain_start", "spend_tags", ["tag", "grain", "start"])
    failed = sa.text("failure IS NOT NULL")
    op.create_index(
        "ix_attempts_failure_at_id",
        "attempts",
        ["failure", "at", "id"],
        postgresql_where=failed,
        sqlite_where=failed,
    )


def downgrade() -> None:
    """Let them go."""
    op.drop_index("ix_attempts_failure_at_id", "attempts")
    op.drop_index("ix_spend_tags_tag_grain_start", "spend_tags")
    op.drop_index("ix_spend_source_grain_start", "spend")
