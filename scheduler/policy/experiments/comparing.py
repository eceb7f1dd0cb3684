"""One arm beside another, by metric: how far they are apart, what is not ruled out, how many jobs are missing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import ceil, inf, log
from typing import TYPE_CHECKING

from scheduler.policy.experiments.moments import FEWEST, UNITS
from scheduler.policy.experiments.sequences import (
    Interval,
    difference_interval,
    half_width,
    information_for,
    log_evidence,
    relative,
    tuned,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from job_contracts.experiments import Experiment, Metric
    from scheduler.policy.experiments.moments import ArmSums, Moments

LEAST = 200
"""Jobs of each arm before means are compared: their law is one of large numbers, and costs are skewed."""
LEAST_INNER = 30
"""Of rates also so many failures, and as many successes: of scores, their sums."""
MOST_TIMES = 2.0**40
"""Beyond so many times the jobs there are, no number is told."""


class Finding(Enum):
    """What a comparison has come to; each but ``OPEN`` is wrong with a chance of ``alpha`` at most, ever."""

    OPEN = "open"
    DIFFERENT = "different"
    SAME = "same"
    """Whatever the difference is, it is smaller than the smallest worth knowing."""


@dataclass(slots=True, frozen=True)
class Difference:
    """The challenger's value against the control's: a share of the control's, or points between 0 and 1."""

    metric: Metric
    estimate: float
    interval: Interval
    finding: Finding
    more: int | None = None
    """Jobs of both arms together until it is likely to be decided; ``None`` if it is, or nothing can be said."""

    @property
    def harm(self) -> Interval:
        """The same interval, larger is worse."""
        low, high = self.interval
        return Interval(-high, -low) if self.metric.more_is_better else Interval(low, high)

    @property
    def harm_seen(self) -> float:
        """The estimate, larger is worse."""
        return -self.estimate if self.metric.more_is_better else self.estimate


def differs(metric: Metric, control: Moments, challenger: Moments, *, alpha: float, smallest: float) -> bool:
    """Whether no difference is ruled out by now: the question that is cheap enough to be asked after each job."""
    if not metric.relative:
        alpha /= 2
        one, other = _told(metric, control), _told(metric, challenger)
        if min(one[0], other[0]) > 0 and log_evidence(one, other, 0.0) >= log(1 / alpha):
            return True
        if not _inner(metric, control, challenger):
            return False
        apart, variance = _apart(metric, control, challenger)
        return _beyond(apart, variance, alpha, smallest)
    if not _enough(control, challenger):
        return False
    apart, variance = _ratio(control, challenger)
    return _beyond(apart, variance, alpha, smallest)


def _beyond(apart: float, variance: float, alpha: float, smallest: float) -> bool:
    return variance > 0 and abs(apart) > half_width(1 / variance, alpha, tuned(smallest, alpha))


def compare(experiment: Experiment, control: ArmSums, challenger: ArmSums) -> Mapping[Metric, Difference]:
    """All metrics of the experiment, at this moment. Takes some milliseconds."""
    made: dict[Metric, Difference] = {}
    for metric in experiment.metrics:
        one, other = control.by[metric], challenger.by[metric]
        found = _means(one, other, experiment) if metric.relative else _rates(metric, one, other, experiment)
        estimate, interval, times = found
        finding = _finding(interval, experiment.smallest)
        more = _more(times, control.jobs + challenger.jobs) if finding is Finding.OPEN else None
        made[metric] = Difference(metric, estimate, interval, finding, more)
    return made


def _finding(interval: Interval, smallest: float) -> Finding:
    if interval.low > 0 or interval.high < 0:
        return Finding.DIFFERENT
    return Finding.SAME if -smallest < interval.low and interval.high < smallest else Finding.OPEN


def _more(times: float, jobs: int) -> int | None:
    """Rounded up to one figure: it is a guess about jobs that are not there yet."""
    if not jobs or times >= MOST_TIMES:
        return None
    more = max(1, ceil((max(times, 1.1) - 1) * jobs))
    size = int(10 ** (len(str(more)) - 1))
    return ceil(more / size) * size


_Found = tuple[float, Interval, float]
"""The estimate, the interval, and how many times the jobs it takes."""


def _enough(*arms: Moments) -> bool:
    return all(arm.count >= LEAST and arm.filled >= FEWEST and arm.total > 0 for arm in arms)


def _ratio(control: Moments, challenger: Moments) -> tuple[float, float]:
    """The logarithm of the ratio of the means and, by the delta method, its variance."""
    one, other = control.mean, challenger.mean
    return log(other / one), control.variance / (one * one) + challenger.variance / (other * other)


def _means(control: Moments, challenger: Moments, experiment: Experiment) -> _Found:
    if min(control.total, challenger.total) <= 0:
        return 0.0, Interval(-1.0, inf), inf
    apart, variance = _ratio(control, challenger)
    if not _enough(control, challenger) or variance <= 0:
        fewest = min(control.count, challenger.count)
        return relative(apart), Interval(-1.0, inf), LEAST / fewest if fewest < LEAST else inf
    alpha, rho = experiment.each, tuned(experiment.smallest, experiment.each)
    half = half_width(1 / variance, alpha, rho)
    target = max(abs(apart), experiment.smallest)
    times = information_for(target, alpha, rho, experiment.power) * variance
    return relative(apart), Interval(relative(apart - half), relative(apart + half)), times


def _told(metric: Metric, moments: Moments) -> tuple[float, float]:
    """Count and sum, as so many independent jobs would have them."""
    alike = moments.alike
    return moments.count / alike, moments.total / UNITS[metric] / alike


def _apart(metric: Metric, control: Moments, challenger: Moments) -> tuple[float, float]:
    """The difference of two means between 0 and 1, and its variance."""
    unit = UNITS[metric]
    return (challenger.mean - control.mean) / unit, (control.variance + challenger.variance) / (unit * unit)


def _inner(metric: Metric, *arms: Moments) -> bool:
    """Whether their sums are far enough from both ends, 0 and 1 a job, for the law of large numbers."""
    unit = UNITS[metric]
    return _enough(*arms) and all(min(arm.total, arm.count * unit - arm.total) >= LEAST_INNER * unit for arm in arms)


def _rates(metric: Metric, control: Moments, challenger: Moments, experiment: Experiment) -> _Found:
    """Two intervals with half of alpha each, and what both leave: one holds from the first job on, one is narrower."""
    one, other = _told(metric, control), _told(metric, challenger)
    if min(one[0], other[0]) <= 0:
        return 0.0, Interval(-1.0, 1.0), inf
    alpha = experiment.each / 2
    rho = tuned(experiment.smallest, alpha)
    apart, variance = _apart(metric, control, challenger)
    low, high = difference_interval(one, other, alpha)
    if _inner(metric, control, challenger) and variance > 0:
        half = half_width(1 / variance, alpha, rho)
        low, high = max(low, apart - half), min(high, apart + half)
    # Where nothing has failed yet, the next job may: half a failure keeps the guess of what is missing from being none.
    spread = max(variance, sum(0.5 / (told[0] * told[0]) for told in (one, other)))
    target = max(abs(apart), experiment.smallest)
    return apart, Interval(low, high), information_for(target, alpha, rho, experiment.power) * spread
