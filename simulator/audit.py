"""What a limit has seen: the most in any window, the smallest bucket that would have sufficed, the refusals (pure)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Watch:
    """Follows the use of one limit of ``limit`` in ``period`` seconds, in constant time a request.

    ``most`` is the largest sum over any window of ``period`` seconds. ``burst`` is the smallest ``B`` for which use
    never exceeded ``B + r*t`` in any interval of length ``t``, with ``r = limit / period``: the largest level of a
    bucket that drains at ``r`` (the running form of the maximum-subarray sum over use minus ``r*t``).
    """

    limit: int
    period: float
    total: int = 0
    most: int = 0
    burst: float = 0.0
    refused: int = 0
    _recent: deque[tuple[float, int]] = field(default_factory=deque)
    _sum: int = 0
    _level: float = 0.0
    _at: float = 0.0

    def note(self, amount: int, now: float) -> None:
        """An amount was taken."""
        self.total += amount
        recent = self._recent
        recent.append((now, amount))
        self._sum += amount
        while recent[0][0] + self.period <= now:
            self._sum -= recent.popleft()[1]
        self.most = max(self.most, self._sum)
        self._level = max(0.0, self._level - (now - self._at) * self.limit / self.period) + amount
        self._at = now
        self.burst = max(self.burst, self._level)

    def note_level(self, level: int) -> None:
        """So many are in progress."""
        self.total += 1
        self.most = max(self.most, level)

    def forget(self) -> None:
        """Start anew; what is still in the window counts on."""
        self.total = self.refused = 0
        self.most, self.burst = 0, 0.0
