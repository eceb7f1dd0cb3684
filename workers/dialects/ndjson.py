"""JSON objects on lines of their own (https://github.com/ndjson/ndjson-spec), out of bytes that may be cut anywhere.

A body that is one object over several lines, as people and proxies print it, is taken for one event: no object that
ends on its first line begins with a line that does not end in ``}``.
"""

from __future__ import annotations

from workers.dialects.sse import MAX_EVENT, Events, EventTooLarge

BLANK = b" \t\r\n\xef\xbb\xbf"
"""What may stand before the first object: blanks and a byte order mark."""


class Lines(Events):
    """An incremental parser with the methods of ``Events``; the events have no names."""

    __slots__ = ("_bound", "_pieces", "_printed", "_waiting")

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        super().__init__(max_event)
        self._bound = max_event
        self._pieces: list[bytes] = []  # of a line whose end has not come; joined once, so that cost stays linear
        self._waiting = 0
        self._printed: bool | None = None  # whether the body is one printed object: said by its first line

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The lines these bytes complete. Raises EventTooLarge, after which the parser is of no further use."""
        if self._printed or b"\n" not in data:
            self._keep(data)
            return []
        if self._pieces:
            self._pieces.append(data)
            data = b"".join(self._pieces)
            self._pieces, self._waiting = [], 0
        if self._printed is None:
            data = data.lstrip(BLANK)
            first, end, _ = data.partition(b"\n")
            if not end:
                self._keep(data)
                return []
            self._printed = not first.rstrip().endswith(b"}")
            if self._printed:
                self._keep(data)
                return []
        lines = data.split(b"\n")
        last = lines.pop()
        found = [("", line) for line in lines if line and not line.isspace()]
        if any(len(line) > self._bound for _, line in found):
            raise EventTooLarge
        if last:
            self._keep(last)
        return found

    def flush(self) -> list[tuple[str, bytes]]:
        """What the end of the body leaves: a line without its end."""
        rest = b"".join(self._pieces).strip(BLANK)
        self._pieces, self._waiting = [], 0
        return [("", rest)] if rest else []

    def _keep(self, data: bytes) -> None:
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting > self._bound:
            raise EventTooLarge
