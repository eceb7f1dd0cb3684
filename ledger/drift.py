"""Where a provider's account and ours part, day by day and model by model, and what is likely to be the cause (pure).

Ours is told by the hour, so it can be seen whether a provider's day begins at another hour than midnight (UTC).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from catalogue.names import readings
from job_contracts.money import PICO
from ledger.statement_lines import Line

HOUR, DAY = 3_600, 86_400
NOISE = 0.001
"""Share by which what agrees may differ."""
CENT = PICO // 100
OFFSETS = (*range(-12, 0), *range(1, 15))
"""Hours after midnight UTC at which a provider's day may begin; the world's time zones."""
BATCH = 0.5
"""What a call in a batch costs of the usual price, at every provider that has batches."""


class Cause(StrEnum):
    """What is likely to be behind a difference."""

    NONE = "none"
    NOT_OURS = "not_ours"
    NOT_THEIRS = "not_theirs"
    SHIFTED = "shifted"
    CACHED_APART = "cached_apart"
    REASONING_APART = "reasoning_apart"
    ESTIMATED = "estimated"
    MISSING = "missing"
    SURPLUS = "surplus"
    UNPRICED = "unpriced"
    BATCH = "batch"
    PRICE = "price"
    UNKNOWN = "unknown"


WORDS: Mapping[Cause, str] = {
    Cause.NONE: "agrees",
    Cause.NOT_OURS: "calls we know nothing of: made with the same account by others, or lost before they were told",
    Cause.NOT_THEIRS: "the statement has no such calls: another account or key made them, or it is not complete yet",
    Cause.SHIFTED: "the sums agree across days: their day begins at another hour, or they count a call when it ends",
    Cause.CACHED_APART: "one side counts cached tokens among the input and the other does not",
    Cause.REASONING_APART: "one side counts reasoning among the output and the other does not",
    Cause.ESTIMATED: "usage of calls that were cut or lost is our estimate; a statement by call corrects it (--adjust)",
    Cause.MISSING: "they count more calls than we do: made with the same account by others, or lost",
    Cause.SURPLUS: "we count more calls than they do: some were not billed, or not yet",
    Cause.UNPRICED: "tokens agree, but some of our calls have no known price: complete the catalogue",
    Cause.BATCH: "tokens agree, and they charge half: a batch's discount",
    Cause.PRICE: "tokens agree and money does not: the price differs from the catalogue's",
    Cause.UNKNOWN: "no cause that is known explains it",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums of one side; ``None``: it does not tell. ``cost`` in picodollars."""

    requests: int | None = None
    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None
    cost: int | None = None
    estimated: int = 0
    """Calls whose provider did not tell their usage."""
    unpriced: int = 0
    """Calls of unknown price."""
    batch: bool = False

    def plus(self, other: Figures) -> Figures:
        """Both together; what only one tells is what that one tells."""
        told: dict[str, Any] = {}
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            known = [one for one in (mine, theirs) if one is not None]
            told[each.name] = any(known) if each.name == "batch" else sum(known) if known else None
        return Figures(**told)

    @property
    def tokens(self) -> int | None:
        """Input and output together."""
        return None if self.input is None or self.output is None else self.input + self.output


@dataclass(frozen=True, slots=True)
class Hour:
    """Our sums of one model and the hour that began at ``start`` (UTC seconds)."""

    start: int
    model: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Row:
    """One day and model, or a family of models where the two sides name them differently."""

    day: date
    models: tuple[str, ...]
    """Ours; of a row that we have nothing for, theirs."""
    ours: Figures
    theirs: Figures
    cause: Cause
    hours: int | None = None
    """Of a shift, the hour (UTC) their day begins at, if that explains it all."""
    over: bool = False

    @property
    def tokens(self) -> float | None:
        """By which share of the larger side tokens differ; below 0 if they tell less."""
        return _share(self.ours.tokens or 0, self.theirs.tokens)

    @property
    def money(self) -> float | None:
        """By which share money differs."""
        return _share(self.ours.cost or 0, self.theirs.cost)


@dataclass(frozen=True, slots=True)
class Drift:
    """All rows, by day and model, and their sum."""

    rows: tuple[Row, ...]
    ours: Figures
    theirs: Figures
    threshold: float

    @property
    def over(self) -> bool:
        """Whether somebody should know."""
        return any(row.over for row in self.rows)

    @property
    def worst(self) -> float:
        """The largest share by which a day and model differ, in tokens or in money."""
        return max((abs(one) for row in self.rows for one in (row.tokens, row.money) if one is not None), default=0.0)


