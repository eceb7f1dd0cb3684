"""What became of drafts: what verifiers said of answers, what both cost, and what the verifier alone would have cost.

Verdicts are counted by single attempts, which the ledger keeps for ``keep_days``; money by the sums of all reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Select, String, case, cast, func, null, select
from sqlalchemy.dialects.postgresql import JSON

from job_contracts.followups import OF_ROUTE
from job_contracts.money import dollars
from job_contracts.spend import AskDrafts, DraftReport, VerifiedRoute
from job_contracts.subjects import FOLLOW_UP_STEMS
from ledger.comparison import EVERYWHERE, Other, compared
from ledger.periods import segments, whole_hours
from ledger.reports import sums_of, total_of
from ledger.sums import Group, Question
from ledger.tables import attempts, sources

if TYPE_CHECKING:
    from ledger.reports import Reports
    from runtime.settings import Config
    from runtime.settings.following import Verify

READ = ("accept", "correct", "replace")
APPROXIMATED = (
    *EVERYWHERE,
    "verdicts are of attempts that are still kept, verification that failed is not in its cost",
)


@dataclass(slots=True)
class Verdicts:
    """Of one route."""

    counts: Counter[str] = field(default_factory=Counter)
    cost: int = 0
    """Picodollars."""


class Verifications:
    """Reports what verification of the configuration's routes came to."""

    def __init__(self, reports: Reports, config: Config, other: Callable[[str], Other]) -> None:
        """``other``: what is known of a deployment's prices."""
        self._reports = reports
        self._config = config
        self._other = other

    async def report(self, asked: AskDrafts, now: float) -> DraftReport:
        """Of every route that has ``verify``, or of the one that is asked for."""
        start, end = whole_hours(asked.since, asked.until)
        through = await self._reports.through()
        verdicts = _by_route(await self._reports.rows(lambda dialect: _statement(dialect, asked.project, start, end)))
        names = {} if asked.project is None else {"project": asked.project}
        question = Question(
            segments(asked.since, asked.until), by=("route", "deployment"), names=names, without=FOLLOW_UP_STEMS
        )
        spent = await self._reports.groups(question)
        at = min(now, asked.until or now)
        rows = tuple(
            self._row(name, route.verify, verdicts.get(name, Verdicts()), spent, at)
            for name, route in self._config.routes.items()
            if route.verify is not None and asked.route in {None, name}
        )
        return DraftReport(
            through=through,
            lag=None if through is None else max(0.0, now - through),
            since=float(start),
            until=None if end is None else float(end),
            rows=rows,
            approximated=APPROXIMATED,
        )

    def _row(self, name: str, verify: Verify, said: Verdicts, spent: Sequence[Group], at: float) -> VerifiedRoute:
        verifiers = self._config.routes[verify.by].deployments
        beside = verifiers if verify.mode == "before" else ()  # then they work on the very same jobs
        judges = () if verify.judge is None else self._config.routes[verify.judge].deployments
        of_route = [each for each in spent if each.keys["route"] == name and each.keys["deployment"] not in beside]
        own = [each for each in of_route if each.keys["deployment"] not in judges]
        drafts = total_of(own)
        checked = dollars(said.cost) + total_of([each for each in of_route if each not in own]).cost
        found = compared([sums_of(each) for each in own], [self._other(each) for each in verifiers], at)
        paid = drafts.cost + checked
        read = sum(said.counts[each] for each in READ)
        return VerifiedRoute(
            route=name,
            verifier=verify.by,
            mode=verify.mode,
            **{each: said.counts[each] for each in (*READ, "unread")},
            agreement=said.counts["accept"] / read if read else None,
            drafts=drafts,
            verification=checked,
            alone=tuple(
                each.model_copy(update={"difference": None if each.cost is None else each.cost - paid})
                for each in found
            ),
        )


def _statement(dialect: str, project: str | None, start: int, end: int | None) -> Select[Any]:
    """Verdicts by the route that verified, the route whose answers these were, and what was said.

    The tag is believed of what the leader submitted alone: any producer may write one.
    """
    if dialect == "sqlite":
        tag = func.json_extract(attempts.c.tags, f"$.{OF_ROUTE}")
    else:
        tag = func.json_extract_path_text(cast(attempts.c.tags, JSON), cast(OF_ROUTE, String))
    of = case((attempts.c.reason == "verify", tag), else_=null()).label("of")
    groups = (sources.c.route, of, attempts.c.verdict, attempts.c.won)
    told = select(
        *groups,
        func.count().label("attempts"),
        cast(func.coalesce(func.sum(attempts.c.cost), 0), BigInteger).label("cost"),
    ).join(sources, sources.c.id == attempts.c.source)
    told = told.where(attempts.c.verdict.is_not(None), attempts.c.at >= start)
    if end is not None:
        told = told.where(attempts.c.at < end)
    if project is not None:
        told = told.where(sources.c.project == project)
    return told.group_by(*groups)


def _by_route(rows: Sequence[Mapping[Any, Any]]) -> dict[str, Verdicts]:
    """What did not win was paid and decided nothing."""
    found: dict[str, Verdicts] = {}
    for row in rows:
        told = found.setdefault(row["of"] or row["route"], Verdicts())
        told.cost += row["cost"]
        if row["won"]:
            told.counts[row["verdict"]] += row["attempts"]
    return found
