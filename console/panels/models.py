"""Every model that routes name: what is known of it, what it costs and by whose word, how it does, until when."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from console.asking import Declined, soon
from console.deployments import KINDS, SOON, deployments, routes_of
from console.panels import Desks, Panel
from job_contracts.spend import MAX_ROWS, AskSpend, SpendRow

if TYPE_CHECKING:
    from console.people import Person
    from job_contracts.operating import Overview, ToldDeployment

HOUR = 3_600
HOURS = 24
"""Of the sparklines; the last one is the hour that has begun."""
PAGES = 50
"""Of the ledger's answer at most: more deployments than any configuration has."""
HEIGHT = 20.0
"""Of a sparkline, in units of its drawing."""


@dataclass(frozen=True, slots=True)
class Hour:
    """What the attempts of one hour came to."""

    start: int
    attempts: int = 0
    lost: int = 0
    """Those that did not win: their result did not become their job's."""


@dataclass(frozen=True, slots=True)
class Health:
    """Hours in their order."""

    hours: tuple[Hour, ...]

    @property
    def attempts(self) -> int:
        """In all."""
        return sum(hour.attempts for hour in self.hours)

    @property
    def lost(self) -> int:
        """In all."""
        return sum(hour.lost for hour in self.hours)

    @property
    def most(self) -> int:
        """Attempts of the fullest hour."""
        return max(hour.attempts for hour in self.hours)

    def drawn(self) -> list[tuple[int, float, float]]:
        """Of each hour its place, how high its bar is, and how much of that did not win; what is there is seen."""
        scale = HEIGHT / max(1, self.most)
        return [
            (
                place,
                max(1.0, round(hour.attempts * scale, 2)) if hour.attempts else 0.0,
                max(1.0, round(hour.lost * scale, 2)) if hour.lost else 0.0,
            )
            for place, hour in enumerate(self.hours)
        ]


async def _read(desks: Desks, person: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    wall = desks.clock.wall()
    known = deployments(desks.config, desks.catalogue, routes_of(desks.config, person), wall)
    on = query.get("on", "")
    if on and on not in known:
        raise Declined(f"no route that you may see names {on!r:.100}")
    since = int(wall) // HOUR * HOUR - (HOURS - 1) * HOUR
    everything = person.project is None
    health, now = await asyncio.gather(
        soon(_health(desks, person.project, since), None),
        soon(desks.asking.overview(), None) if everything else _nothing(),
    )
    quiet = tuple(Hour(since + number * HOUR) for number in range(HOURS))
    found = health[0] or {}
    return {
        "known": known,
        "one": known.get(on),
        "everything": everything,
        "soon": SOON,
        "kinds": KINDS,
        "library": _library(),
        "begins": [hour.start for hour in quiet],
        "health": None if health[0] is None else {name: Health(found.get(name, quiet)) for name in known},
        "now": None if now[0] is None else _now(now[0]),
        "silent": [why for why in (health[1], now[1]) if why],
    }


@cache
def _library() -> str:
    """The version of the price library that is installed: read from its files, which do not change meanwhile."""
    return version("genai-prices")


async def _nothing() -> tuple[Overview | None, str]:
    return None, ""


def _now(overview: Overview) -> dict[str, tuple[str, ToldDeployment]]:
    """By name: the state of its pool, and what the leader has of it."""
    return {one.name: (pool.state, one) for pool in overview.pools for one in pool.deployments}


async def _health(desks: Desks, project: str | None, since: int) -> dict[str, tuple[Hour, ...]]:
    """The hours of every deployment that had an attempt in one of them, by one question."""
    asked = AskSpend(project=project, since=since, by=("deployment", "hour"), limit=MAX_ROWS)
    rows: list[SpendRow] = []
    for _ in range(PAGES):
        told = await desks.ledger.spend(asked)
        rows += told.rows
        if told.after is None:
            break
        asked = asked.model_copy(update={"after": told.after})
    hours: dict[str, dict[int, Hour]] = {}
    for row in rows:
        if row.deployment is not None and row.hour is not None:
            hours.setdefault(row.deployment, {})[row.hour] = Hour(row.hour, row.attempts, row.attempts - row.won)
    starts = [since + number * HOUR for number in range(HOURS)]
    return {name: tuple(those.get(start, Hour(start)) for start in starts) for name, those in hours.items()}


MODELS = Panel("models", "Models", "m", _read, group="Models", every=10.0, seen_by="all")
