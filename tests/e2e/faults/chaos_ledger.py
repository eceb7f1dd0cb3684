"""Reads at the end of a run what the ledger's database says was spent, once it has read all that LEDGER tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from sqlalchemy import Select, func, select
from sqlalchemy.exc import SQLAlchemyError

from job_contracts import subjects
from ledger.database import Database
from ledger.periods import DAILY, HOURLY, MONTHLY
from ledger.tables import attempts, entries, positions, sources, spend
from runtime.bus.port import BusError
from tests.e2e.faults.events import Booked, Event, Said, Summed
from tests.e2e.faults.fleet import Fleet

WITHIN = 60.0
"""Seconds in which it must have caught up."""
COUNTS = ("input", "cache_read", "cache_write", "output", "reasoning")
GRAINS: dict[int, Literal["hours", "days", "months"]] = {HOURLY: "hours", DAILY: "days", MONTHLY: "months"}


async def ask_ledger(made: Fleet, tell: Callable[[Event], None]) -> None:
    """Tell all of it; if it does not come to LEDGER's end, as far as it came, and that it did not."""
    database = Database(made.config.ledger.database.get_secret_value(), made.folder, pooled=False)
    try:
        until, read, last, found = time.monotonic() + WITHIN, -1, 0, list[Event]()
        while read != last and time.monotonic() < until:
            try:
                last = (await made.bus.stream_state(subjects.LEDGER)).last_seq
                read, found = await _all(database)
            except (BusError, SQLAlchemyError):
                read = -1
            await asyncio.sleep(0.25)
        if read != last:
            words = {"read": str(read), "last": str(last)}
            tell(Said(at=time.time(), process="chaos", event="ledger.behind", fields=words))
        for event in found:
            tell(event)
    finally:
        await database.close()


async def _all(database: Database) -> tuple[int, list[Event]]:
    """What one moment's tables say, and the place in LEDGER they belong to."""
    now = time.time()
    read_to = select(positions.c.seq).where(positions.c.stream == subjects.LEDGER)
    async with database.engine.connect() as connection:
        read = (await connection.execute(read_to)).scalar_one_or_none() or 0
        columns = [attempts.c[name] for name in ("attempt", *COUNTS, "cost")]
        rows = (await connection.execute(select(*columns))).mappings().all()
        query: Select[Any] = select(spend.c.grain, sources.c.provider, func.sum(spend.c.attempts))
        query = query.add_columns(func.sum(spend.c.input + spend.c.output), func.sum(spend.c.cost))
        query = query.join(sources, sources.c.id == spend.c.source).group_by(spend.c.grain, sources.c.provider)
        sums = (await connection.execute(query)).all()
        booked = (await connection.execute(select(entries.c.debit, entries.c.credit, entries.c.amount))).all()
    found: list[Event] = [Booked(at=now, **row) for row in rows]
    found += [
        Summed(at=now, of=GRAINS[grain], provider=provider, attempts=count, tokens=tokens, cost=cost)
        for grain, provider, count, tokens, cost in sums
    ]
    return read, [*found, *_owed(now, booked)]


def _owed(now: float, booked: Iterable[Any]) -> Iterator[Summed]:
    owed: dict[str, int] = {}
    for debit, credit, amount in booked:
        for account, sign in ((credit, 1), (debit, -1)):
            kind, _, name = account.partition(":")
            if kind == "provider":
                owed[name] = owed.get(name, 0) + sign * amount
    for provider, cost in owed.items():
        yield Summed(at=now, of="entries", provider=provider, cost=cost)
