"""The figures that alerts are decided from, read from the ledger's sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, func, select

from job_contracts.money import NEVER, Budget, Window, picodollars, window_end, window_start
from job_contracts.subjects import FOLLOW_UP_STEMS
from ledger.alerts import Drifted, HourSpend, Seen, Spending, Unpriced
from ledger.bookings import fitted
from ledger.periods import DAILY, HOURLY, MONTHLY
from ledger.tables import sources, spend, spend_tags, statements, tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from ledger.database import Database
    from runtime.settings import Config

HOUR, DAY = 3_600.0, 86_400.0
LATE = HOUR
"""Seconds that a window is looked at after its end: facts come late, and the last of it came after the look before."""
DAYS = 14
"""Days back that tell what is usual."""
_GRAINS: dict[Window, int] = {"hour": HOURLY, "day": DAILY, "week": DAILY, "month": MONTHLY, "total": MONTHLY}
"""The sums that make up a window in whole."""
_PART = 10**6
"""SQLite's sums end at 9.2 million dollars: amounts are summed in two parts."""


@dataclass(frozen=True, slots=True)
class Payer:
    """Somebody with a budget; of a tag ``name`` is ``name=value``."""

    kind: str
    name: str
    project: str | None
    budget: Budget
    label: str = ""
    """What people call it."""


def payers(config: Config) -> tuple[Payer, ...]:
    """All whose budget the configuration names."""
    found = [
        Payer("project", name, name, project.budget)
        for name, project in config.projects.items()
        if project.budget is not None
    ]
    found += [
        Payer("tag", tag, name, budget)
        for name, project in config.projects.items()
        for tag, budget in project.tags.items()
    ]
    found += [
        Payer("route", name, None, route.budget) for name, route in config.routes.items() if route.budget is not None
    ]
    found += [
        Payer("key", name, key.project, key.scope.budget)
        for name, key in config.gateway.keys.items()
        if key.scope.budget is not None
    ]
    return tuple(found)


class Watch:
    """Reads what one look needs. Methods raise what SQLAlchemy raises when the database does not answer."""

    def __init__(self, database: Database, config: Config, more: Callable[[], Iterable[Payer]] = tuple) -> None:
        """``more``: payers that come and go while it looks."""
        self._database = database
        self._payers = payers(config)
        self._more = more

    async def look(self, now: float) -> Seen:
        """The figures at ``now`` (UTC seconds)."""
        async with self._database.engine.connect() as connection:
            return Seen(
                spending=await self._spending(connection, now),
                hours=await _hours(connection, now),
                unpriced=await _unpriced(connection, now),
                drifted=await _drifted(connection),
            )

    async def _spending(self, connection: AsyncConnection, now: float) -> tuple[Spending, ...]:
        found = []
        sums: dict[tuple[str, Window, float], dict[str, int]] = {}
        for payer in (*self._payers, *self._more()):
            for window, amount in payer.budget.amounts():
                for start in sorted({window_start(window, now - LATE), window_start(window, now)}):
                    by_name = sums.get((payer.kind, window, start))
                    if by_name is None:
                        by_name = await _sums(connection, payer.kind, window, start)
                        sums[payer.kind, window, start] = by_name
                    spent = by_name.get(_name(payer), 0)
                    told = payer.kind, payer.name, payer.project, window, start
                    found.append(Spending(*told, picodollars(amount), payer.budget.soft, spent, payer.label))
        return tuple(found)


def _name(payer: Payer) -> str:
    """As ``_sums`` names it."""
    if payer.kind == "tag":
        name, _, value = payer.name.partition("=")
        return "\n".join((payer.project or "", fitted(name, 200), fitted(value, 200)))
    if payer.kind == "key":
        return f"{payer.project}\n{payer.name}"
    return fitted(payer.name, 200)


async def _sums(connection: AsyncConnection, kind: str, window: Window, start: float) -> dict[str, int]:
    """What every payer of a kind spent in a window, in picodollars."""
    names: tuple[ColumnElement[str], ...]
    if kind == "tag":
        table, names = spend_tags, (tags.c.project, tags.c.name, tags.c.value)
        joined = spend_tags.join(tags, tags.c.id == spend_tags.c.tag)
    else:
        table = spend
        names = (sources.c.project, sources.c.key) if kind == "key" else (sources.c[kind],)
        joined = spend.join(sources, sources.c.id == spend.c.source)
    query = (
        select(*names, func.sum(table.c.cost // _PART), func.sum(table.c.cost % _PART))
        .select_from(joined)
        .where(table.c.grain == _GRAINS[window], table.c.start >= int(start))
        .group_by(*names)
    )
    if kind != "tag":  # what follows jobs has a purse of its own, and no tags of its user's
        query = query.where(spend.c.reason.not_in(FOLLOW_UP_STEMS))
    end = window_end(window, start)
    if end != NEVER:
        query = query.where(table.c.start < int(end))
    rows = (await connection.execute(query)).all()
    return {"\n".join(row[:-2]): int(row[-2]) * _PART + int(row[-1]) for row in rows}


async def _hours(connection: AsyncConnection, now: float) -> tuple[HourSpend, ...]:
    """This hour and the one before, whose last facts may have come since."""
    starts = [window_start("hour", now) - HOUR, window_start("hour", now)]
    wanted = {start - day * DAY for start in starts for day in range(DAYS + 1)}
    query = select(spend.c.start, func.sum(spend.c.cost // _PART), func.sum(spend.c.cost % _PART))
    query = query.where(spend.c.grain == 1, spend.c.start.in_([int(one) for one in sorted(wanted)]))
    rows = (await connection.execute(query.group_by(spend.c.start))).all()
    cost = {float(start): int(high) * _PART + int(low) for start, high, low in rows}
    first = (await connection.execute(select(func.min(spend.c.start)).where(spend.c.grain == 1))).scalar()
    began = now if first is None else float(first)
    return tuple(
        HourSpend(
            start,
            cost.get(start, 0),
            tuple(cost.get(start - day * DAY, 0) for day in range(1, DAYS + 1) if start - day * DAY >= began),
        )
        for start in starts
    )


async def _unpriced(connection: AsyncConnection, now: float) -> tuple[Unpriced, ...]:
    days = sorted({int(window_start("day", now - LATE)), int(window_start("day", now))})
    query = (
        select(spend.c.start, sources.c.deployment, func.sum(spend.c.unpriced))
        .join(sources, sources.c.id == spend.c.source)
        .where(spend.c.grain == 24, spend.c.start.in_(days), spend.c.unpriced > 0)
        .group_by(spend.c.start, sources.c.deployment)
    )
    rows = (await connection.execute(query)).all()
    return tuple(Unpriced(float(day), deployment, int(count)) for day, deployment, count in rows)


async def _drifted(connection: AsyncConnection) -> tuple[Drifted, ...]:
    """Of each provider the newest statement, if it is over."""
    newest = select(func.max(statements.c.id)).group_by(statements.c.provider)
    query = select(statements).where(statements.c.id.in_(newest), statements.c.over)
    rows = (await connection.execute(query)).mappings()
    return tuple(
        Drifted(row["provider"], row["digest"], float(row["first_day"]), float(row["last_day"]), row["drift"])
        for row in rows
    )
