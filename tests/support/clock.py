"""A clock that stands still until a test moves it."""

from __future__ import annotations


class ManualClock:
    """Implements ``runtime.clock.Clock``; ``advance`` moves both readings, ``correct`` only the wall (an NTP step)."""

    def __init__(self, *, monotonic: float = 1_000.0, wall: float = 1_750_000_000.0) -> None:
        self._monotonic = monotonic
        self._wall = wall

    def monotonic(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            message = f"a monotonic clock cannot go back by {-seconds} s; use correct() for the wall"
            raise ValueError(message)
        self._monotonic += seconds
        self._wall += seconds

    def correct(self, seconds: float) -> None:
        self._wall += seconds
