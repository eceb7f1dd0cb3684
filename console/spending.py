"""Sums that a page shows, by name and over time: asked of the ledger in one question where the answer fits into one.

Figures, table and chart are made of the same rows, so they say the same. Where names are many, the largest are found
first and asked for one by one; with traffic going on, those may be some attempts apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from console.asking import Declined, fault
from console.filters import NONE, Period, asked, at, following, label
from job_contracts.money import window_start
from job_contracts.spend import LATEST, MAX_ROWS, AskSpend, Spend, SpendRow, Sums

if TYPE_CHECKING:
    from console.asking import Ledger

By = Literal["provider", "model", "project", "route", "key", "tag", "reason"]
BY: tuple[By, ...] = ("provider", "model", "project", "route", "key", "tag", "reason")
DRAWN = 6
"""Names that have a series of their own."""
PAGES = 10
"""Of names, ``MAX_ROWS`` each, that are read at most to find the largest."""
WHOLE = 4
"""Answers that are read one after the other to have all names at all times; where it would take more, by parts."""
OTHERS, WITHOUT, FORGOTTEN = "all others", "without one", "forgotten"
_NOTHING = Decimal(0)
_SUMS = tuple(Sums.model_fields)

Times = Mapping[float, Sums]
"""Sums by the beginning of their hour, day or month."""


@dataclass(frozen=True, slots=True)
class Question:
    """What an address asks for."""

    period: Period
    by: By
    filters: Mapping[str, str]
    """As in the address."""
    tag: Mapping[str, str]

    def spend(self, *by: str, **more: object) -> AskSpend:
        """Sums by these. Raises Declined where they are not kept."""
        told = {"since": self.period.since, "until": self.period.until, **asked(self.filters), **self.tag}
        try:
            return AskSpend.model_validate({**told, "by": by, "limit": MAX_ROWS, **more})
        except ValidationError as error:
            raise Declined(fault(error)) from error

    def name(self, value: str | None) -> str:
        """What a group is called."""
        return value or (WITHOUT if self.by in {"key", "tag"} else FORGOTTEN)

    def own(self, value: str | None) -> dict[str, str] | None:
        """The filter that leaves a group alone, as an address has it; ``None``: there is none for it."""
        if self.by == "tag":
            return None if value is None else {"tag": f"{self.tag['tag']}={value}"}
        return {self.by: value} if value else {"key": NONE} if self.by == "key" else None


@dataclass(frozen=True, slots=True)
class Row:
    """One group."""

    value: str | None
    name: str
    own: Mapping[str, str] | None
    sums: Sums


@dataclass(frozen=True, slots=True)
class Series:
    """One name over time."""

    name: str
    own: Mapping[str, str] | None
    times: Times


@dataclass(frozen=True, slots=True)
class Told:
    """What the ledger said."""

    answer: Spend
    """Total, period, and how far it had read."""
    rows: tuple[Row, ...]
    """The dearest first."""
    cut: bool
    """Whether there are more names than were read."""
    times: Times
    """All names together."""
    series: tuple[Series, ...]
    """Of the dearest names."""


async def told(ledger: Ledger, question: Question, now: float) -> Told:
    """Sums by name, and over time. Raises NoAnswer or Declined."""
    unit = question.period.unit
    answer = await ledger.spend(question.spend(unit, question.by))
    rows, last, read = list(answer.rows), answer, 1
    while last.after is not None:
        if read * _share_left(question.period, rows, now) > WHOLE:
            return await _in_parts(ledger, question)
        last = await ledger.spend(question.spend(unit, question.by, after=last.after))
        rows, read = [*rows, *last.rows], read + 1
    of_name = _rows(question, rows)
    of = {one.value: [row for row in rows if getattr(row, question.by) == one.value] for one in of_name[:DRAWN]}
    return Told(
        answer=answer if read == 1 else answer.model_copy(update={"total": added(rows)}),
        rows=of_name,
        cut=False,
        times=_times(unit, rows),
        series=tuple(Series(one.name, one.own, _times(unit, of[one.value])) for one in of_name[:DRAWN]),
    )


def _share_left(period: Period, rows: list[SpendRow], now: float) -> float:
    """By how much what is asked for is longer than what these rows, which come in order of time, have told of it."""
    first, last = (float(getattr(rows[at], period.unit)) for at in (0, -1))
    return ((period.until or now) - first) / max(3_600.0, last - first)


async def groups(ledger: Ledger, question: Question) -> tuple[tuple[Row, ...], Spend]:
    """All groups, the dearest first, and the last answer about them."""
    found: list[SpendRow] = []
    answer = await ledger.spend(question.spend(question.by))
    found += answer.rows
    while answer.after is not None and len(found) < PAGES * MAX_ROWS:
        answer = await ledger.spend(question.spend(question.by, after=answer.after))
        found += answer.rows
    return _rows(question, found), answer


def beginnings(period: Period, found: Told, now: float) -> list[float]:
    """Of all hours, days or months, empty ones included; of all there is, from the first one with something on."""
    unit = period.unit
    last = window_start(unit, max(period.since, (period.until or now + 1) - 1))
    made = [window_start(unit, period.since) if period.since else min(found.times, default=last)]
    last = max([last, *found.times])
    while made[-1] < last and len(made) < MAX_ROWS:
        made.append(following(made[-1], unit))
    return made


def over_time(found: Told, starts: Iterable[float], unit: Literal["hour", "day", "month"]) -> list[dict[str, object]]:
    """A line for each beginning: its name, its period as addresses have it, each series' cost, that of others, all."""
    lines: list[dict[str, object]] = []
    for start in starts:
        sums = found.times.get(start, Sums())
        costs = [one.times[start].cost if start in one.times else _NOTHING for one in found.series]
        others = max(_NOTHING, sums.cost - sum(costs, _NOTHING))
        lines.append(
            {
                "label": label(start, unit),
                "since": at(max(start, found.answer.since)),
                "until": at(min(following(start, unit), found.answer.until or LATEST)),
                "costs": costs,
                "others": others,
                "cost": sum(costs, others),
                "attempts": sums.attempts,
            }
        )
    return lines


