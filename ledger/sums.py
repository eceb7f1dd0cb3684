"""The SQL of reports over the stored sums: groups, their page, and the total of all of them, in one statement.

Sums are first taken by source, as whole numbers; names are joined to what is left. Names and values are bound
parameters throughout; what stands in the text of a statement is ours alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Integer,
    Table,
    and_,
    case,
    cast,
    collate,
    extract,
    false,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql import ColumnElement, Select, Subquery
from sqlalchemy.types import String, TypeEngine

from job_contracts.spend import Dimension
from ledger.periods import HOURLY, Segment
from ledger.tables import sources, spend, spend_tags, tags

COUNTS = ("attempts", "won", "unpriced", "estimated", "input", "cache_read", "cache_write", "output", "reasoning")
AMOUNTS = ("cost", "waste")
NAMES = ("project", "provider", "model", "deployment", "route", "key")
"""Dimensions that are columns of ``sources``."""
TIMES = ("hour", "day", "month")
_PART = 10**6
"""SQLite's sums end at 2^63 - 1, which is 9.2 million dollars: there, amounts are summed in two parts."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be summed; of a period its ``segments``."""

    segments: tuple[Segment, ...]
    by: tuple[Dimension, ...] = ()
    names: Mapping[str, str] | None = None
    """Columns of ``sources`` and the values they must have."""
    reason: str | None = None
    tag: str | None = None
    """A tag's name."""
    tag_value: str | None = None
    limit: int | None = None
    after: Sequence[Any] | None = None
    """Sort keys of the last row of the page before (``sort_kinds``)."""


@dataclass(frozen=True, slots=True)
class Group:
    """One row: the names and moments of its group, its counts, and its amounts in picodollars."""

    keys: Mapping[str, Any]
    sums: Mapping[str, int]


def sort_kinds(by: Sequence[Dimension]) -> tuple[type, ...]:
    """Of what a page's end consists: a value each dimension, and whether there is one before a tag's."""
    kinds: list[type] = []
    for one in by:
        kinds += [int, str] if one == "tag" else [int] if one in TIMES else [str]
    return tuple(kinds)


def sort_keys(by: Sequence[Dimension], keys: Mapping[str, Any]) -> list[Any]:
    """The page's end at a group."""
    told: list[Any] = []
    for one in by:
        value = keys[one]
        told += [int(value is not None), value or ""] if one == "tag" else [value]
    return told


