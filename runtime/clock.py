"""Where the time comes from: a clock is passed in, never asked of the platform, so that tests can hold it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings in seconds: ``monotonic`` for intervals and buckets, ``wall`` for what crosses the wire."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back, means nothing to another process."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch, as this machine believes; may jump when the machine's clock is corrected."""
        ...


class SystemClock:
    """The platform's clocks."""

    def monotonic(self) -> float:
        """Seconds of ``time.monotonic``."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds of ``time.time``."""
        return time.time()