async def _in_parts(ledger: Ledger, question: Question) -> Told:
    unit = question.period.unit
    (rows, answer), over = await asyncio.gather(groups(ledger, question), ledger.spend(question.spend(unit)))
    drawn = [row for row in rows if row.own is not None][:DRAWN]
    found = await asyncio.gather(*(ledger.spend(question.spend(unit, **_alone(question, row))) for row in drawn))
    return Told(
        answer=answer,
        rows=rows,
        cut=answer.after is not None,
        times=_times(unit, over.rows),
        series=tuple(Series(row.name, row.own, _times(unit, one.rows)) for row, one in zip(drawn, found, strict=True)),
    )


def _alone(question: Question, row: Row) -> dict[str, str]:
    return {"tag_value": row.value or ""} if question.by == "tag" else {question.by: row.value or ""}


def _rows(question: Question, found: Iterable[SpendRow]) -> tuple[Row, ...]:
    by_value: dict[str | None, list[SpendRow]] = {}
    for one in found:
        by_value.setdefault(getattr(one, question.by), []).append(one)
    rows = [Row(value, question.name(value), question.own(value), added(those)) for value, those in by_value.items()]
    return tuple(sorted(rows, key=lambda row: (-row.sums.cost, -row.sums.attempts, row.name)))


def _times(unit: str, found: Iterable[SpendRow]) -> Times:
    by_start: dict[float, list[SpendRow]] = {}
    for one in found:
        by_start.setdefault(float(getattr(one, unit)), []).append(one)
    return {start: added(those) for start, those in by_start.items()}


def added(those: Iterable[Sums]) -> Sums:
    """Their sums, exactly."""
    every = list(those)
    return Sums.model_validate({name: sum(getattr(one, name) for one in every) for name in _SUMS})
