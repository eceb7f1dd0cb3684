"""Arms of experiments, which of them an attempt was made for, and an index of those.

The version before this one leaves the column empty. No row is written: it may be NULL and is so, so the reference holds
without a look at the table. Both are said in one statement, which SQLite takes as well; alembic would say two.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "arms",
        sa.Column("id", sa.Integer),
        sa.Column("experiment", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_arms"),
        sa.UniqueConstraint("experiment", "name", name="uq_arms_experiment_name"),
    )
    op.execute("ALTER TABLE attempts ADD COLUMN arm INTEGER CONSTRAINT fk_attempts_arm_arms REFERENCES arms (id)")
    tried = sa.text("arm IS NOT NULL")
    columns = ["arm", "won", "at", "id"]
    op.create_index("ix_attempts_arm_won_at_id", "attempts", columns, postgresql_where=tried, sqlite_where=tried)


def downgrade() -> None:
    """Let them go."""
    op.drop_index("ix_attempts_arm_won_at_id", "attempts")
    op.drop_column("attempts", "arm")
    op.drop_table("arms")
