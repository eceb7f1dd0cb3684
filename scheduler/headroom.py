"""How much of WORK dispatches may still fill: a full stream would refuse the lease itself (rule R8 of the fence)."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from job_contracts import subjects
from runtime.bus.port import BusError
from runtime.telemetry import INFO, WARNING

if TYPE_CHECKING:
    from scheduler.term import Term

FULL = 0.8
"""Share of WORK that dispatches may fill."""
ALARM = 0.6
"""Share at which operators are told."""
RELIEF = 0.5
"""Share at which they are told that it is over."""
AGAIN = 0.02
"""Seconds between two looks at least, however short room is."""


class Headroom:
    """Counts what lies in WORK, by looking at the stream and adding what was stored since.

    What has left since is not taken off before the next look, so the count is never too low: remnants, which nobody
    counts otherwise, fill the stream as well.
    """

    def __init__(self, term: Term) -> None:
        self._term = term
        self._stream = term.stream(subjects.WORK)
        self._limit = term.config.nats.max_work_messages
        self._max_bytes = -1
        self._messages = self._limit
        """Nothing may be added before the first look."""
        self._bytes = 0
        self._added = (0, 0)
        self._looked = -inf
        self._alarmed = self._held = False

    @property
    def messages(self) -> int:
        """Assignments that may be added."""
        return max(0, int(self._limit * FULL) - self._messages)

    @property
    def bytes(self) -> int:
        """Bytes that may be added; a large number where the stream has no bound."""
        return 2**62 if self._max_bytes <= 0 else max(0, int(self._max_bytes * FULL) - self._bytes)

    def stored(self, messages: int, size: int) -> None:
        """So many messages, of so many bytes together, were (or may have been) added."""
        self._messages += messages
        self._bytes += size
        self._added = self._added[0] + messages, self._added[1] + size

    async def ensure(self, messages: int, size: int) -> None:
        """Look, if it is not certain that there is room for that; without an answer there is none."""
        short = self.messages < messages or self.bytes < size
        if short and self._term.clock.monotonic() - self._looked >= AGAIN:
            try:
                await self.look()
            except BusError as error:
                self._term.telemetry.emit("work.unread", INFO, error=type(error).__name__)

    async def look(self) -> None:
        """Read the stream's own count. Raises BusError."""
        self._looked = self._term.clock.monotonic()
        before = self._added
        state = await self._term.bus.stream_state(self._stream)
        if 0 < state.max_messages < self._limit:
            self._limit = state.max_messages
        self._messages = state.messages - 1 + self._added[0] - before[0]  # without the lease
        self._max_bytes, self._bytes = state.max_bytes, state.bytes + self._added[1] - before[1]
        filled = self._messages / self._limit
        if state.max_bytes > 0:
            filled = max(filled, self._bytes / state.max_bytes)
        self._tell(filled)
        if self._held and self.messages:
            self._term.wake.set()

    def hold(self, *, held: bool) -> None:
        """Whether dispatch has to wait for room; told when it begins and when it is over."""
        if held != self._held:
            if held:
                self._term.telemetry.emit("work.held", WARNING, messages=self._messages, bytes=self._bytes)
            self._term.telemetry.emit("work.holding", value=float(held))
        self._held = held

    def _tell(self, filled: float) -> None:
        self._term.telemetry.emit("work.filled", value=filled)
        if filled >= ALARM and not self._alarmed:
            self._alarmed = True
            self._term.telemetry.emit("work.filling", WARNING, filled=round(filled, 3))
        elif filled < RELIEF and self._alarmed:
            self._alarmed = False
            self._term.telemetry.emit("work.relieved", INFO, filled=round(filled, 3))
