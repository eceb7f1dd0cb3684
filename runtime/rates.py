"""Requests a minute of each key, as token buckets of which every edge has its share. Reads no clock.

With N edges each refills 1/N of the rate and holds 1/N of the burst, so together they admit at most
``max(burst, N) + rate * t``, wherever its requests arrive. What one edge does not use is not used by another: a rate
is never multiplied, and it is reached in full only by requests that come to all edges.
"""

from __future__ import annotations

from dataclasses import dataclass

BURST = 10.0
"""Seconds' worth of a rate that may be used at once; one request at least, at each edge."""
UNSURE = 1.0
"""Seconds to wait while it is not known how many share."""


@dataclass(slots=True)
class _Bucket:
    level: float
    filled: float
    since: float


class Rates:
    """The buckets, by key; made when a key is first seen."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def wait(self, key: str, rpm: float, share: float, since: float, now: float) -> float:
        """Take one request, and 0; or nothing, and the seconds after which there is one to take.

        ``share``: this edge's part, 0 while it is not known. ``since``: the moment from which on it has one; before
        that it takes part in nothing, so a bucket begins empty there. Times are those of one monotonic clock.
        """
        if share <= 0:
            return UNSURE
        rate = rpm / 60.0 * share
        most = max(1.0, rate * BURST)
        bucket = self._buckets.get(key)
        if bucket is None or bucket.since != since:
            bucket = self._buckets[key] = _Bucket(0.0, since, since)
        bucket.level = min(most, bucket.level + rate * max(0.0, now - bucket.filled))
        bucket.filled = max(bucket.filled, now)
        if bucket.level >= 1.0:
            bucket.level -= 1.0
            return 0.0
        return (1.0 - bucket.level) / rate
