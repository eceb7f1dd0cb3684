"""What a provider saw of a limit, computed from its own log of calls: the most in any window, the bucket needed (pure).

Nothing here knows how calls were admitted. A call is a moment and an amount.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Call = tuple[float, int]
"""When it reached the provider, in seconds, and how much of the limit it took."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Of one limit of ``limit`` units in ``window`` seconds."""

    limit: float
    window: float
    total: int
    most: int
    """The largest sum over any window of ``window`` seconds."""
    needed: float
    """The smallest *B* for which use never exceeded *B + r·t* in any stretch of *t* seconds, at the *r* asked about."""

    @property
    def fullest(self) -> float:
        """``most`` as a share of the limit; above 1 the limit was exceeded in some window."""
        return self.most / self.limit


def seen(calls: Iterable[Call], limit: float, window: float, rate: float) -> Seen:
    """One pass over ``calls``, in the order of their times.

    ``needed`` is the largest level of a bucket that drains at ``rate``: the running form of the largest sum of amounts
    less ``rate`` times the stretch over which they came.
    """
    recent: deque[Call] = deque()
    total = inside = most = 0
    level = needed = last = 0.0
    for at, amount in sorted(calls):
        total += amount
        recent.append((at, amount))
        inside += amount
        while recent[0][0] <= at - window:
            inside -= recent.popleft()[1]
        most = max(most, inside)
        level = max(0.0, level - rate * (at - last)) + amount
        last = at
        needed = max(needed, level)
    return Seen(limit, window, total, most, needed)


def used(calls: Iterable[Call], limit: float, window: float, begin: float, end: float) -> float:
    """The share of the limit that was taken between ``begin`` and ``end``, which may be any number of windows."""
    taken = sum(amount for at, amount in calls if begin <= at < end)
    return taken / (limit * (end - begin) / window)


def busy(spans: Sequence[tuple[float, float]], places: int, begin: float, end: float) -> tuple[float, int]:
    """How full ``places`` were between ``begin`` and ``end``, as a share, and the most at once; a span is one call."""
    inside = sum(max(0.0, min(last, end) - max(first, begin)) for first, last in spans)
    steps = sorted([(first, 1) for first, _ in spans] + [(last, -1) for _, last in spans])
    now = most = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return inside / (places * (end - begin)), most
