"""How much of a project's traffic may be repetitions: a storm of retries must not become a second outage."""

from __future__ import annotations

FLOOR = 10.0
"""Retries that are always permitted within the memory."""
HALF_LIFE = 15.0
"""Seconds after which a dispatch or a retry counts half. So long a project has to wait whose retries were used up while
all its providers were away: the share is the same with a long memory, what is short is the wait."""


class RetryBudget:
    """Retries in proportion to dispatches, both fading: ``retries < max(FLOOR, share * dispatches)``."""

    __slots__ = ("_at", "_dispatches", "_retries", "_share")

    def __init__(self, share: float) -> None:
        self._share = share
        self._dispatches = 0.0
        self._retries = 0.0
        self._at = 0.0

    def dispatched(self, now: float) -> None:
        """An attempt starts."""
        if now - self._at > 1.0:
            self._fade(now)
        self._dispatches += 1.0

    def spend(self, now: float) -> bool:
        """Take one retry; False if there is none left for now."""
        self._fade(now)
        if self._retries >= max(FLOOR, self._share * self._dispatches):
            return False
        self._retries += 1.0
        return True

    def note(self, now: float) -> None:
        """A retry that nobody could refuse: it goes where the job has not been yet."""
        self._fade(now)
        self._retries += 1.0

    def _fade(self, now: float) -> None:
        if now <= self._at:
            return
        factor = 0.5 ** ((now - self._at) / HALF_LIFE)
        self._dispatches *= factor
        self._retries *= factor
        self._at = now
