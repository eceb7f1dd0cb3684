"""What a tail must have handed over and has not: noticed by counting sequences, read again by looking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.bus.port import NotFound

if TYPE_CHECKING:
    from runtime.bus.port import Bus, Handler

MOST = 1_000
"""Gaps remembered of one reading; beyond that neighbours are joined, and the look between them takes longer."""


PATIENCE = 2.0
"""Seconds a tail may be behind its stream before we look ourselves."""


class Gaps:
    """Which sequences of a stream were passed over. Most are nothing: removed messages leave a hole as well."""

    __slots__ = ("_began", "ranges", "top")

    def __init__(self) -> None:
        self.top = 0
        """Highest sequence that was handed over."""
        self.ranges: list[tuple[int, int]] = []
        """First and last sequence of each hole, ascending."""
        self._began = False

    def begin(self) -> None:
        """From here on holes count: before, what was removed earlier leaves too many of them."""
        self._began = True
        self.ranges.clear()

    def read(self, seq: int) -> None:
        """A message was handed over."""
        top = self.top
        if seq > top:
            if seq > top + 1 and self._began and top:  # what lies before the first was not ours to read
                self._note(top + 1, seq - 1)
            self.top = seq

    @property
    def lowest(self) -> int | None:
        """Where the first hole begins, ``None`` if there is none."""
        return self.ranges[0][0] if self.ranges else None

    def _note(self, first: int, last: int) -> None:
        if len(self.ranges) >= MOST:
            first, _ = self.ranges.pop()
        self.ranges.append((first, last))


class Reading:
    """One stream as this term reads it, and how to hand over what was passed over."""

    def __init__(self, kind: str, stream: str, subject: str, gaps: Gaps, handler: Handler) -> None:
        self.kind = kind
        """What a repair is counted as."""
        self.stream = stream
        self._subject = subject
        self._gaps = gaps
        self._handler = handler
        self._awaited = (0, 0, 0.0)
        """What was read, and what there was to read, at a look that first found the two to differ; and when."""

    async def look(self, bus: Bus, now: float) -> int:
        """Hand over what lies in the holes, and beyond the end if nothing was read for ``PATIENCE`` seconds.

        Returns how many messages that were. Raises BusError; then the rest waits for the next look. A hole is looked
        into only on a node that is newer than it, so a stale one cannot make us believe that nothing is there (R4).
        """
        last = (await bus.stream_state(self.stream)).last_seq
        gaps, found = self._gaps, 0
        gaps.top = gaps.top or last
        top, awaited, since = self._awaited
        if top != gaps.top or awaited <= top:
            self._awaited = (gaps.top, last, now)
        elif now - since >= PATIENCE:
            gaps.ranges.append((top + 1, awaited))
        while gaps.ranges and gaps.ranges[0][1] <= last:
            first, end = gaps.ranges[0]
            found += await self._read(bus, first, end)
            del gaps.ranges[0]
            gaps.top = max(gaps.top, end)
        return found

    async def _read(self, bus: Bus, first: int, end: int) -> int:
        found = 0
        while first <= end:
            try:
                message = await bus.next(self.stream, first, self._subject)
            except NotFound:
                break
            if message.seq > end:
                break
            self._handler(message)
            first, found = message.seq + 1, found + 1
        return found
