"""What was spent, by whom and on what; where budgets will be; what the same traffic would have cost elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from console.asking import Declined
from console.charts import Series, columns
from console.filters import NAMES, PERIODS, UNITS, address, asked, at, period, tagged, wanted
from console.pages import money
from console.panels import Desks, Panel, Sheet
from console.spending import BY, OTHERS, Question, Told, beginnings, groups, over_time, told
from job_contracts.sheets import sheet
from job_contracts.spend import AskComparison, AskForecast, Comparison, Sums

if TYPE_CHECKING:
    from console.charts import Columns
    from console.people import Person

LISTED = 50
"""Rows of the table; the file has all."""
SUMS = tuple(Sums.model_fields)
_SAID = (*NAMES, "tag", "by", "unit", "since", "until", "show")


async def _read(desks: Desks, person: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    said = {name: query[name] for name in _SAID if query.get(name, "").strip()}
    values: dict[str, Any] = {
        "query": said,
        "own": person.project,
        "by": BY,
        "units": UNITS,
        "wrong": "",
        "found": None,
    }
    kept = {name: value for name, value in said.items() if name not in {"since", "until", "unit"}}
    values["periods"] = [(name, words, address("/spend", kept, period=name)) for name, words in PERIODS.items()]
    try:
        question = _question(desks, person, query)
        values["period"] = question.period
        budgets = AskForecast(project=question.filters.get("project"))
        found, forecast, comparison = await asyncio.gather(
            told(desks.ledger, question),
            desks.ledger.forecast(budgets),
            _compared(desks, question) if query.get("show") == "comparison" else _nothing(),
        )
    except Declined as error:  # the fields are what it takes to mend it
        return {**values, "period": None, "wrong": str(error)}
    shown = _shown(question, found, desks.clock.wall())
    return {**values, "found": {**shown, "forecast": forecast, "comparison": comparison}}


def _question(desks: Desks, person: Person, query: Mapping[str, str]) -> Question:
    by = next((one for one in BY if one == query.get("by")), BY[1])
    found = Question(period(query, desks.clock.wall(), "30d"), by, wanted(query, person), tagged(query))
    if by == "tag" and not found.tag:
        raise Declined("by tag: write the tag's name as well")
    if by != "tag" and found.tag and "tag_value" not in found.tag:
        raise Declined("tag: write name=value, or choose by tag")
    return found


async def _nothing() -> Comparison | None:
    return None


async def _compared(desks: Desks, question: Question) -> Comparison:
    same = {"since": question.period.since, "until": question.period.until, **asked(question.filters)}
    return await desks.ledger.compare(AskComparison.model_validate(same))


def _shown(question: Question, found: Told, now: float) -> dict[str, Any]:
    lines = over_time(found, beginnings(question.period, found, now), question.period.unit)
    tag = {"tag": "=".join(question.tag.values())} if question.tag else {}
    behind_all = tag if "tag_value" in question.tag else {}  # sums by a tag have those without it as well
    same, ends = {**question.filters, **tag}, {"since": at(found.answer.since), "until": at(found.answer.until)}

    def behind(own: Mapping[str, str] | None = None, **more: str) -> str:
        return address("/attempts", question.filters, behind_all, ends, own or {}, more)

    def narrower(own: Mapping[str, str]) -> str:
        return address("/spend", same, ends, own, unit=question.period.unit)

    return {
        "answer": found.answer,
        "rows": found.rows[:LISTED],
        "more": max(0, len(found.rows) - LISTED),
        "cut": found.cut,
        "by": question.by,
        "unit": question.period.unit,
        "lines": lines,
        "names": [one.name for one in found.series],
        "others": any(line["others"] for line in lines),
        "chart": _chart(found, lines),
        "behind": behind,
        "narrower": narrower,
        "sheet": address("/spend/spend.csv", same, ends, by=question.by),
        "compared": address("/spend", same, ends, by=question.by, unit=question.period.unit, show="comparison"),
        "tagged": bool(question.tag),
    }


def _chart(found: Told, lines: list[dict[str, Any]]) -> Columns:
    series = [Series(one.name, [line["costs"][number] for line in lines]) for number, one in enumerate(found.series)]
    others = Series(OTHERS, [line["others"] for line in lines])
    return columns([line["label"] for line in lines], [*series, *([others] if others.total else [])], money)


async def _sheet(desks: Desks, person: Person, query: Mapping[str, str]) -> Sheet:
    question = _question(desks, person, query)
    rows, _ = await groups(desks.ledger, question)
    lines = ([row.value, *(getattr(row.sums, name) for name in SUMS)] for row in rows)
    return Sheet("spend.csv", "text/csv; charset=utf-8", sheet([question.by, *SUMS], lines).encode("utf-8", "replace"))


SPEND = Panel(
    "spend",
    "Spend",
    "s",
    _read,
    group="Money",
    every=5.0,
    seen_by="all",
    sheets=MappingProxyType({"spend.csv": _sheet}),
)
