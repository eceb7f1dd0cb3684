"""How fast a deployment answered lately: percentiles whose observations fade."""

from __future__ import annotations

from math import exp, log

from scheduler.policy.estimates import Average

HALF = 300.0
"""Seconds after which an observation counts half."""
FASTEST = 0.01
STEP = 1.25
"""A percentile is told to within this factor."""
BINS = 56
"""From ``FASTEST`` to about 40 minutes."""
SHARE = 0.9
"""Of the answers keep to what is told."""
_WIDTH = log(STEP)


class Spread:
    """Seconds by frequency, in bins each a quarter wider than the one before."""

    __slots__ = ("_at", "_bins", "_told", "weight")

    def __init__(self) -> None:
        self._bins = [0.0] * BINS
        self._at = 0.0
        self._told: float | None = None
        self.weight = 0.0
        """Observations, faded up to the newest."""

    def see(self, seconds: float, now: float) -> None:
        """One observation."""
        fade = exp(-log(2.0) * max(0.0, now - self._at) / HALF)
        self._bins = [count * fade for count in self._bins]
        place = int(log(max(seconds, FASTEST) / FASTEST) / _WIDTH)
        self._bins[min(place, BINS - 1)] += 1.0
        self.weight = self.weight * fade + 1.0
        self._at = max(self._at, now)
        self._told = None

    def within(self, share: float) -> float:
        """Seconds that this share of the observations surely kept to: the end of their bin."""
        left = share * self.weight
        for index, count in enumerate(self._bins):
            left -= count
            if left <= 0:
                return FASTEST * STEP ** (index + 1)
        return FASTEST * STEP**BINS

    def known(self, now: float) -> float:
        """Observations, faded up to now."""
        return self.weight * exp(-log(2.0) * max(0.0, now - self._at) / HALF)

    @property
    def most(self) -> float | None:
        """Seconds that nine of ten kept to (the middle of their bin), ``None`` before the first."""
        if self._told is None and self.weight:
            left = SHARE * self.weight
            place = BINS - 1
            for index, count in enumerate(self._bins):
                left -= count
                if left <= 0:
                    place = index
                    break
            self._told = FASTEST * STEP ** (place + 0.5)
        return self._told


class Speed:
    """Times of one deployment's answers, and how many were under way when they were taken."""

    __slots__ = ("first_token", "total", "usual")

    def __init__(self) -> None:
        self.first_token = Spread()
        self.total = Spread()
        self.usual = Average()

    def see(self, first_token: float | None, total: float, in_flight: int, now: float) -> None:
        """An answer came, or was given up after so long."""
        self.total.see(total, now)
        if first_token is not None:
            self.first_token.see(first_token, now)
        self.usual.see(in_flight)
