"""What goes when: single attempts after their time, and all of a project that is to be forgotten.

Both go in steps of a bounded size, each a transaction of its own, so nobody waits long for a lock. Sums stay for ever.
Of a forgotten project they stay without its name, key, route and tags: what a provider charged does not become less.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from sqlite3 import OperationalError
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Select, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from ledger.bookings import fitted
from ledger.deltas import MEASURES
from ledger.periods import GRAINS, HOURLY, begun
from ledger.tables import alerts, attempts, entries, forgotten, positions, sources, spend, spend_tags, tags
from runtime.service import Duty
from runtime.telemetry import INFO, WARNING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from ledger.bookings import Booking
    from ledger.database import Database
    from runtime.clock import Clock
    from runtime.telemetry import Telemetry

STEP = 500
"""Rows in one transaction at most."""
DAY = 86_400.0
LEAST_DAYS = 31
"""LEDGER can tell for 30 days of an attempt; until then it must be known, or it would be counted again."""
EVERY = 60.0
"""Seconds between two looks whether something is old enough."""
BREATH = 0.05
"""Seconds between two steps: others may write."""
SCRUBS = 5
"""Times that a file is tried to be written anew."""
NOBODY = ""
"""Stands where a forgotten project's name, key and route stood."""


@dataclass(frozen=True, slots=True)
class Gone:
    """How many rows went; ``sums`` became nobody's."""

    attempts: int = 0
    entries: int = 0
    sums: int = 0


class Retention(Duty):
    """Removes attempts and alerts that are older than ``keep_days``."""

    def __init__(self, database: Database, clock: Clock, telemetry: Telemetry, *, keep_days: int) -> None:
        super().__init__("retention", telemetry)
        self._database = database
        self._clock = clock
        self._keep = max(keep_days, LEAST_DAYS) * DAY

    async def run(self) -> None:
        """Until it is to stop."""
        wait = BREATH
        while await self.pause(wait):
            try:
                gone = await self.step()
            except (OSError, SQLAlchemyError) as error:
                self.telemetry.emit("retention.failed", WARNING, error=type(error).__name__)
                wait = EVERY
            else:
                wait = BREATH if gone.attempts >= STEP else EVERY

    async def step(self) -> Gone:
        """Remove the oldest ones, ``STEP`` at most."""
        before = self._clock.wall() - self._keep
        gone = await _remove(
            self._database, select(attempts.c.id).where(attempts.c.at < before).order_by(attempts.c.at)
        )
        async with self._database.writing() as connection:
            await connection.execute(delete(alerts).where(alerts.c.at < before, alerts.c.due.is_(None)))
        if gone.attempts:
            self.telemetry.emit("retention.removed", INFO, attempts=gone.attempts, entries=gone.entries)
        return gone


async def forget(database: Database, project: str, now: float) -> Gone:
    """Remove what there is of a project; done again, it finds nothing more. What it was told until ``now`` does not
    come back, from whatever place LEDGER is read again; what the project does afterwards counts as ever.
    """
    project = fitted(project, 64)
    async with database.writing() as connection:
        await connection.execute(insert(forgotten).values(project=project, at=now, what="begun"))
    own = select(sources.c.id).where(sources.c.project == project)
    removed = kept = booked = 0
    while True:
        query = select(attempts.c.id).where(attempts.c.source.in_(own), attempts.c.at <= now)
        gone = await _remove(database, query)
        removed, booked = removed + gone.attempts, booked + gone.entries
        if gone.attempts < STEP:
            break
    async with database.engine.connect() as connection:
        found = [
            dict(row)
            for row in (await connection.execute(select(sources).where(sources.c.project == project))).mappings()
        ]
    for source in found:
        if (source["project"], source["key"], source["route"]) == (NOBODY, NOBODY, NOBODY):
            continue
        while moved := await _unname(database, source, now):
            kept += moved
    gone = Gone(removed, booked, kept)
    await _remove_names(database, project, now, gone)
    return gone


