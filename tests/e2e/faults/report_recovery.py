"""How long a fault was felt: until the next call, and until the end of a second with calls as usual. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tests.e2e.faults.events import FaultKind
from tests.e2e.faults.history_book import Book, Strike

USUAL = 0.5
"""Share of the run's mean rate that counts as the usual rate again: arrivals are random."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """One fault. Seconds from its beginning; ``None`` where the run ended first."""

    what: FaultKind
    at: float
    next_call: float | None
    usual_rate: float | None


def recoveries(book: Book) -> list[Recovery]:
    """Of every fault, in order of time."""
    starts: dict[str, list[float]] = defaultdict(list)
    for call in sorted(book.calls, key=lambda one: one.at):
        starts[call.provider].append(call.at)
    return [_of(book, strike, starts) for strike in book.strikes]


def _of(book: Book, strike: Strike, starts: dict[str, list[float]]) -> Recovery:
    within = [times for pool, times in starts.items() if strike.reaches(pool)]
    following = [times[at] for times in within if (at := bisect_right(times, strike.at)) < len(times)]
    after = min(following) - strike.at if following else None
    return Recovery(strike.struck.what, strike.at - book.began.at, after, _usual_again(within, strike.at))


def _usual_again(within: Sequence[Sequence[float]], since: float) -> float | None:
    rates = Counter(math.floor(at) for times in within for at in times)
    if not rates:
        return None
    first, last = min(rates), max(rates)
    usual = USUAL * rates.total() / (last + 1 - first)
    for second in range(math.ceil(since), last + 1):
        if rates[second] >= usual:
            return second + 1.0 - since
    return None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]
