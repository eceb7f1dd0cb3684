"""The timeouts of one call with a single timer: what is being waited for, and what the whole may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from job_contracts.failures import FailureKind

__all__ = ["Watch"]

AGAIN = 0.05
"""Seconds, at least, until the second look at what did not come in time: it may be here, and only we were late."""


class Watch:
    """Calls ``fire`` with the kind of the limit that was exceeded, once.

    Moving a limit costs an assignment: the timer looks at the limits when it rings and goes back to sleep if they have
    moved on, so a stream of thousands of tokens sets a handful of timers.

    What is waited for is looked for twice. A process that stood still finds its timer due and the bytes that came
    meanwhile unread; the time by which it was late is given to them, once, before a provider is said to have stalled.
    """

    __slots__ = ("_again", "_due", "_end", "_end_kind", "_fire", "_kind", "_loop", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, fire: Callable[[FailureKind], None], *, total: float, kind: FailureKind
    ) -> None:
        """``total`` seconds from now everything must be over, else it is a failure of ``kind``."""
        self._loop, self._fire = loop, fire
        self._end, self._end_kind = loop.time() + total, kind
        self._due, self._kind, self._again = self._end, kind, False
        self._timer: asyncio.TimerHandle | None = loop.call_at(self._end, self._ring)

    def expect(self, kind: FailureKind, within: float) -> None:
        """From now on: something must come within ``within`` seconds, else it is a failure of ``kind``."""
        self._due, self._kind, self._again = self._loop.time() + within, kind, False
        if self._timer is not None and self._due < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(self._due, self._ring)

    def stop(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        now = self._loop.time()
        if now >= self._end:
            self._timer = None
            self._fire(self._end_kind)
        elif now >= self._due and self._again:
            self._timer = None
            self._fire(self._kind)
        else:
            if now >= self._due:
                self._due, self._again = now + max(AGAIN, now - self._due), True
            self._timer = self._loop.call_at(min(self._due, self._end), self._ring)
