"""How far the leader's clock is from ours, as far as that is certain: grants run out by the leader's."""

from __future__ import annotations

from collections import deque

__all__ = ["LeadersClock"]

SAMPLES = 8
"""Answers to heartbeats of which the quickest is believed; older ones may be another leader's, or of a wrong clock."""


class LeadersClock:
    """Learns from heartbeats, each of which brings the leader's time.

    An answer that took ``r`` seconds tells the difference to within ``r / 2``. Of that range the value nearest to zero
    is taken: clocks that are kept by NTP stay as they are, and only what must be wrong is corrected.
    """

    __slots__ = ("_samples", "ahead")

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self.ahead = 0.0
        """Seconds by which the leader's clock is certainly ahead of ours; negative: behind."""

    def see(self, at: float, *, now: float, took: float) -> None:
        """The leader's clock said ``at`` within the last ``took`` seconds, and ours says ``now`` (both UTC)."""
        doubt = max(0.0, took) / 2
        self._samples.append((doubt, at - (now - doubt)))
        doubt, difference = min(self._samples)
        certain = max(0.0, abs(difference) - doubt)
        self.ahead = certain if difference > 0 else -certain
