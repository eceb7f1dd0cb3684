"""The first tables: attempts, their entries, the sums of them, how far LEDGER is read, and what was missed of it.

Written out rather than taken from ``ledger.tables``: what a step did must not change with the code.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SUMS = (
    *("attempts", "won", "unpriced", "estimated"),
    *("input", "cache_read", "cache_write", "output", "reasoning", "cost", "waste"),
)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _text(name: str, size: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(size), nullable=False)


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "positions",
        sa.Column("stream", sa.String(64)),
        _number("seq"),
        sa.Column("at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("stream", name="pk_positions"),
    )
    op.create_table(
        "missed",
        sa.Column("stream", sa.String(64)),
        _number("first"),
        _number("last"),
        sa.Column("at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("stream", "first", name="pk_missed"),
    )
    op.create_table(
        "sources",
        sa.Column("id", sa.Integer),
        *(_text(*each) for each in (("project", 64), ("key", 64), ("route", 200), ("provider", 64), ("model", 300))),
        _text("deployment", 400),
        sa.PrimaryKeyConstraint("id", name="pk_sources"),
        sa.UniqueConstraint(
            *("project", "key", "route", "deployment", "provider", "model"),
            name="uq_sources_project_key_route_deployment_provider_model",
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tags",
        sa.Column("id", sa.Integer),
        *(_text(*each) for each in (("project", 64), ("name", 200), ("value", 200))),
        sa.PrimaryKeyConstraint("id", name="pk_tags"),
        sa.UniqueConstraint("project", "name", "value", name="uq_tags_project_name_value"),
        sqlite_autoincrement=True,
    )
    _attempts()
    _sums()


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", BIG),
        _text("attempt", 200),
        sa.Column("source", sa.Integer, nullable=False),
        _number("submitted"),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("first_token", sa.Float),
        _text("reason", 16),
        sa.Column("failure", sa.String(64)),
        sa.Column("won", sa.Boolean, nullable=False),
        _text("told_by", 16),
        sa.Column("reported", sa.Boolean, nullable=False),
        sa.Column("stated", sa.Boolean, nullable=False),
        sa.Column("price", sa.String(128)),
        *(_number(name) for name in ("input", "cache_read", "cache_write", "output", "reasoning")),
        sa.Column("cost", sa.BigInteger),
        sa.Column("reserved", sa.BigInteger),
        sa.Column("tags", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.UniqueConstraint("attempt", "submitted", name="uq_attempts_attempt_submitted"),
        sa.ForeignKeyConstraint(["source"], ["sources.id"], name="fk_attempts_source"),
    )
    op.create_index("ix_attempts_at_id", "attempts", ["at", "id"])
    op.create_index("ix_attempts_source_at", "attempts", ["source", "at"])
    op.create_table(
        "entries",
        sa.Column("id", BIG),
        sa.Column("attempt", BIG, nullable=False),
        _text("kind", 8),
        _text("debit", 100),
        _text("credit", 100),
        _number("amount"),
        sa.PrimaryKeyConstraint("id", name="pk_entries"),
        sa.ForeignKeyConstraint(["attempt"], ["attempts.id"], name="fk_entries_attempt"),
    )
    op.create_index("ix_entries_attempt", "entries", ["attempt"])


def _sums() -> None:
    op.create_table(
        "spend",
        sa.Column("grain", sa.SmallInteger),
        sa.Column("start", sa.BigInteger),
        sa.Column("source", sa.Integer),
        sa.Column("reason", sa.String(16)),
        *(_number(name) for name in SUMS),
        sa.PrimaryKeyConstraint("grain", "start", "source", "reason", name="pk_spend"),
        sa.ForeignKeyConstraint(["source"], ["sources.id"], name="fk_spend_source"),
    )
    op.create_table(
        "spend_tags",
        sa.Column("grain", sa.SmallInteger),
        sa.Column("start", sa.BigInteger),
        sa.Column("tag", sa.Integer),
        sa.Column("source", sa.Integer),
        *(_number(name) for name in SUMS),
        sa.PrimaryKeyConstraint("grain", "start", "tag", "source", name="pk_spend_tags"),
        sa.ForeignKeyConstraint(["tag"], ["tags.id"], name="fk_spend_tags_tag"),
        sa.ForeignKeyConstraint(["source"], ["sources.id"], name="fk_spend_tags_source"),
    )


def downgrade() -> None:
    """Let them go, with all that they hold."""
    for table in ("spend_tags", "spend", "entries", "attempts", "tags", "sources", "missed", "positions"):
        op.drop_table(table)
