"""What came of an arm's jobs, as whole numbers that are added up: the same sums in whichever order, and from any parts.

Jobs of one unit are alike: one user's sessions are long, one session's prompts all fail. Taken for independent they
would promise more than they hold. So units are spread over buckets by their fingerprint, each bucket is summed, and the
spread of the mean is reckoned between buckets (the ratio estimator of cluster samples, Cochran, Sampling Techniques,
3rd ed., section 9A.3, here with the buckets as random groups, Wolter, Introduction to Variance Estimation, ch. 2), or
between jobs where that is larger. Sums of sums are kept beside the buckets, so that a look costs the same at any size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from job_contracts.experiments import Metric

BUCKETS = 128
FEWEST = 30
"""Buckets that must have jobs before their spread is believed."""
UNITS: dict[Metric, int] = {
    Metric.COST: 10**12,
    Metric.LATENCY: 10**6,
    Metric.ERROR_RATE: 1,
    Metric.FEEDBACK: 10**6,
    Metric.JUDGE: 10**6,
}
"""Whole numbers to one of a metric's units: picodollars, microseconds, jobs, millionths."""

Kept = tuple[int, tuple[tuple[int, int, int], ...]]
"""As it is written down: the sum of squares, and of each bucket that has jobs its number, their count and sum."""


class Moments:
    """Count, sum and sum of squares of whole numbers, by bucket as far as that is needed."""

    __slots__ = ("_counts", "_cross", "_groups", "_pairs", "_sums", "count", "filled", "squares", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.squares = 0
        self.filled = 0
        """Buckets that have jobs."""
        self._counts = [0] * BUCKETS
        self._sums = [0] * BUCKETS
        self._pairs = 0
        """Over the buckets: the sum of count times count; of count times sum; of sum times sum."""
        self._cross = 0
        self._groups = 0

    def see(self, value: int, bucket: int) -> None:
        """One job's."""
        self._add(bucket, 1, value)
        self.squares += value * value

    def add(self, other: Moments) -> None:
        """All that another one has seen."""
        for bucket, count in enumerate(other._counts):
            if count:
                self._add(bucket, count, other._sums[bucket])
        self.squares += other.squares

    def _add(self, bucket: int, count: int, total: int) -> None:
        had, sums = self._counts[bucket], self._sums[bucket]
        self.filled += not had
        self.count += count
        self.total += total
        now, then = had + count, sums + total
        self._pairs += now * now - had * had
        self._cross += now * then - had * sums
        self._groups += then * then - sums * sums
        self._counts[bucket], self._sums[bucket] = now, then

    @property
    def mean(self) -> float:
        """Of what has been seen; 0 before the first."""
        return self.total / self.count if self.count else 0.0

    @property
    def plain(self) -> float:
        """Variance of the mean, were all jobs independent."""
        n = self.count
        return (self.squares * n - self.total * self.total) / (n * n * (n - 1)) if n > 1 else 0.0

    @property
    def grouped(self) -> float:
        """Variance of the mean as the buckets show it, a little larger because so few show it only about.

        Student's quantile at the boundary's z of about 3 is z (1 + (z^2 + 1) / 4 df) (Fisher and Cornish, 1960): so the
        variance is taken 1 + 5 / df times.
        """
        n, total = self.count, self.total
        if self.filled < 2:
            return 0.0
        # Whole numbers up to the division: what is subtracted here is nearly the same, and floats would lose the rest.
        spread = self._groups * n * n - 2 * total * n * self._cross + total * total * self._pairs
        free = self.filled - 1
        return self.filled / free * (1 + 5 / free) * (spread / n**4)

    @property
    def variance(self) -> float:
        """Of the mean, the larger of the two."""
        return max(self.plain, self.grouped)

    @property
    def alike(self) -> float:
        """How many jobs tell as much as one independent one (the design effect, Kish, Survey Sampling, 1965), >= 1.

        While there are too few buckets to see it, each is taken for a single unit whose jobs are all the same.
        """
        if self.filled < FEWEST:
            return max(1.0, self.count / max(1, self.filled))
        plain = self.plain
        return max(1.0, self.grouped / plain) if plain > 0 else 1.0

    def kept(self) -> Kept:
        """To be written down."""
        cells = ((bucket, count, self._sums[bucket]) for bucket, count in enumerate(self._counts) if count)
        return self.squares, tuple(cells)

    @classmethod
    def of(cls, kept: Kept) -> Moments:
        """What was written down."""
        made = cls()
        made.squares = kept[0]
        for bucket, count, total in kept[1]:
            made._add(bucket, count, total)
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moments) and self.kept() == other.kept()

    __hash__ = None  # type: ignore[assignment]  # it changes


@dataclass(slots=True, frozen=True)
class Ended:
    """A job of an arm has ended, as its facts tell it; ``None``: not known, or nothing that counts."""

    bucket: int
    failed: bool
    cost: int | None = None
    """Picodollars, all its attempts together."""
    seconds: float | None = None
    """From its first dispatch, if it succeeded: one that fails at once is not fast."""


@dataclass(slots=True, frozen=True)
class Scored:
    """A score of a job, from 0 to 1; it comes later than the end, or never."""

    bucket: int
    metric: Metric
    score: float


@dataclass(slots=True)
class ArmSums:
    """An arm's moments, by metric."""

    by: dict[Metric, Moments] = field(default_factory=lambda: {metric: Moments() for metric in Metric})

    @property
    def jobs(self) -> int:
        """That have ended."""
        return self.by[Metric.ERROR_RATE].count

    def see(self, told: Ended | Scored) -> None:
        """One fact."""
        if isinstance(told, Scored):
            score = min(1.0, max(0.0, told.score))
            self.by[told.metric].see(round(score * UNITS[told.metric]), told.bucket)
            return
        self.by[Metric.ERROR_RATE].see(int(told.failed), told.bucket)
        if told.cost is not None:
            self.by[Metric.COST].see(told.cost, told.bucket)
        if told.seconds is not None and not told.failed:
            self.by[Metric.LATENCY].see(round(told.seconds * UNITS[Metric.LATENCY]), told.bucket)

    def add(self, other: ArmSums) -> None:
        """All that another one has seen."""
        for metric, moments in other.by.items():
            self.by[metric].add(moments)