async def scrub(database: Database) -> bool:
    """Whether no disk page holds any more what was deleted. Nobody else can write meanwhile; the ledger waits.

    SQLite leaves it in its file until the place is needed, and in the log beside it: both are written anew. How soon
    Postgres overwrites it is its own affair.
    """
    if database.kind != "sqlite":
        return True
    for _ in range(SCRUBS):
        try:
            async with database.engine.connect() as connection:
                # On the driver's own connection: SQLAlchemy would begin a transaction, and in one it cannot be done.
                plain: Any = (await connection.get_raw_connection()).driver_connection
                await plain.execute("VACUUM")
                busy, *_ = await (await plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")).fetchone()
        except OperationalError:
            busy = 1
        if not busy:
            return True
        await asyncio.sleep(1.0)
    return False


async def unforgotten(connection: AsyncConnection, told: Sequence[Booking]) -> tuple[Sequence[Booking], int]:
    """Those that do not tell of a project's time before it was forgotten, and a number that grows with each forgetting.

    To be asked in the transaction that stores them, once it has moved the position.
    """
    query = select(forgotten.c.project, func.max(forgotten.c.at), func.max(forgotten.c.id))
    rows = (await connection.execute(query.group_by(forgotten.c.project))).all()
    until = {project: at for project, at, _ in rows}
    kept = [one for one in told if one.at > until.get(one.source.project, -1.0)] if until else told
    return kept, max((number for _, _, number in rows), default=0)


async def _remove(database: Database, query: Select[Any]) -> Gone:
    async with database.writing() as connection:
        numbers = list((await connection.execute(query.limit(STEP))).scalars())
        if not numbers:
            return Gone()
        booked = await connection.execute(delete(entries).where(entries.c.attempt.in_(numbers)))
        await connection.execute(delete(attempts).where(attempts.c.id.in_(numbers)))
    return Gone(len(numbers), booked.rowcount)


async def _unname(database: Database, source: dict[str, Any], now: float) -> int:
    """Move some of a source's hours to one of the same deployment that is nobody's; how many there were.

    An hour that has not ended at ``now`` may hold what comes later: it moves with the rest. Days and months lose what
    their hours lose, so they stay the sums of them, and go when nothing is left.
    """
    nameless = {**source, "project": NOBODY, "key": NOBODY, "route": NOBODY}
    del nameless["id"]
    dialect = postgresql if database.kind == "postgresql" else sqlite
    async with database.writing() as connection:
        hours = select(spend).where(spend.c.source == source["id"], spend.c.grain == HOURLY, spend.c.start <= now)
        rows = [dict(row) for row in (await connection.execute(hours.limit(STEP))).mappings()]
        if not rows:
            return 0
        await connection.execute(dialect.insert(sources).values(nameless).on_conflict_do_nothing())
        names = [sources.c[name] == value for name, value in nameless.items()]
        number = (await connection.execute(select(sources.c.id).where(*names))).scalar_one()
        keys = ("grain", "start", "source", "reason")
        adding = dialect.insert(spend)
        sums = {name: spend.c[name] + adding.excluded[name] for name in MEASURES}
        adding = adding.on_conflict_do_update(index_elements=keys, set_=sums)
        coarse = _coarser(rows, keys)
        await connection.execute(adding, [{**row, "source": number} for row in rows + coarse])
        await _take(connection, spend, keys, rows + coarse)
    return len(rows)


def _coarser(hours: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """What these hours are in the sums of their days and months."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for hour in hours:
        for grain in GRAINS[1:]:
            row = {**hour, "grain": grain, "start": begun(grain, hour["start"])}
            key = tuple(row[name] for name in keys)
            sums = found.setdefault(key, row)
            if sums is not row:
                sums |= {name: sums[name] + hour[name] for name in MEASURES}
    return list(found.values())


async def _take(
    connection: AsyncConnection, table: Table, keys: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Take sums away from those that are stored; none is left of which nothing remains."""
    same = [table.c[name] == bindparam(f"of_{name}") for name in keys]
    less = {name: table.c[name] - bindparam(f"less_{name}", type_=BigInteger()) for name in MEASURES}
    keyed = [{f"of_{name}": row[name] for name in keys} for row in rows]
    taken = [{f"less_{name}": row[name] for name in MEASURES} for row in rows]
    both = [key | sums for key, sums in zip(keyed, taken, strict=True)]
    await connection.execute(update(table).where(*same).values(less), both)
    await connection.execute(delete(table).where(*same, *(table.c[name] == 0 for name in MEASURES)), keyed)


async def _remove_names(database: Database, project: str, now: float, gone: Gone) -> None:
    """Tags with their sums, and what was told about the project; sources that nothing refers to any more.

    A ledger that runs knows the ids of sources and tags. So the last of it is one transaction, with the word that it
    is done, and no batch is stored meanwhile: whoever stores one moves the position first.
    """
    own = select(tags.c.id).where(tags.c.project == project)
    keys = ("grain", "start", "tag", "source")
    hours = select(spend_tags).where(spend_tags.c.grain == HOURLY, spend_tags.c.tag.in_(own), spend_tags.c.start <= now)
    while True:
        async with database.writing() as connection:
            rows = [dict(row) for row in (await connection.execute(hours.limit(STEP))).mappings()]
            if rows:
                await _take(connection, spend_tags, keys, rows + _coarser(rows, keys))
        if len(rows) < STEP:
            break
    async with database.writing() as connection:
        await connection.execute(update(positions).values(seq=positions.c.seq))
        await connection.execute(delete(alerts).where(alerts.c.project == project))
        used = select(spend_tags.c.tag)
        await connection.execute(delete(tags).where(tags.c.project == project, tags.c.id.not_in(used)))
        unused = [sources.c.id.not_in(select(table.c.source)) for table in (attempts, spend, spend_tags)]
        await connection.execute(delete(sources).where(sources.c.project == project, *unused))
        done = insert(forgotten).values(project=project, at=now, what="done")
        await connection.execute(done.values(attempts=gone.attempts, entries=gone.entries, sums=gone.sums))
