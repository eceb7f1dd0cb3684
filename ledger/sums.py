"""The SQL of reports over the stored sums: groups, their page, and the total of all of them, in one statement.

Sums are first taken by source, as whole numbers; names are joined to what is left. Names and values are bound
parameters throughout; what stands in the text of a statement is ours alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    Integer,
    Table,
    and_,
    case,
    cast,
    collate,
    false,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql import ColumnElement, FromClause, Select, Subquery
from sqlalchemy.types import String, TypeEngine

from job_contracts.spend import LATEST, Dimension
from ledger.periods import DAILY, HOURLY, MONTHLY, NOTHING, Segment, month_starts
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
    without: tuple[str, ...] = ()
    """Reasons that are left out."""
    within: tuple[str, ...] = ()
    """Reasons that are meant alone; none: all are."""
    tag: str | None = None
    """A tag's name."""
    tag_value: str | None = None
    only: Literal["tagged", "untagged"] | None = None
    """By a tag: what has it, or what lacks it, alone."""
    limit: int | None = None
    after: Sequence[Any] | None = None
    """Sort keys of the last row of the page before (``sort_kinds``)."""
    at_it: bool = False
    """Whether what is right at ``after`` is meant as well."""
    measures: tuple[str, ...] = (*COUNTS, *AMOUNTS)
    """What is summed."""


@dataclass(frozen=True, slots=True)
class Group:
    """One row: the names and moments of its group, its counts, and its amounts in picodollars."""

    keys: Mapping[str, Any]
    sums: Mapping[str, int]