Key = tuple[date, str]
Sums = Mapping[Key, Figures]


def compare(lines: Iterable[Line], ours: Sequence[Hour], *, threshold: float, aliases: Mapping[str, str]) -> Drift:
    """``ours`` from two days before the first day of ``lines`` to two after the last. ``aliases``: by other names of
    models, in lower case, the catalogue's.
    """
    told = list(lines)
    families = _families({line.model for line in told}, {hour.model for hour in ours}, aliases)
    theirs: dict[Key, Figures] = defaultdict(Figures)
    for line in told:
        key = (line.day, families[line.model])
        theirs[key] = theirs[key].plus(_figures(line))
    days = {line.day for line in told}
    sums = {0: _by_day(ours, families, 0)}
    if _apart(theirs, sums[0]):
        sums |= {offset: _by_day(ours, families, offset) for offset in OFFSETS}
    mine = {key: figures for key, figures in sums[0].items() if min(days) <= key[0] <= max(days)}
    shift = _shift(theirs, sums)
    nothing = _nothing(theirs.values())
    pairs = {key: (mine.get(key, Figures()), theirs.get(key, nothing)) for key in sorted({*mine, *theirs})}
    spread = _spread(pairs)
    names: dict[str, set[str]] = defaultdict(set)
    for model in {hour.model for hour in ours}:
        names[families[model]].add(model)
    rows = []
    for (day, family), (own, their) in pairs.items():
        cause, hours = _cause(own, their), None
        if cause is not Cause.NONE and shift is not None and _agree(sums[shift].get((day, family), Figures()), their):
            cause, hours = Cause.SHIFTED, shift % 24
        elif cause is not Cause.NONE and (day, family) in spread:
            cause = Cause.SHIFTED
        row = Row(day, tuple(sorted(names.get(family, {family}))), own, their, cause, hours)
        if hours is not None and shift is not None:  # what is left to tell of such a day is its price
            over = _over(replace(row, ours=sums[shift].get((day, family), Figures())), threshold)
        else:
            over = cause is not Cause.SHIFTED and _over(row, threshold)
        rows.append(replace(row, over=over))
    total_ours, total_theirs = Figures(), Figures()
    for own, their in pairs.values():
        total_ours, total_theirs = total_ours.plus(own), total_theirs.plus(their)
    return Drift(tuple(rows), total_ours, total_theirs, threshold)


def _figures(line: Line) -> Figures:
    requests = 1 if line.requests is None and line.request is not None else line.requests
    return Figures(
        requests, line.input, line.cache_read, line.cache_write, line.output, line.reasoning, line.cost,
        batch=line.batch,
    )  # fmt: skip


def _nothing(told: Iterable[Figures]) -> Figures:
    """What a statement means that has no line: nothing of all that it tells of others."""
    names = [each.name for each in fields(Figures) if each.default is None]
    every = list(told)
    silent: dict[str, Any] = {name: 0 for name in names if any(getattr(one, name) is not None for one in every)}
    return Figures(**silent)


# -- whose model is whose


