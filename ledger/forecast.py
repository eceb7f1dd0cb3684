"""Where spend will be at the end of a window. Only computes; hours are full ones in UTC, amounts picodollars.

An hour to come is expected to cost the mean of two figures: the average hour of the last 24 (what has changed lately
shows at once), and the average of the same hour of the week in the last 14 days, or of the same hour of the day while
there are no two of those (nights and weekends keep their shape).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ledger.periods import HOUR

METHOD = (
    "each hour to come costs the mean of the average hour of the last 24 hours and of the same hour of the week in the "
    "last 14 days (of the same hour of the day where there are fewer than two)"
)
DAYS = 14
"""Days that are looked back."""
_RECENT = 24
_WEEK = 168
_FARTHEST = 366 * 24
"""Hours that are looked ahead where a window never ends."""


@dataclass(frozen=True, slots=True)
class Projected:
    """What will be."""

    at_end: int | None
    """``None``: the window has no end."""
    exhausted: float | None
    """UTC seconds."""


@dataclass(slots=True)
class Pace:
    """How fast somebody spends: ``hours`` has the amount of each full hour by its start, ``now`` is UTC seconds."""

    hours: Mapping[int, int]
    now: float
    _by_hour: list[int] = field(init=False)
    recent: int = field(init=False)
    """An average hour of the last 24 full ones; of those there are, if it began later."""

    def __post_init__(self) -> None:
        end = int(self.now // HOUR) * HOUR
        spent = [start for start, amount in self.hours.items() if amount and end - DAYS * 24 * HOUR <= start <= end]
        begun = min(spent, default=end)
        known = (end - begun) // HOUR
        if not known:  # all of it in the running hour: that is all that is known
            self.recent = self.hours.get(end, 0)
            self._by_hour = [self.recent] * _WEEK
            return
        span = min(known, _RECENT)
        self.recent = sum(self.hours.get(end - back * HOUR, 0) for back in range(1, span + 1)) // span
        of_week: defaultdict[int, list[int]] = defaultdict(list)
        of_day: defaultdict[int, list[int]] = defaultdict(list)
        for start in range(begun, end, HOUR):
            amount = self.hours.get(start, 0)
            of_week[start // HOUR % _WEEK].append(amount)
            of_day[start // HOUR % 24].append(amount)
        self._by_hour = []
        for hour in range(_WEEK):
            same = of_week[hour] if len(of_week[hour]) > 1 else of_day[hour % 24]
            usual = sum(same) // len(same) if same else self.recent
            self._by_hour.append((self.recent + usual) // 2)

    def expected(self, start: int) -> int:
        """Of the hour that begins at ``start``."""
        return self._by_hour[start // HOUR % _WEEK]

    def projected(self, spent: int, end: float | None, budget: int | None) -> Projected:
        """From ``spent`` in a window until now to its ``end`` (``None``: it has none)."""
        exhausted = self.now if budget is not None and spent >= budget else None
        total = spent
        for start, length, amount in self._ahead(end):
            if budget is not None and exhausted is None and total + amount >= budget:
                exhausted = start + length * (budget - total) / amount
            total += amount
            if end is None and (exhausted is not None or budget is None):
                break
        return Projected(None if end is None else total, exhausted)

    def _ahead(self, end: float | None) -> Iterator[tuple[float, float, int]]:
        """Beginning, seconds and expected amount of what is left of this hour, and of the hours behind it."""
        hour = int(self.now // HOUR) * HOUR
        last = hour + _FARTHEST * HOUR if end is None else end
        begin = self.now
        while begin < last:
            length = min(hour + HOUR, last) - begin
            yield begin, length, round(self.expected(hour) * (length / HOUR))
            hour += HOUR
            begin = float(hour)
