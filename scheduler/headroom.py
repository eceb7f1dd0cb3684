"""How much of WORK dispatches may still fill: a full stream would refuse the lease itself (rule R8 of the fence)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts import subjects
from runtime.telemetry import INFO, WARNING

if TYPE_CHECKING:
    from collections.abc import Callable

    from scheduler.term import Term

FULL = 0.8
"""Share of WORK that dispatches may fill."""
ALARM = 0.6
"""Share at which operators are told."""
RELIEF = 0.5
"""Share at which they are told that it is over."""


class Headroom:
    """Counts what lies in WORK: what is in flight, and what is left over there beside it.

    Between two looks at the stream it reckons upward only: what was stored since is added, what has left is not taken
    off before the next look. ``flights``: how many assignments must be there by our own account.
    """

    def __init__(self, term: Term, flights: Callable[[], int]) -> None:
        self._term = term
        self._flights = flights
        self._stream = term.stream(subjects.WORK)
        self._messages = term.config.nats.max_work_messages
        self._max_bytes = -1
        self._left_over = 0
        self._bytes = self._added = 0
        self._alarmed = self._held = False

    @property
    def messages(self) -> int:
        """Assignments that may be added."""
        return max(0, int(self._messages * FULL) - self._flights() - self._left_over)

    @property
    def bytes(self) -> int:
        """Bytes that may be added; a large number where the stream has no bound."""
        return 2**62 if self._max_bytes <= 0 else max(0, int(self._max_bytes * FULL) - self._bytes)

    def stored(self, size: int) -> None:
        """So many bytes were (or may have been) added."""
        self._bytes += size
        self._added += size

    async def look(self) -> None:
        """Read the stream's own count. Raises BusError."""
        before = self._added
        state = await self._term.bus.stream_state(self._stream)
        if 0 < state.max_messages < self._messages:
            self._messages = state.max_messages
        self._max_bytes, self._bytes = state.max_bytes, state.bytes + self._added - before
        self._left_over = max(0, state.messages - 1 - self._flights())  # without the lease
        filled = (state.messages - 1) / self._messages
        if state.max_bytes > 0:
            filled = max(filled, state.bytes / state.max_bytes)
        self._tell(filled)
        if self._held and self.messages:
            self._term.wake.set()

    def held(self, *, held: bool) -> None:
        """Whether dispatch has to wait for room; told when it begins."""
        if held and not self._held:
            self._term.telemetry.emit("work.held", WARNING, in_flight=self._flights(), left_over=self._left_over)
            self._term.telemetry.emit("work.holding", value=1.0)
        elif self._held and not held:
            self._term.telemetry.emit("work.holding", value=0.0)
        self._held = held

    def _tell(self, filled: float) -> None:
        self._term.telemetry.emit("work.filled", value=filled)
        if filled >= ALARM and not self._alarmed:
            self._alarmed = True
            self._term.telemetry.emit("work.filling", WARNING, filled=round(filled, 3), left_over=self._left_over)
        elif filled < RELIEF and self._alarmed:
            self._alarmed = False
            self._term.telemetry.emit("work.relieved", INFO, filled=round(filled, 3))
