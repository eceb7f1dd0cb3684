"""What the ledger's database is, how full it is and how far LEDGER is read into it; nothing here counts rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, inspect, select, text

from job_contracts import subjects
from job_contracts.spend import LedgerState, Missed
from ledger.database import revision_of, unfit
from ledger.tables import attempts, missed, positions

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

TOLD = 10
"""Ranges of what was missed that are told one by one."""
_GUESS = text("SELECT reltuples::bigint FROM pg_class WHERE oid = 'attempts'::regclass")
"""As the last ANALYZE or autovacuum left it; -1 before the first. ``count(*)`` of ten million rows takes a second."""


async def state(engine: AsyncEngine, now: float) -> LedgerState:
    """One moment of it. Raises what SQLAlchemy raises when the database does not answer."""
    async with engine.connect() as connection:
        kind = connection.dialect.name
        revision = await connection.run_sync(revision_of)
        if revision is None and not await connection.run_sync(_there):
            return LedgerState(at=now, kind=kind, wrong=unfit(None))
        size, rows = await (_of_postgres(connection) if kind == "postgresql" else _of_sqlite(connection))
        read = (await connection.execute(select(positions).where(positions.c.stream == subjects.LEDGER))).first()
        gaps = (await connection.execute(select(missed).order_by(missed.c.at.desc()).limit(TOLD))).all()
        lost = (await connection.execute(select(func.sum(missed.c.last - missed.c.first + 1)))).scalar()
    return LedgerState(
        at=now,
        through=None if read is None else read.at,
        lag=None if read is None else max(0.0, now - read.at),
        kind=kind,
        revision=revision,
        wrong=unfit(revision),
        bytes=size,
        attempts=rows,
        position=0 if read is None else read.seq,
        missed=tuple(Missed(stream=one.stream, first=one.first, last=one.last, at=one.at) for one in gaps),
        missed_messages=int(lost or 0),
    )


def _there(connection: Connection) -> bool:
    return inspect(connection).has_table(attempts.name)


async def _of_postgres(connection: AsyncConnection) -> tuple[int | None, int | None]:
    size = (await connection.execute(text("SELECT pg_database_size(current_database())"))).scalar()
    rows = (await connection.execute(_GUESS)).scalar()
    return size, None if rows is None or rows < 0 else int(rows)


async def _of_sqlite(connection: AsyncConnection) -> tuple[int | None, int | None]:
    """Attempts are numbered one by one, and those that are no longer kept are the oldest. The ends are asked for apart:
    together they would be looked for in every row.
    """
    pages = (await connection.execute(text("PRAGMA page_count"))).scalar() or 0
    page = (await connection.execute(text("PRAGMA page_size"))).scalar() or 0
    first = (await connection.execute(select(func.min(attempts.c.id)))).scalar()
    last = (await connection.execute(select(func.max(attempts.c.id)))).scalar()
    return pages * page, 0 if first is None or last is None else last - first + 1
