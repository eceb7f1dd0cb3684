"""A simulated autoscaler: workers that take a while to start follow what is told of each pool, beside a ``Trial``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

from job_contracts.failures import FailureKind
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch
from scheduler.policy.demand import Demand
from scheduler.policy.facts import PoolSeen, Submitted
from scheduler.policy.rules import Rules
from scheduler.policy.scaling import Scaler, needed, patience
from tests.unit.scheduler_policy import made
from tests.unit.scheduler_policy.trial import Ends, Trial

PERIOD = 2.0


class Fleet:
    """Runs ``jobs`` until a time; notes every number that is told, by pool."""

    def __init__(
        self,
        rules: Rules,
        *jobs: Submitted,
        until: float,
        seconds: float = 2.0,
        slots: int = 4,
        startup: float = 30.0,
        workers: int = 0,
        broken: tuple[str, ...] = (),
    ) -> None:
        """``seconds``: the mean of a call. ``workers``: of each pool, at first. ``broken``: pools that only fail."""
        self.trial = Trial(Board(rules), self._behave, seed=7)
        self.slots, self.startup, self._seconds, self._broken = slots, startup, seconds, broken
        pools = list(self.trial.board.demands(0.0))
        self.live = dict.fromkeys(pools, workers)
        self.told = {pool: [workers] for pool in pools}
        self.seen: list[tuple[float, dict[str, Demand]]] = []
        self._ordered = dict(self.live)
        self._scalers = {pool: Scaler(workers, 0.0) for pool in pools}
        for pool in pools:
            self._begin(pool, 0)
        for number in range(int(until / PERIOD)):
            self.trial.at(number * PERIOD, self._look)
        self.trial.submit(*jobs)
        self.trial.run(until)

    def _behave(self, dispatch: Dispatch, random: Random, _: float) -> Ends:
        seconds = random.gammavariate(4.0, self._seconds / 4.0)
        broken = dispatch.deployment.partition("/")[0] in self._broken
        return Ends(seconds, FailureKind.SERVER_ERROR if broken else None)

    def _look(self) -> None:
        now, demands = self.trial.now, dict(self.trial.board.demands(self.trial.now))
        self.seen.append((now, demands))
        for pool, demand in demands.items():
            told = self._scalers[pool].decide(needed(demand, self.slots), now, down=patience(demand))
            self.told[pool].append(told)
            change, self._ordered[pool] = told - self._ordered[pool], told
            if change > 0:
                self.trial.at(now + self.startup, partial(self._begin, pool, change))
            elif change < 0:
                self._begin(pool, change)

    def _begin(self, pool: str, change: int) -> None:
        self.live[pool] = max(0, self.live[pool] + change)
        self.trial.tell(PoolSeen(pool, self.live[pool] * self.slots))

    def last(self, pool: str) -> int:
        """The number that was told last."""
        return self.told[pool][-1]

    def turns(self, pool: str, *, skip: float = 0.0) -> int:
        """How often the number went the other way than before: what a fleet that flaps does all the time."""
        told = self.told[pool][int(skip / PERIOD) :]
        ways = [after > before for before, after in pairwise(told) if after != before]
        return sum(1 for before, after in pairwise(ways) if before != after)


def steadily(rate: float, until: float, *, since: float = 0.0, first: int = 1, **over: Any) -> Iterator[Submitted]:
    """Jobs as they come by chance, ``rate`` a second."""
    random, now, seq = Random(first), since, first
    while (now := now + random.expovariate(rate)) < until:
        yield made.job(seq, submitted=now, **over)
        seq += 1


def at_once(count: int, *, since: float = 0.0, first: int = 1, **over: Any) -> Iterator[Submitted]:
    """Jobs that all come in one moment."""
    return (made.job(first + number, submitted=since, **over) for number in range(count))
