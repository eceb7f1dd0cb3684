"""Gathers what a forecast needs from the database, and makes one for every configured budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from job_contracts.money import Budget, Window, dollars, picodollars, window_end, window_start
from job_contracts.spend import AskForecast, Dimension, Forecast, Projection
from job_contracts.subjects import FOLLOW_UP_STEMS
from ledger.forecast import DAYS, METHOD, Pace
from ledger.periods import DAY, HOUR, HOURLY, segments
from ledger.sums import Question

if TYPE_CHECKING:
    from ledger.reports import Reports
    from runtime.settings import Config

Payer = Literal["all", "project", "route", "key", "tag"]
_Shared: TypeAlias = "tuple[Dimension, str | None, str | None, bool]"
"""By what accounts are told apart; the name of the tag; the one project they are in, if there is one; whether what
follows jobs counts."""
_ALL: tuple[Window, ...] = ("day", "month")
"""Windows in which all spend is told."""


@dataclass(frozen=True, slots=True)
class _Account:
    """A payer: what it is called, and how its sums are found."""

    payer: Payer
    name: str
    project: str | None = None

    @property
    def group(self) -> _Shared:
        """Whose sums come from one statement: those of a tag's name in a project, else all of one kind. All spend is
        that of all projects, and what followed their jobs.
        """
        if self.payer == "tag":
            return self.payer, self.name.partition("=")[0], self.project, True
        return "project" if self.payer == "all" else self.payer, None, None, False

    @property
    def value(self) -> str:
        """Its name among its group's."""
        return self.name.partition("=")[2] if self.payer == "tag" else self.name


def accounts(config: Config, project: str | None) -> dict[_Account, Budget | None]:
    """Everybody who has a budget, and all spend; of one project alone, what is that project's."""
    found: dict[_Account, Budget | None] = {_Account("all", project or "", project): None}
    for name, rules in config.projects.items():
        if project not in (None, name):
            continue
        if rules.budget is not None:
            found[_Account("project", name, name)] = rules.budget
        found |= {_Account("tag", tag, name): budget for tag, budget in rules.tags.items()}
    if project is None:
        found |= {
            _Account("route", name): route.budget for name, route in config.routes.items() if route.budget is not None
        }
    for key_id, key in config.gateway.keys.items():
        if key.scope.budget is not None and project in (None, key.project):
            found[_Account("key", key_id, key.project)] = key.scope.budget
    return found


class Forecaster:
    """Makes forecasts of the configuration's budgets. Keys made while it runs keep their budgets with themselves."""

    def __init__(self, reports: Reports, config: Config) -> None:
        self._reports = reports
        self._config = config

    async def forecast(self, asked: AskForecast, now: float) -> Forecast:
        """Of every configured budget, and of all spend."""
        known = accounts(self._config, asked.project)
        names = {} if asked.project is None else {"project": asked.project}
        through = await self._reports.through()
        windows = {one: tuple(w for w, _ in budget.amounts()) if budget else _ALL for one, budget in known.items()}
        paces, spent = await self._read(windows, names, now)
        rows: list[Projection] = []
        for account, budget in known.items():
            amounts = dict(budget.amounts()) if budget is not None else {}
            for window in windows[account]:
                end = None if window == "total" else window_end(window, now)
                amount = None if window not in amounts else picodollars(amounts[window])
                so_far = spent[account, window]
                found = paces[account].projected(so_far, end, amount)
                rows.append(
                    Projection(
                        payer=account.payer,
                        name=account.name,
                        project=account.project,
                        window=window,
                        start=window_start(window, now),
                        end=end,
                        budget=amounts.get(window),
                        soft=budget is not None and budget.soft,
                        spent=dollars(so_far),
                        rate=dollars(paces[account].recent),
                        projected=None if found.at_end is None else dollars(found.at_end),
                        exhausted=found.exhausted,
                    )
                )
        lag = None if through is None else max(0.0, now - through)
        return Forecast(through=through, lag=lag, at=now, rows=tuple(rows), method=METHOD)

    async def _read(
        self, windows: Mapping[_Account, tuple[Window, ...]], names: Mapping[str, str], now: float
    ) -> tuple[dict[_Account, Pace], dict[tuple[_Account, Window], int]]:
        """How fast each spends, and what it has spent in its windows."""
        since = int(now // HOUR) * HOUR - DAYS * DAY
        by_hour = Question(segments(since, None, coarsest=HOURLY), by=("hour",), names=names)
        hours = [(members, _question(group, by_hour)) for group, members in _grouped(list(windows)).items()]
        followed = replace(by_hour, within=FOLLOW_UP_STEMS)
        sums: list[tuple[Window, list[_Account], Question]] = []
        beside: dict[Window, Question] = {}
        for window in sorted({window for told in windows.values() for window in told}):
            base = Question(segments(window_start(window, now), None), names=names)
            asked = _grouped([one for one, told in windows.items() if window in told])
            sums += [(window, members, _question(group, base)) for group, members in asked.items()]
            beside[window] = replace(base, within=FOLLOW_UP_STEMS)
        questions = [followed, *(one for _, one in hours), *beside.values(), *(one for _, _, one in sums)]
        answers = iter(await self._reports.costs(questions))
        follow_ups: dict[int, int] = dict(next(answers))
        paces: dict[_Account, Pace] = {}
        for members, _ in hours:
            for one, found in _by_hour(members, next(answers), follow_ups):
                paces[one] = Pace(found, now)
        more = {window: sum(cost for (cost,) in next(answers)) for window in beside}
        spent: dict[tuple[_Account, Window], int] = {}
        for window, members, _ in sums:
            by_name: dict[str, int] = dict(next(answers))
            for one in members:
                whole = sum(by_name.values()) + more[window]
                spent[one, window] = whole if one.payer == "all" else by_name.get(one.value, 0)
        return paces, spent


def _by_hour(
    members: list[_Account], rows: list[tuple[Any, ...]], follow_ups: Mapping[int, int]
) -> Iterator[tuple[_Account, dict[int, int]]]:
    """Each account's amount by the hour; of all spend with what followed jobs."""
    by_name: defaultdict[str, dict[int, int]] = defaultdict(dict)
    everything: defaultdict[int, int] = defaultdict(int, follow_ups)
    for name, hour, cost in rows:
        by_name[name][hour] = cost
        everything[hour] += cost
    for one in members:
        yield one, everything if one.payer == "all" else by_name[one.value]


def _grouped(known: list[_Account]) -> dict[_Shared, list[_Account]]:
    found: defaultdict[_Shared, list[_Account]] = defaultdict(list)
    for one in known:
        found[one.group].append(one)
    return found


def _question(group: _Shared, base: Question) -> Question:
    """The question whose groups are the members of ``group``."""
    payer, tag, project, everything = group
    names = base.names if project is None else {"project": project}
    without = () if everything else FOLLOW_UP_STEMS
    return replace(base, by=(payer, *base.by), names=names, tag=tag, only="tagged", without=without)
