"""Statements of providers, alerts and their way out, and who was forgotten."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "statements",
        sa.Column("id", sa.Integer),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("first_day", sa.BigInteger, nullable=False),
        sa.Column("last_day", sa.BigInteger, nullable=False),
        sa.Column("drift", sa.Float, nullable=False),
        sa.Column("over", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_statements"),
        sa.UniqueConstraint("provider", "digest", name="uq_statements_provider_digest"),
    )
    op.create_table(
        "statement_lines",
        sa.Column("statement", sa.Integer),
        sa.Column("day", sa.BigInteger),
        sa.Column("model", sa.String(300)),
        *(
            sa.Column(name, sa.BigInteger)
            for name in ("requests", "input", "cache_read", "cache_write", "output", "cost")
        ),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("statement", "day", "model", name="pk_statement_lines"),
        sa.ForeignKeyConstraint(["statement"], ["statements.id"], name="fk_statement_lines_statement"),
    )
    _alerts()


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.String(32)),
        sa.Column("key", sa.String(400), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("project", sa.String(64)),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("due", sa.Float),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sa.UniqueConstraint("key", name="uq_alerts_key"),
    )
    op.create_index("ix_alerts_due", "alerts", ["due"])
    op.create_table(
        "forgotten",
        sa.Column("id", BIG),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("what", sa.String(8), nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("attempts", "entries", "sums")),
        sa.PrimaryKeyConstraint("id", name="pk_forgotten"),
    )
    op.create_index("ix_forgotten_project", "forgotten", ["project"])


def downgrade() -> None:
    """Let them go, with all that they hold."""
    for table in ("forgotten", "alerts", "statement_lines", "statements"):
        op.drop_table(table)
