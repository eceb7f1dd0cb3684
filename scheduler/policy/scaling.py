"""How many workers a pool should have: as many as its demand needs, followed quickly upwards and slowly downwards.

A demand that does not last is not followed: upwards it must have held for ``UP`` seconds, and downwards nothing may
have asked for more during ``DOWN`` seconds. Only the first worker of a pool that has none is asked for at once.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.policy.demand import Demand

UP = 6.0
"""Seconds that more must have been asked for: what a moment brings is often gone before a worker has started."""
DOWN = 300.0
"""Seconds that no more may have been asked for: to stop a worker and start another one costs more than to keep it."""
CALLS = 3.0
"""Calls, one after the other, that it is at least: a worker that stops cuts off the longest ones."""
LONGEST = 3_600.0
"""Seconds that it is at most, however long calls take."""
TOLERANCE = 1e-9


def needed(demand: Demand, slots: float) -> int:
    """Workers of ``slots`` places each that the demand of this moment needs."""
    return ceil(demand.wanted / max(slots, 1.0) - TOLERANCE)


def patience(demand: Demand) -> float:
    """Seconds that less must have been asked for, until less is told."""
    return min(max(DOWN, CALLS * demand.seconds), LONGEST)


class Scaler:
    """One pool's number, damped. What was needed at one time counts as needed until the next."""

    __slots__ = ("_seen", "desired")

    def __init__(self, start: int, now: float) -> None:
        """``start``: what stood before, or the workers there are: that is held until something else has lasted."""
        self.desired = start
        self._seen: deque[tuple[float, int]] = deque([(now, start)])

    def decide(self, needs: int, now: float, *, down: float = DOWN) -> int:
        """So many are needed now; returns how many there should be."""
        seen = self._seen
        seen.append((now, needs))
        while len(seen) > 1 and seen[1][0] <= now - down:
            seen.popleft()
        lately = needs
        for at, number in reversed(seen):
            lately = min(lately, number)
            if at <= now - UP:
                break
        ever = max(number for _, number in seen)
        self.desired = max(lately, min(self.desired, ever), 1 if needs else 0)
        return self.desired