class Statement:
    """One question as SQL for one kind of database (``sqlite``, ``postgresql``)."""

    def __init__(self, question: Question, dialect: str) -> None:
        self._question = question
        self._lite = dialect == "sqlite"
        parts = AMOUNTS if not self._lite else tuple(f"{name}_{part}" for name in AMOUNTS for part in ("high", "low"))
        self._measures = (*COUNTS, *parts)

    def sql(self) -> Select[Any]:
        """Rows in the order of their groups, before them one with the total of all groups."""
        asked = self._question
        groups = self._named().cte("groups")
        nothing = [cast(null(), self._kind(one)).label(one) for one in asked.by]
        total = select(
            literal_column("0").label("part"),
            *nothing,
            *(func.sum(groups.c[name]).label(name) for name in self._measures),
        )
        keys = [key for one in asked.by for key in self._sort(one, groups.c[one])]
        page = select(literal_column("1").label("part"), *groups.c)
        if asked.after is not None:
            page = page.where(_behind(keys, asked.after))
        if keys:
            page = page.order_by(*keys)
        if asked.limit is not None:
            page = page.limit(asked.limit)
        inner = page.subquery("page")
        both = union_all(total, select(*(inner.c[name] for name in ("part", *asked.by, *self._measures)))).subquery()
        return select(both).order_by(both.c.part, *(key for one in asked.by for key in self._sort(one, both.c[one])))

    def read(self, row: Mapping[str, Any]) -> Group:
        """A row of the answer."""
        sums = {name: int(row[name] or 0) for name in COUNTS}
        for name in AMOUNTS:
            if self._lite:
                sums[name] = int(row[f"{name}_high"] or 0) * _PART + int(row[f"{name}_low"] or 0)
            else:
                sums[name] = int(row[name] or 0)
        return Group({one: row[one] for one in self._question.by}, sums)

    # -- from the inside out

    def _named(self) -> Select[Any]:
        """The groups, by their names."""
        base = self._by_source()
        asked = self._question
        columns = [(sources.c[one] if one in NAMES else base.c[one]).label(one) for one in asked.by]
        named = any(one in NAMES for one in asked.by)
        grouped = select(*columns, *(func.sum(base.c[name]).label(name) for name in self._measures)).select_from(
            base.join(sources, sources.c.id == base.c.source) if named else base
        )
        if columns:
            plain = [sources.c[one] if one in NAMES else base.c[one] for one in asked.by]
            grouped = grouped.group_by(*plain)
        return grouped.having(func.sum(base.c.attempts) != literal_column("0"))

    def _by_source(self) -> Subquery:
        asked = self._question
        parts: list[Select[Any]] = []
        for segment in asked.segments:
            if asked.tag is None:
                parts.append(self._of_spend(segment))
                continue
            parts.append(self._of_tags(segment))
            if "tag" in asked.by and asked.tag_value is None:  # what does not have the tag: all, without what has it
                parts += [self._of_spend(segment), self._of_tags(segment, sign=-1)]
        if not parts:
            parts.append(self._of_spend(Segment(HOURLY, 0, 0)).where(false()))
        return union_all(*parts).subquery("base") if len(parts) > 1 else parts[0].subquery("base")

    def _of_spend(self, segment: Segment) -> Select[Any]:
        extra: dict[str, ColumnElement[Any]] = {"tag": cast(null(), String(200))} if "tag" in self._question.by else {}
        if "reason" in self._question.by:
            extra["reason"] = spend.c.reason
        told = self._summed(spend, segment, extra)
        return told if self._question.reason is None else told.where(spend.c.reason == self._question.reason)

    def _of_tags(self, segment: Segment, *, sign: int = 1) -> Select[Any]:
        asked = self._question
        value: ColumnElement[Any] = cast(null(), String(200)) if sign < 0 else tags.c.value
        told = self._summed(spend_tags, segment, {"tag": value} if "tag" in asked.by else {}, sign)
        told = told.join(tags, tags.c.id == spend_tags.c.tag).where(tags.c.name == asked.tag)
        return told if asked.tag_value is None else told.where(tags.c.value == asked.tag_value)

    def _summed(
        self, table: Table, segment: Segment, extra: dict[str, ColumnElement[Any]], sign: int = 1
    ) -> Select[Any]:
        asked = self._question
        keys: dict[str, ColumnElement[Any]] = {"source": table.c.source, **extra}
        keys |= {one: self._begun(one, table.c.start) for one in asked.by if one in TIMES}
        ordered = ["source", *(one for one in asked.by if one in keys)]
        told = select(
            *(keys[name].label(name) for name in ordered),
            *((func.sum(_parted(table, name)) * literal_column(str(sign))).label(name) for name in self._measures),
        ).where(table.c.grain == segment.grain, table.c.start >= segment.start)
        if segment.end is not None:
            told = told.where(table.c.start < segment.end)
        if asked.names:
            fitting = select(sources.c.id).where(*(sources.c[name] == value for name, value in asked.names.items()))
            told = told.where(table.c.source.in_(fitting))
        constant = {"tag"} if sign < 0 or table is spend else set()
        return told.group_by(*(keys[name] for name in ordered if name not in constant))

    def _begun(self, time: str, start: ColumnElement[Any]) -> ColumnElement[Any]:
        """The start of the hour, day or month (UTC) that a sum belongs to."""
        if time == "hour":
            return start
        if time == "day":
            return start - start % literal_column("86400")
        if self._lite:
            return cast(func.strftime(_word("%s"), start, _word("unixepoch"), _word("start of month")), Integer)
        begun = func.date_trunc(_word("month"), func.to_timestamp(start), _word("UTC"))
        return cast(extract("epoch", begun), BigInteger)

    def _kind(self, one: str) -> TypeEngine[Any]:
        return BigInteger() if one in TIMES else String(400)

    def _sort(self, one: str, column: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        """By bytes in either database, so that a page begins where the one before it ended."""
        if one in TIMES:
            return [column]
        if one != "tag":
            return [column if self._lite else collate(column, "C")]
        known = case((column.is_(None), literal_column("0")), else_=literal_column("1"))
        text = func.coalesce(column, literal_column("''"))
        return [known, text if self._lite else collate(text, "C")]


def _word(text: str) -> ColumnElement[str]:
    told: ColumnElement[str] = literal_column(f"'{text}'", String())
    return told


def _parted(table: Table, name: str) -> ColumnElement[Any]:
    amount, _, part = name.rpartition("_")
    if amount not in AMOUNTS:
        return table.c[name]
    size = literal_column(str(_PART), BigInteger())
    told: ColumnElement[Any] = table.c[amount] % size if part == "low" else table.c[amount] // size
    return told


def _behind(keys: Sequence[ColumnElement[Any]], values: Sequence[Any]) -> ColumnElement[bool]:
    """Whether a row comes after ``values`` in the order of ``keys``."""
    cases = [
        and_(*(keys[at] == _bound(values[at]) for at in range(number)), keys[number] > _bound(values[number]))
        for number in range(len(keys))
    ]
    return or_(false(), *cases)


def _bound(value: Any) -> ColumnElement[Any]:
    return literal(value, BigInteger() if isinstance(value, int) else String())
