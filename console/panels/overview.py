"""The wallboard: pools, limits and lanes as the leader has them now, what today costs, and what was done last."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from console.asking import soon
from console.panels import Desks, Panel
from job_contracts.money import window_start
from job_contracts.operating import AskAudit
from job_contracts.spend import AskSpend, SpendRow

if TYPE_CHECKING:
    from console.people import Person
    from job_contracts.operating import AuditLine

SOON = 1.0
"""Seconds that the ledger and the audit may take: the leader's numbers do not wait for them any longer."""
LAST = 5
"""Lines of the audit."""
HOUR = 3_600.0


@dataclass(frozen=True, slots=True)
class Spent:
    """US dollars by the ledger, and since when (UTC seconds)."""

    day: float
    today: Decimal
    hour: float
    this_hour: Decimal
    before: Decimal
    """In the hour before this one."""
    rate: Decimal
    """A minute, over this hour and the one before."""
    attempts: int
    """That ended in this hour."""
    lost: int
    """Those of them that did not win."""
    lag: float | None


async def _read(desks: Desks, _: Person, __: Mapping[str, str]) -> Mapping[str, Any]:
    now, spent, done = await asyncio.gather(desks.asking.overview(), _spent(desks), _done(desks))
    return {"now": now, "queued": sum(lane.queued for lane in now.lanes), "spent": spent, "done": done}


async def _spent(desks: Desks) -> Spent | None:
    """``None`` if the ledger does not say."""
    now = desks.clock.wall()
    day, hour = window_start("day", now), window_start("hour", now)
    asked = AskSpend(by=("hour",), since=min(day, hour - HOUR), limit=100)
    found, _ = await soon(desks.ledger.spend(asked), SOON)
    if found is None:
        return None
    costs = {float(row.hour or 0): row.cost for row in found.rows}
    ended = next((row for row in found.rows if float(row.hour or 0) == hour), SpendRow())
    this_hour, before = costs.get(hour, Decimal(0)), costs.get(hour - HOUR, Decimal(0))
    minutes = Decimal((now - hour + HOUR) / 60)
    return Spent(
        day=day,
        today=sum((cost for at, cost in costs.items() if at >= day), Decimal(0)),
        hour=hour,
        this_hour=this_hour,
        before=before,
        rate=((this_hour + before) / minutes).quantize(Decimal("0.000001")),
        attempts=ended.attempts,
        lost=ended.attempts - ended.won,
        lag=found.lag,
    )


async def _done(desks: Desks) -> tuple[AuditLine, ...] | None:
    """The newest of the audit; ``None`` if nobody says."""
    found, _ = await soon(desks.asking.audit(AskAudit(limit=LAST)), SOON)
    return None if found is None else found.lines


OVERVIEW = Panel("overview", "Overview", "o", _read)
