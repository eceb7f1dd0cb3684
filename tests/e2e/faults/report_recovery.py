"""How long a fault was felt: the longest silence it began, and until calls came as usual again. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.e2e.faults.events import FaultKind
from tests.e2e.faults.history_book import Book, Strike

USUAL = 0.5
"""Share of the run's mean rate that counts as the usual rate again: arrivals are random."""
AFTERWARDS = 1.0
"""Seconds after a fault's end in which a silence that begins is still its own."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """One fault. ``silence``: seconds of the longest stretch without a call within its reach, from the fault on.

    ``usual``: seconds from the fault until the end of the first second, after that silence, with calls as usual.
    ``None`` where the run ended first.
    """

    what: FaultKind
    at: float
    silence: float | None
    usual: float | None


def recoveries(book: Book) -> list[Recovery]:
    """Of every fault, in order of time."""
    calls = sorted((call.at, call.provider) for call in book.calls)
    return [_of(strike, [at for at, pool in calls if strike.reaches(pool)], book.began.at) for strike in book.strikes]


def _of(strike: Strike, starts: Sequence[float], began: float) -> Recovery:
    following = [strike.at, *starts[bisect_left(starts, strike.at) :]]
    gaps = [pair for pair in pairwise(following) if pair[0] <= strike.until + AFTERWARDS]
    first, last = max(gaps, key=lambda pair: pair[1] - pair[0], default=(0.0, 0.0))
    if not gaps:
        return Recovery(strike.struck.what, strike.at - began, None, None)
    return Recovery(strike.struck.what, strike.at - began, last - first, _usual_again(starts, strike.at, last))


def _usual_again(starts: Sequence[float], struck: float, since: float) -> float | None:
    rates = Counter(map(math.floor, starts))
    last = max(rates)
    usual = USUAL * rates.total() / (last + 1 - min(rates))
    for second in range(math.floor(since), last + 1):
        if rates[second] >= usual:
            return second + 1.0 - struck
    return None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]