def _families(theirs: set[str], ours: set[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """What each name is matched by. An alias and its dated snapshots are one family, unless both sides use the same
    names for all of it.
    """
    members: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for side, names in enumerate((theirs, ours)):
        for name in names:
            members[_family(name, aliases)][side].add(name)
    found: dict[str, str] = {}
    for family, (their, own) in members.items():
        found |= {name: name if their == own else family for name in their | own}
    return found


def _family(name: str, aliases: Mapping[str, str]) -> str:
    return readings(aliases.get(name.lower(), name))[-1].lower()


# -- days that begin at another hour


def _by_day(ours: Sequence[Hour], families: Mapping[str, str], offset: int) -> dict[Key, Figures]:
    found: dict[Key, Figures] = defaultdict(Figures)
    for hour in ours:
        key = (datetime.fromtimestamp(hour.start - offset * HOUR, UTC).date(), families[hour.model])
        found[key] = found[key].plus(hour.figures)
    return dict(found)


def _shift(theirs: Sums, sums: Mapping[int, Sums]) -> int | None:
    """The hour at which all of their days begin, if with it nearly all differences are gone and not without it."""
    apart = {offset: _apart(theirs, one) for offset, one in sums.items()}
    best = min(apart, key=lambda offset: (apart[offset], abs(offset)))
    return best if best and apart[best] * 10 < apart[0] else None


def _apart(theirs: Sums, ours: Sums) -> int:
    return sum(
        abs((their.tokens or 0) - (ours.get(key, Figures()).tokens or 0))
        for key, their in theirs.items()
        if their.tokens is not None
    )


def _spread(pairs: Mapping[Key, tuple[Figures, Figures]]) -> set[Key]:
    """Days that differ, next to one another, whose sums agree."""
    apart: dict[str, list[date]] = defaultdict(list)
    for (day, family), (own, their) in pairs.items():
        if their.tokens is not None and not _same(own.tokens or 0, their.tokens):
            apart[family].append(day)
    found: set[Key] = set()
    for family, days in apart.items():
        runs: list[list[Key]] = []
        for day in sorted(days):
            if not runs or day - runs[-1][-1][0] > timedelta(days=1):
                runs.append([])
            runs[-1].append((day, family))
        for run in runs:
            counts = [sum(pairs[key][side].tokens or 0 for key in run) for side in (0, 1)]
            if len(run) > 1 and _same(*counts):
                found.update(run)
    return found


# -- one day and model


def _cause(ours: Figures, theirs: Figures) -> Cause:
    if not _any(ours):
        return Cause.NOT_OURS if _any(theirs) else Cause.NONE
    if not _any(theirs):
        return Cause.NOT_THEIRS
    if not _tokens_agree(ours, theirs):
        return next((cause for cause, applies in _OF_TOKENS if applies(ours, theirs)), Cause.UNKNOWN)
    if theirs.cost is None or _same(ours.cost or 0, theirs.cost):
        return Cause.NONE
    return next((cause for cause, applies in _OF_MONEY if applies(ours, theirs)), Cause.PRICE)


def _cached_apart(ours: Figures, theirs: Figures) -> bool:
    cached = max((one.cache_read or 0) + (one.cache_write or 0) for one in (ours, theirs))
    return bool(cached) and _output_agrees(ours, theirs) and _differ_by(ours.input, theirs.input, cached)


def _reasoning_apart(ours: Figures, theirs: Figures) -> bool:
    reasoning = max(ours.reasoning or 0, theirs.reasoning or 0)
    inputs = theirs.input is None or _same(ours.input or 0, theirs.input)
    return bool(reasoning) and inputs and _differ_by(ours.output, theirs.output, reasoning)


def _more(side: Figures, other: Figures) -> bool:
    return side.requests is not None and other.requests is not None and side.requests > other.requests


_OF_TOKENS: tuple[tuple[Cause, Callable[[Figures, Figures], bool]], ...] = (
    (Cause.CACHED_APART, _cached_apart),
    (Cause.REASONING_APART, _reasoning_apart),
    (Cause.MISSING, lambda ours, theirs: _more(theirs, ours)),
    (Cause.ESTIMATED, lambda ours, _: ours.estimated > 0),
    (Cause.SURPLUS, _more),
)
"""The first that applies explains it. Of calls that were cut some are not billed at all, so an estimate comes before
a surplus; calls beyond ours are no estimate's doing.
"""
_OF_MONEY: tuple[tuple[Cause, Callable[[Figures, Figures], bool]], ...] = (
    (Cause.UNPRICED, lambda ours, _: ours.unpriced > 0),
    (Cause.BATCH, lambda ours, theirs: theirs.batch or _near((theirs.cost or 0) / (ours.cost or 1), BATCH)),
)


def _over(row: Row, threshold: float) -> bool:
    tokens, money = row.tokens, row.money
    rounding = abs((row.theirs.cost or 0) - (row.ours.cost or 0)) * 2 < CENT
    by_tokens = tokens is not None and abs(tokens) > threshold
    return by_tokens or (money is not None and abs(money) > threshold and not rounding)


def _any(one: Figures) -> bool:
    return any((one.requests, one.input, one.output, one.cost))


def _agree(ours: Figures, theirs: Figures) -> bool:
    return _tokens_agree(ours, theirs) and _any(ours) == _any(theirs)


def _tokens_agree(ours: Figures, theirs: Figures) -> bool:
    told = ((ours.input, theirs.input), (ours.output, theirs.output))
    return all(their is None or _same(own or 0, their) for own, their in told)


def _output_agrees(ours: Figures, theirs: Figures) -> bool:
    return theirs.output is None or _same(ours.output or 0, theirs.output)


def _differ_by(one: int | None, other: int | None, amount: int) -> bool:
    return one is not None and other is not None and bool(amount) and _same(abs(one - other), amount)


def _same(one: int, other: int) -> bool:
    return abs(one - other) <= NOISE * max(abs(one), abs(other))


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= 0.02 * other


def _share(ours: int, theirs: int | None) -> float | None:
    if theirs is None:
        return None
    larger = max(abs(ours), abs(theirs))
    return (theirs - ours) / larger if larger else 0.0
