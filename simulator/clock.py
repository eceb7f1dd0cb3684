"""The two readings of time the simulator takes, as a seam that tests can stand still."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """``monotonic``: seconds, for windows and pace. ``wall``: seconds of the epoch, for what goes on the wire."""

    def monotonic(self) -> float: ...

    def wall(self) -> float: ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