def coarsest(by: Sequence[Dimension]) -> int:
    """The coarsest grain that can answer."""
    return HOURLY if "hour" in by else DAILY if "day" in by else MONTHLY


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
        counts = tuple(name for name in question.measures if name in COUNTS)
        amounts = tuple(name for name in question.measures if name in AMOUNTS)
        if self._lite:
            amounts = tuple(f"{name}_{part}" for name in amounts for part in ("high", "low"))
        self._measures = (*counts, *amounts)

    def sql(self) -> Select[Any]:
        """Rows in the order of their groups, before them one with the total of all groups."""
        groups = self._grouped().cte("groups")
        asked = self._question
        nothing = [cast(null(), self._kind(one)).label(one) for one in asked.by]
        total = select(
            literal_column("0").label("part"),
            *nothing,
            *(func.sum(groups.c[name]).label(name) for name in self._measures),
        )
        inner = self._paged(groups, literal_column("1").label("part")).subquery("page")
        both = union_all(total, select(*(inner.c[name] for name in ("part", *asked.by, *self._measures)))).subquery()
        return select(both).order_by(both.c.part, *(key for one in asked.by for key in self._sort(one, both.c[one])))

    def groups(self) -> Select[Any]:
        """All groups in any order, nothing else."""
        return self._grouped()

    def page(self) -> Select[Any]:
        """Rows in the order of their groups."""
        return self._paged(self._grouped().subquery("groups"))

    def total(self) -> Select[Any]:
        """One row: the total of all groups."""
        base = self._summed_first()
        return select(*(func.sum(base.c[name]).label(name) for name in self._measures))

    def amount(self, parts: Sequence[Any]) -> int:
        """An amount from the columns it is told in."""
        return int(parts[0]) * _PART + int(parts[1]) if self._lite else int(parts[0])

    def read(self, row: Mapping[str, Any]) -> Group:
        """A row of the answer."""
        sums = {}
        for name in self._question.measures:
            if self._lite and name in AMOUNTS:
                sums[name] = int(row[f"{name}_high"] or 0) * _PART + int(row[f"{name}_low"] or 0)
            else:
                sums[name] = int(row[name] or 0)
        return Group({one: row[one] for one in self._question.by}, sums)

    # -- from the inside out

    def _paged(self, groups: FromClause, *first: ColumnElement[Any]) -> Select[Any]:
        asked = self._question
        keys = [key for one in asked.by for key in self._sort(one, groups.c[one])]
        page = select(*first, *groups.c)
        if asked.after is not None:
            page = page.where(_behind(keys, asked.after, at_it=asked.at_it))
        if keys:
            page = page.order_by(*keys)
        return page if asked.limit is None else page.limit(asked.limit)

    @property
    def _named_by(self) -> bool:
        """Whether sources must be told apart."""
        return any(one in NAMES for one in self._question.by)

    @property
    def _at_once(self) -> bool:
        """Whether to sum in one step. By hour or day, sums by source are as many as the rows they are made of."""
        fine = coarsest(self._question.by) != MONTHLY
        return self._question.tag is None and (fine or not self._named_by)

    def _grouped(self) -> Select[Any]:
        """The groups, by their names."""
        base, by = self._summed_first(), self._question.by
        keys = [sources.c[one] if one in NAMES else base.c[one] for one in by]
        told = select(
            *(key.label(one) for key, one in zip(keys, by, strict=True)),
            *(func.sum(base.c[name]).label(name) for name in self._measures),
        )
        told = told.select_from(base.join(sources, sources.c.id == base.c.source) if self._named_by else base)
        return told.group_by(*keys).having(or_(*(sums != literal_column("0") for sums in self._something(base))))

    def _something(self, base: Subquery) -> Iterator[ColumnElement[Any]]:
        """What tells whether there is anything: a correction may move an amount alone.

        The two parts of an amount are looked at together: with what is taken off they may be a dollar and its negative.
        """
        for name in self._question.measures:
            if name in AMOUNTS and self._lite:
                high, low = func.sum(base.c[f"{name}_high"]), func.sum(base.c[f"{name}_low"])
                yield high * literal_column(str(_PART)) + low
            elif name in AMOUNTS or name == "attempts":
                yield func.sum(base.c[name])

    def _summed_first(self) -> Subquery:
        asked = self._question
        parts: list[Select[Any]] = []
        for number, segment in enumerate(asked.segments or (NOTHING,)):
            if asked.tag is None:
                parts.append(self._of_spend(segment))
            elif (
                "tag" in asked.by and asked.tag_value is None and asked.only != "tagged"
            ):  # what has the tag; then all, without what has it
                tagged = self._of_tags(segment).cte(f"tagged_{number}")
                parts += [] if asked.only == "untagged" else [select(*tagged.c)]
                parts += [self._of_spend(segment), self._taken_off(tagged)]
            else:
                parts.append(self._of_tags(segment))
        return union_all(*parts).subquery("base") if len(parts) > 1 else parts[0].subquery("base")

    def _of_spend(self, segment: Segment) -> Select[Any]:
        asked = self._question
        constant = {"tag": cast(null(), String(200))} if "tag" in asked.by else {}
        told = self._of(spend, segment, {"reason": spend.c.reason} if "reason" in asked.by else {}, constant)
        if asked.without:
            told = told.where(spend.c.reason.not_in(asked.without))
        if asked.within:
            told = told.where(spend.c.reason.in_(asked.within))
        return told if asked.reason is None else told.where(spend.c.reason == asked.reason)

    def _of_tags(self, segment: Segment) -> Select[Any]:
        asked = self._question
        told = self._of(spend_tags, segment, {"tag": tags.c.value} if "tag" in asked.by else {}, {})
        told = told.join(tags, tags.c.id == spend_tags.c.tag).where(tags.c.name == asked.tag)
        if asked.names and "project" in asked.names:  # which leaves few
            told = told.where(tags.c.project == asked.names["project"])
        return told if asked.tag_value is None else told.where(tags.c.value == asked.tag_value)

    def _taken_off(self, tagged: CTE) -> Select[Any]:
        keys = [column for column in tagged.c if column.name not in self._measures]
        return select(
            *(cast(null(), String(200)).label("tag") if one.name == "tag" else one for one in keys),
            *((-tagged.c[name]).label(name) for name in self._measures),
        )

    def _of(
        self,
        table: Table,
        segment: Segment,
        varying: Mapping[str, ColumnElement[Any]],
        constant: Mapping[str, ColumnElement[Any]],
    ) -> Select[Any]:
        """A segment's sums, by source where that matters; columns always stand in the same order."""
        asked = self._question
        keys: dict[str, ColumnElement[Any]] = {"source": table.c.source} if self._named_by else {}
        told_by: dict[str, ColumnElement[Any]] = {
            one: self._begun(one, table.c.start) for one in asked.by if one in TIMES
        }
        told_by |= varying
        keys |= {one: told_by[one] for one in asked.by if one in told_by}
        ordered = [one for one in ("source", *asked.by) if one in keys or one in constant]
        known: dict[str, ColumnElement[Any]] = {**keys, **constant}
        columns = [known[one].label(one) for one in ordered]
        measured = {name: _parted(table, name) for name in self._measures}
        if not self._at_once:
            measured = {name: func.sum(column) for name, column in measured.items()}
        told = select(*columns, *(column.label(name) for name, column in measured.items()))
        told = told.select_from(table).where(table.c.grain == segment.grain, table.c.start >= segment.start)
        if segment.end is not None:
            told = told.where(table.c.start < segment.end)
        names = dict(asked.names or {})
        if table is spend_tags:
            names.pop("project", None)  # a tag has one project, and its attempts have that as well
        if names:
            fitting = select(sources.c.id).where(*(sources.c[name] == value for name, value in names.items()))
            told = told.where(table.c.source.in_(fitting))
        return told if self._at_once else told.group_by(*keys.values())

    def _begun(self, time: str, start: ColumnElement[Any]) -> ColumnElement[Any]:
        """The start of the hour, day or month (UTC) that a sum belongs to."""
        if time == "hour":
            return start
        if time == "day":
            return start - start % literal_column("86400")
        if self._lite:
            return cast(func.strftime(_word("%s"), start, _word("unixepoch"), _word("start of month")), Integer)
        # Months are looked up among their beginnings: asking the calendar takes longer than all the rest.
        known = literal_column(f"(CAST('{{{self._months()}}}' AS bigint[]))", ARRAY(BigInteger))
        return known[func.width_bucket(start, known)]

    def _months(self) -> str:
        told = self._question.segments or (NOTHING,)
        first, last = told[0].start, told[-1].end
        return ",".join(str(one) for one in month_starts(first, int(LATEST) if last is None else last))

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


def _behind(keys: Sequence[ColumnElement[Any]], values: Sequence[Any], *, at_it: bool) -> ColumnElement[bool]:
    """Whether a row comes after ``values`` in the order of ``keys``, or (``at_it``) is there."""
    cases = [
        and_(*(keys[at] == _bound(values[at]) for at in range(number)), keys[number] > _bound(values[number]))
        for number in range(len(keys))
    ]
    if at_it:
        cases.append(and_(*(key == _bound(value) for key, value in zip(keys, values, strict=True))))
    return or_(false(), *cases)


def _bound(value: Any) -> ColumnElement[Any]:
    return literal(value, BigInteger() if isinstance(value, int) else String())
