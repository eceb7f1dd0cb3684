"""Server-sent events out of bytes that may be cut anywhere (the WHATWG HTML standard, 9.2.6).

Differences from the standard, on purpose: bytes are not decoded here (JSON readers do it), ``id`` and ``retry`` are
ignored, and ``flush`` gives out an event that the body's end left without its blank line.
"""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"

MAX_EVENT = 16 * 1024 * 1024
"""Default bound of one event in bytes."""


class EventTooLarge(ValueError):
    """An event, or a line of it, is longer than the bound."""


class Events:
    """An incremental parser: feed bytes, take ``(event name or "", data)`` pairs."""

    __slots__ = ("_data", "_held", "_held_size", "_max", "_name", "_size", "_skip_newline", "_started")

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._max = max_event
        self._held: list[bytes] = []  # pieces of a line whose end has not come; joined once, so that cost stays linear
        self._held_size = 0
        self._data: list[bytes] = []
        self._size = 0
        self._name = b""
        self._skip_newline = False
        self._started = False

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The events these bytes complete. Raises EventTooLarge, after which the parser is of no further use."""
        if self._skip_newline and data:
            self._skip_newline = False
            if data[0] == 0x0A:
                data = data[1:]
        if b"\n" not in data and b"\r" not in data:
            if data:
                self._hold(data)
            return []
        if self._held:
            self._held.append(data)
            data = b"".join(self._held)
            self._held, self._held_size = [], 0
        alone = data.count(b"\r") - data.count(b"\r\n")
        if alone:  # ends a line by itself, or is the first half of a pair that was cut
            lines = data.splitlines(keepends=True)
            last = b"" if lines[-1][-1] in b"\r\n" else lines.pop()
            self._skip_newline = not last and lines[-1][-1] == 0x0D
            lines = [line.rstrip(b"\r\n") for line in lines]
        else:
            lines = data.replace(b"\r\n", b"\n").split(b"\n")
            last = lines.pop()
        found = self._take(lines)
        if last:
            self._hold(last)
        return found

    def flush(self) -> list[tuple[str, bytes]]:
        """What the end of the body leaves: the event whose blank line never came, if it has data."""
        lines = [b"".join(self._held), b""] if self._held else [b""]
        self._held, self._held_size = [], 0
        return self._take(lines)

    def _hold(self, piece: bytes) -> None:
        self._held.append(piece)
        self._held_size += len(piece)
        if self._held_size + self._size > self._max:
            raise EventTooLarge

    def _take(self, lines: list[bytes]) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        if not self._started and lines:
            self._started = True
            lines[0] = lines[0].removeprefix(_BOM)
        data = self._data
        for line in lines:
            if not line:
                if data:
                    payload = data[0] if len(data) == 1 else b"\n".join(data)
                    found.append((self._name.decode("utf-8", "replace") if self._name else "", payload))
                    data.clear()
                    self._size = 0
                self._name = b""
            elif line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._size += len(value) + 1
                if self._size > self._max:
                    raise EventTooLarge
                data.append(value)
            elif line.startswith(b"event:"):
                self._name = line[6:].strip(b" ")
            elif line == b"data":
                self._size += 1
                data.append(b"")
        return found
