"""Whether experiments are right as often as they promise: thousands of simulated ones, looked at after each job.

python -m benchmarks.experiments                 # 10,000 without a difference, some with 3 %; a few minutes of CPU
python -m benchmarks.experiments --count 1000
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from math import ceil, exp, sqrt
from random import Random
from typing import TYPE_CHECKING

from job_contracts.experiments import Metric
from scheduler.policy.experiments.comparing import LEAST, differs
from scheduler.policy.experiments.moments import BUCKETS, Moments
from scheduler.policy.experiments.sequences import information_for, tuned

if TYPE_CHECKING:
    from collections.abc import Callable

    Draw = Callable[[Random], int]

ALPHA, SMALLEST, POWER = 0.05, 0.03, 0.8


def cost(random: Random) -> int:
    """Picodollars, skewed as costs are: lognormal, with a spread as large as its mean."""
    return int(1e9 * exp(random.gauss(0.0, 0.83)))


def narrow(random: Random) -> int:
    """Picodollars with a tenth of their mean as deviation."""
    return int(random.gauss(1e9, 1e8))


def error(random: Random) -> int:
    """One job in fifty fails."""
    return random.random() < 0.02


def score(random: Random) -> int:
    """Millionths of a judge's score, mostly high."""
    return int(1e6 * random.betavariate(8, 2))


@dataclass(slots=True, frozen=True)
class Case:
    """What a simulated job is like; ``shared`` is the spread that a unit's jobs have in common."""

    metric: Metric
    draw: Draw
    jobs: int
    unit: int = 1
    """Jobs of each unit, one after the other."""
    shared: float = 0.0
    every: int = 1
    """Jobs between two looks."""
    smallest: float = SMALLEST
    """What the experiment is tuned for: it must be in reach of so few jobs, else there is nothing to be alarmed by."""


CASES = {
    "cost, skewed": Case(Metric.COST, cost, 1000, smallest=0.3),
    "cost, ten alike a unit": Case(Metric.COST, cost, 4000, unit=10, shared=0.6, every=10, smallest=0.3),
    "cost, hardly spread": Case(Metric.COST, narrow, 1000),
    "error rate": Case(Metric.ERROR_RATE, error, 1000),
    "judge's score": Case(Metric.JUDGE, score, 600),
}


def finds(case: Case, seed: int, *, times: float = 1.0, jobs: int | None = None) -> int | None:
    """After how many jobs of each arm an experiment says that there is a difference; the challenger has ``times``."""
    random, one, other = Random(seed), Moments(), Moments()
    arms, looks_from = ((one, 1.0), (other, times)), LEAST if case.metric.relative else 1
    places, factors = [0, 0], [1.0, 1.0]
    for count in range(1, (jobs or case.jobs) + 1):
        for place, (moments, factor) in enumerate(arms):
            if count % case.unit == 1 or case.unit == 1:
                places[place] = random.randrange(BUCKETS)
                factors[place] = exp(random.gauss(0.0, case.shared)) if case.shared else 1.0
            value = case.draw(random)
            if factor * factors[place] != 1.0:
                value = int(value * factor * factors[place])
            moments.see(value, places[place])
        looks = count >= looks_from and count % case.every == 0
        if looks and differs(case.metric, one, other, alpha=ALPHA, smallest=case.smallest):
            return count
    return None


def false_alarms(case: Case, count: int, *, first: int = 0) -> int:
    """Of so many experiments without a difference."""
    return sum(finds(case, seed) is not None for seed in range(first, first + count))


def jobs_for(difference: float, spread: float) -> int:
    """Jobs of each arm by which a relative difference is found with ``POWER``; ``spread`` is deviation over mean."""
    information = information_for(difference, ALPHA, tuned(SMALLEST, ALPHA), POWER)
    return ceil(2 * spread * spread * information)


NARROW = Case(Metric.COST, narrow, 0)


def power(count: int) -> tuple[int, int]:
    """How many of so many experiments find a real 3 %, by the number of jobs that is told for it."""
    jobs = jobs_for(0.03, 0.1)
    return sum(finds(NARROW, seed, times=1.03, jobs=jobs) is not None for seed in range(count)), jobs


def main() -> None:
    """Print a table: false alarms by case, and what is found of a real difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="experiments a case")
    count = parser.parse_args().count
    print(f"{'without a difference':28} {'experiments':>12} {'false alarms':>13} {'stated':>7} {'CPU s':>7}")
    for name, case in CASES.items():
        began = time.process_time()
        alarms = false_alarms(case, count)
        took = time.process_time() - began
        share, off = alarms / count, 2 * sqrt(alarms) / count
        print(f"{name:28} {count:12,} {share:6.2%} ± {off:.2%} {ALPHA:7.0%} {took:7.1f}", flush=True)
    found, jobs = power(max(200, count // 10))
    print(f"a real 3 % at {jobs:,} jobs an arm: found in {found / max(200, count // 10):.1%}, stated {POWER:.0%}")


if __name__ == "__main__":
    main()
