"""Cancels that came before their job: remembered as long as the stream of cancels keeps them, a few bytes each.

The table forgets in the order in which the stream does, the oldest first, and holds more than the stream can: so what
it forgets for want of room the stream has dropped before, and no cancel that was acknowledged and is still kept is
lost, however many come. It remembers submissions, by their token, not jobs: a cancel of one submission waits for that
one, whichever others of the same id are read meanwhile.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from job_contracts.jobs import Cancel

if TYPE_CHECKING:
    from scheduler.policy.rules import Pace

SWEEP_EVERY = 60.0
"""Seconds between two sweeps of what is too old."""
SLACK = 64
"""One part in so many may be remembered beyond the limit until the next sweep: a sweep of one would cost too much."""
PLAIN: str = Cancel.model_fields["reason"].default
"""The reason that nobody needs to remember."""


class EarlyCancels:
    """Bounded by ``pace.early_cancels`` and ``pace.early_cancel_for``."""

    __slots__ = ("_pace", "_reasons", "_swept", "_times")

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._times: dict[int, float] = {}
        """When each came, the oldest first; a dictionary of two numbers, because there may be more than a million."""
        self._reasons: dict[int, str] = {}
        self._swept = 0.0

    def __len__(self) -> int:
        return len(self._times)

    def remember(self, project: str, job: str, token: str, reason: str, now: float) -> None:
        """A cancel of a submission that is not known (yet, or any more)."""
        key, times, most = _key(project, job, token), self._times, self._pace.early_cancels
        times.pop(key, None)
        times[key] = now
        if reason != PLAIN:
            self._reasons[key] = reason
        if now - self._swept >= SWEEP_EVERY or len(times) > most + most // SLACK:
            self._sweep(now)

    def take(self, project: str, job: str, token: str) -> str | None:
        """The reason, if exactly this submission was cancelled."""
        if not self._times:
            return None
        key = _key(project, job, token)
        if self._times.pop(key, None) is None:
            return None
        return self._reasons.pop(key, PLAIN)

    def _sweep(self, now: float) -> None:
        self._swept = now
        too_many, cutoff = len(self._times) - self._pace.early_cancels, now - self._pace.early_cancel_for
        gone: list[int] = []
        for key, at in self._times.items():
            if len(gone) >= too_many and at >= cutoff:
                break
            gone.append(key)
        for key in gone:
            del self._times[key]
            self._reasons.pop(key, None)


def _key(project: str, job: str, token: str) -> int:
    return int.from_bytes(blake2b(f"{project}\0{job}\0{token}".encode(), digest_size=8).digest(), "big")
