"""What was spent, by whom and on what; where budgets will be; what the same traffic would have cost elsewhere."""

from __future__ import annotations

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
from job_contracts.spend import AskComparison, AskForecast, Sums

if TYPE_CHECKING:
    from console.charts import Columns
    from console.people import Person

SHOWN = {"sums": "Sums", "budgets": "Budgets", "comparison": "At other prices"}
"""The parts of the page by what the address says, each made only when it is asked for: a forecast reads two weeks of
every payer hour by hour, and nobody looks at all of it at once."""
LISTED = 50
"""Rows of the table; the file has all."""
SUMS = tuple(Sums.model_fields)
_SAID = (*NAMES, "tag", "by", "unit", "since", "until", "show")


async def _read(desks: Desks, person: Person, query: Mapping[str, str]) -> Mapping[str, Any]:
    said = {name: query[name].strip() for name in _SAID if query.get(name, "").strip()}
    show = said.get("show") if said.get("show") in SHOWN else "sums"
    kept = {name: value for name, value in said.items() if name not in {"since", "until", "unit"}}
    values: dict[str, Any] = {
        "query": {"by": "model", **said},
        "own": person.project,
        "by": BY,
        "units": UNITS,
        "show": show,
        "parts": [(one, words, address("/spend", query, show=one)) for one, words in SHOWN.items()],
        "periods": [(name, words, address("/spend", kept, period=name)) for name, words in PERIODS.items()],
        "period": None,
        "wrong": "",
        "found": None,
    }
    try:
        question = _question(desks, person, query)
        values["period"] = question.period
        return {**values, "found": await _PARTS[show or "sums"](desks, question)}
    except Declined as error:  # the fields are what it takes to mend it
        return {**values, "wrong": str(error)}


def _question(desks: Desks, person: Person, query: Mapping[str, str]) -> Question:
    by = next((one for one in BY if one == query.get("by")), BY[1])
    found = Question(period(query, desks.clock.wall(), "30d"), by, wanted(query, person), tagged(query))
    if by == "tag" and not found.tag:
        raise Declined("by tag: write the tag's name as well")
    if by != "tag" and found.tag and "tag_value" not in found.tag:
        raise Declined("tag: write name=value, or choose by tag")
    return found


async def _sums(desks: Desks, question: Question) -> dict[str, Any]:
    now = desks.clock.wall()
    return _shown(question, await told(desks.ledger, question, now), now)


async def _budgets(desks: Desks, question: Question) -> dict[str, Any]:
    return {"forecast": await desks.ledger.forecast(AskForecast(project=question.filters.get("project")))}


async def _elsewhere(desks: Desks, question: Question) -> dict[str, Any]:
    same = {"since": question.period.since, "until": question.period.until, **asked(question.filters)}
    found = await desks.ledger.compare(AskComparison.model_validate(same))
    ends = {"since": at(found.since), "until": at(found.until)}
    return {
        "comparison": found,
        "behind": address("/attempts", question.filters, ends),
        "tagged": bool(question.tag),
    }


_PARTS = {"sums": _sums, "budgets": _budgets, "comparison": _elsewhere}


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
