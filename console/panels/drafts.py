"""What verifiers said of drafts, what both cost and saved; and what copies and verification in the background cost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from console.deployments import routes_of
from console.panels import Desks, Panel
from job_contracts.spend import MAX_ROWS, AskDrafts, AskSpend, Spend, VerifiedRoute

if TYPE_CHECKING:
    from console.people import Person
    from runtime.settings import Config

HOUR, DAY = 3_600, 86_400
PERIODS = (1, 7, 30, 90)
"""Days that are offered."""
USUAL, LONGEST = 7, 3_650
VERDICTS = ("accept", "correct", "replace", "unread")


@dataclass(frozen=True, slots=True)
class Aside:
    """What ran on one route beside what users asked for."""

    reason: str
    route: str
    attempts: int
    unpriced: int
    cost: Decimal
    of: tuple[str, ...]
    """The routes whose configuration sends it there now."""


async def _read(desks: Desks, person: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    days = _days(query.get("days", ""))
    since = (int(desks.clock.wall()) - days * DAY) // HOUR * HOUR
    same = AskSpend(project=person.project, since=since, by=("route",), limit=MAX_ROWS)
    report, copied, verified = await asyncio.gather(
        desks.ledger.drafts(AskDrafts(project=person.project, since=since)),
        desks.ledger.spend(same.model_copy(update={"reason": "shadow"})),
        desks.ledger.spend(same.model_copy(update={"reason": "verify"})),
    )
    reached = routes_of(desks.config, person)
    return {
        "report": report,
        "rows": [row for row in report.rows if row.route in reached],
        "asides": [
            *_asides("shadow", copied, _copied(desks.config)),
            *_asides("verify", verified, _verified(desks.config)),
        ],
        "totals": {"shadow": copied.total, "verify": verified.total},
        "days": days,
        "periods": PERIODS,
        "since": since,
        "verdicts": VERDICTS,
        "said": said,
        "everything": person.project is None,
    }


def _days(text: str) -> int:
    return min(int(text), LONGEST) if text.isdecimal() and 0 < len(text) < 6 and int(text) else USUAL


def said(row: VerifiedRoute) -> int:
    """Verdicts, those among them that could not be read."""
    return row.accept + row.correct + row.replace + row.unread


def _asides(reason: str, spent: Spend, sent: Mapping[str, list[str]]) -> Iterator[Aside]:
    for row in spent.rows:
        route = row.route or ""
        yield Aside(reason, route, row.attempts, row.unpriced, row.cost, tuple(sent.get(route, ())))


def _copied(config: Config) -> dict[str, list[str]]:
    """Which routes send copies to which."""
    found: dict[str, list[str]] = {}
    for name, route in config.routes.items():
        if route.shadow is not None:
            found.setdefault(route.shadow.to, []).append(name)
    return found


def _verified(config: Config) -> dict[str, list[str]]:
    """For which routes a route verifies in the background, and for which experiments it scores answers."""
    found: dict[str, list[str]] = {}
    for name, route in config.routes.items():
        if route.verify is not None and route.verify.mode == "after":
            found.setdefault(route.verify.by, []).append(name)
    for name, experiment in config.experiments.items():
        if experiment.judge is not None:
            found.setdefault(experiment.judge.route, []).append(f"the experiment {name}")
    return found


DRAFTS = Panel("drafts", "Drafts and shadows", "f", _read, group="Models", every=30.0, seen_by="all")
