"""The last requests, for tests and for people who look: who asked what, and how it ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from simulator.meter import Outcome, Usage


class Line(NamedTuple):
    """One request. ``at``: seconds of the epoch when it came; ``seconds``: until it took no place any more, which is
    before its last bytes left; ``cost`` in pico-dollars.
    """

    at: float
    seconds: float
    provider: str
    key: str
    model: str
    method: str
    path: str
    headers: dict[bytes, bytes]
    stream: bool
    status: int
    outcome: Outcome
    fault: str
    usage: Usage | None
    cost: int


class Journal:
    """Remembers the last ``size`` requests, in the order in which they ended."""

    def __init__(self, size: int) -> None:
        self._lines: deque[Line] = deque(maxlen=size)

    def write(self, line: Line) -> None:
        self._lines.append(line)

    def last(self, count: int) -> Iterator[Line]:
        """The last ``count``, the oldest first."""
        yield from list(self._lines)[-count:] if count else ()

    def clear(self) -> None:
        self._lines.clear()
