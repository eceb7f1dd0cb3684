"""How much of a limit the buckets let through under a backlog, against a provider's own windows, in time made up.

Caught here: a refill that wastes what comes during a commit, a reservation that is always a little too large, a bucket
without room beside the one unit it holds, a grant that the provider's window cannot take.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from runtime.settings.routing import Limits
from scheduler.assignments import ON_TIME
from scheduler.policy.buckets import Bucket
from scheduler.policy.rules import Limit, Unit
from simulator.limits import window
from simulator.settings import WindowKind

HOUR = 3_600.0
LINGER = 0.01


@dataclass
class Run:
    """One limit a minute, a backlog that never ends, a leader that stores one batch at a time."""

    bucket: Bucket
    kind: WindowKind
    amount: Callable[[random.Random], int]
    seconds: float
    reserve: int
    dice: random.Random = field(default_factory=lambda: random.Random(11))
    used: int = 0
    refused: int = 0
    _events: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    _serial: itertools.count[int] = field(default_factory=itertools.count)

    def at(self, moment: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._serial), act))

    def until(self, end: float) -> float:
        """Run it; the share of the limit that was used."""
        limit = self.bucket.limit
        provider = window(self.kind, int(limit.amount), limit.window)
        self.bucket.refill(0.0)
        busy, now = 0.0, 0.0

        def call(arrived: float) -> None:
            taken = self.amount(self.dice)
            if provider.wait(taken, arrived) > 0:
                self.refused += 1
                return
            provider.take(taken, arrived)
            self.used += taken

            def ended(then: float, granted: float = arrived) -> None:
                if taken != self.reserve:
                    self.bucket.settle(self.reserve, taken, granted, then)

            self.at(arrived + self.seconds * self.dice.uniform(0.5, 1.5), ended)

        while now < end:
            if now >= busy:
                granted = 0
                while self.bucket.admits(self.reserve, now):
                    self.bucket.take(self.reserve, now)
                    granted += 1
                if granted:
                    stored = now + self.dice.uniform(0.002, 0.04)
                    busy = max(stored, now + LINGER)
                    for _ in range(granted):
                        self.at(stored, lambda then: self.bucket.confirm(self.reserve, then))
                        self.at(stored + self.dice.uniform(0.0, ON_TIME * limit.skew - 0.04), call)
            wait = self.bucket.wait(self.reserve, now)
            due = max(now + wait, busy) if wait < HOUR else HOUR * 100
            now = max(min(due, self._events[0][0] if self._events else due), now + 1e-6)
            while self._events and self._events[0][0] <= now:
                _, _, act = heapq.heappop(self._events)
                act(now)
        return self.used / (limit.amount * end / limit.window)


def bucket(unit: Unit, amount: float) -> Bucket:
    """As the configuration's defaults make it, for so much a minute."""
    limits = Limits(rpm=amount)
    return Bucket(Limit(unit, amount, limits.window, limits.burst, limits.skew))


@pytest.mark.parametrize("kind", ["fixed", "sliding"])
@pytest.mark.parametrize(
    ("unit", "amount", "each", "seconds"),
    [
        ("requests", 600, (1, 1), 1.0),
        ("requests", 5_000, (1, 1), 1.0),
        ("input_tokens", 200_000, (500, 500), 1.0),
        ("output_tokens", 100_000, (100, 200), 2.0),
        ("output_tokens", 1_000_000, (100, 500), 5.0),
    ],
)
def test_at_least_97_percent_of_a_limit_a_minute_are_used_and_nothing_is_refused(
    kind: WindowKind, unit: Unit, amount: float, each: tuple[int, int], seconds: float
) -> None:
    least, most = each
    run = Run(bucket(unit, amount), kind, lambda dice: dice.randint(least, most), seconds, (least + most) // 2)
    share = run.until(600.0)
    assert run.refused == 0
    assert 0.97 <= share <= 1.0
