"""Sums by the month, from those by the day.

The version before this one knows nothing of months. It must store no more once they are made, or they would lack what
it stores: so the place read up to goes back by one message, which makes that version look at the revision and wait.
Nothing counts twice by that: attempts that are known change nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

DAY, MONTH = 24, 720
SUMS = (
    *("attempts", "won", "unpriced", "estimated"),
    *("input", "cache_read", "cache_write", "output", "reasoning", "cost", "waste"),
)


def upgrade() -> None:
    """Make them, a month at a time."""
    connection = op.get_bind()
    positions = sa.table("positions", sa.column("seq", sa.BigInteger))
    connection.execute(sa.update(positions).where(positions.c.seq > 0).values(seq=positions.c.seq - 1))
    if connection.dialect.name == "postgresql":  # who writes is through, or waits; readers go on
        op.execute("LOCK TABLE spend, spend_tags IN SHARE ROW EXCLUSIVE MODE")
    for name, keys in (("spend", ("source", "reason")), ("spend_tags", ("tag", "source"))):
        numbers = [sa.column(key, sa.BigInteger) for key in ("grain", "start", *SUMS)]
        table = sa.table(
            name, *numbers, *(sa.column(key, sa.String if key == "reason" else sa.Integer) for key in keys)
        )
        for start, end in _months(connection, table):
            _sum(connection, table, keys, start, end)


def _months(connection: sa.Connection, table: sa.TableClause) -> list[tuple[int, int]]:
    """Beginning and end of each month (UTC) from the first day to the last."""
    query = sa.select(sa.func.min(table.c.start), sa.func.max(table.c.start)).where(table.c.grain == DAY)
    first, last = connection.execute(query).one()
    found: list[tuple[int, int]] = []
    while first is not None and first <= last:
        begun = datetime.fromtimestamp(first, UTC).replace(day=1)
        year, month = divmod(begun.year * 12 + begun.month, 12)
        behind = int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp())
        found.append((int(begun.timestamp()), behind))
        first = behind
    return found


def _sum(connection: sa.Connection, table: sa.TableClause, keys: tuple[str, ...], start: int, end: int) -> None:
    named = [table.c[key] for key in keys]
    big = sa.BigInteger()
    query = (
        sa.select(
            sa.literal(MONTH, sa.SmallInteger()),
            sa.literal(start, big),
            *named,
            *(sa.cast(sa.func.sum(table.c[name]), big) for name in SUMS),
        )
        .where(table.c.grain == DAY, table.c.start >= start, table.c.start < end)
        .group_by(*named)
    )
    connection.execute(sa.insert(table).from_select(["grain", "start", *keys, *SUMS], query))


def downgrade() -> None:
    """Let them go; what they were made of stays."""
    for name in ("spend", "spend_tags"):
        table = sa.table(name, sa.column("grain", sa.SmallInteger))
        op.execute(sa.delete(table).where(table.c.grain == MONTH))
