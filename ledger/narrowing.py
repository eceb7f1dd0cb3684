"""Where in time the attempts of a question can lie, by the months' sums. Only computes.

Attempts have few indexes. What is rare, or never was, would be looked for in all there is; the sums by source, reason
and tag say within milliseconds which months have any, and how many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from job_contracts.spend import AskAttempts, Filters
from ledger.periods import MONTHLY, following, segments
from ledger.sums import NAMES, Question

Months = Mapping[int, Mapping[str, int]]
"""Sums of each month (UTC) that has something, by its beginning."""


@dataclass(frozen=True, slots=True)
class Within:
    """A period: from ``since`` on and before ``until``, if it ends."""

    since: float
    until: float | None
    first: float
    """Where it begins if the sums count more than there is: they stay when attempts have gone."""

    @property
    def rest(self) -> Within | None:
        """What lies before it, if anything may."""
        return Within(self.first, self.since, self.first) if self.first < self.since else None


def first_asked(asked: AskAttempts) -> Question | None:
    """What to ask the sums first; ``None`` where an index leads to the attempts anyway."""
    names, told = names_of(asked), (asked.reason, asked.tag, asked.won, asked.priced)
    if asked.job is not None or asked.failure is not None or (not names and told == (None,) * len(told)):
        return None
    return Question(
        segments(asked.since, asked.until),
        by=("month",),
        names=names,
        reason=asked.reason if asked.tag is None else None,  # sums by tag are not kept by reason
        tag=asked.tag,
        tag_value=asked.tag_value,
        measures=("attempts", "won", "unpriced"),
    )


def narrowed(asked: AskAttempts, months: Months, *, before: float | None) -> Within | None:
    """The part of the period that the page lies in; ``None``: there is nothing.

    ``before``: where the page before ended. A month that the page may begin in the middle of does not count as full.
    """
    counts = {start: _count(asked, sums) for start, sums in months.items()}
    having = [start for start, (count, _) in sorted(counts.items(), reverse=True) if count > 0]
    if not having:
        return None
    last, first = following(MONTHLY, having[0]), having[-1]
    until = float(last) if asked.until is None else min(float(last), asked.until)
    end, found = until if before is None else min(until, before), 0
    for start in having:
        count, exact = counts[start]
        if exact and following(MONTHLY, start) <= end:
            found += count
        if found > asked.limit:
            first = start
            break
    return Within(max(asked.since, float(first)), until, max(asked.since, float(having[-1])))


def names_of(asked: Filters) -> dict[str, str]:
    """The filters that are columns of ``sources``."""
    told = {name: getattr(asked, name) for name in NAMES}
    return {name: value for name, value in told.items() if value is not None}


def _count(asked: AskAttempts, sums: Mapping[str, int]) -> tuple[int, bool]:
    """How many attempts of a month fit at most, and whether that is how many do."""
    of_won = {None: sums["attempts"], True: sums["won"], False: sums["attempts"] - sums["won"]}[asked.won]
    of_priced = {None: sums["attempts"], True: sums["attempts"] - sums["unpriced"], False: sums["unpriced"]}
    together = (asked.tag is not None and asked.reason is not None) or None not in {asked.won, asked.priced}
    return min(of_won, of_priced[asked.priced]), not together and asked.experiment is None
