"""What every payer has spent and reserved, by calendar window: exact sums in picodollars.

What is committed of a window is the sum of the facts that count in it, and of the reservations whose facts have not
been seen. Each attempt is in exactly one of the two, so a window holds never more than was checked before it was
granted. Both are told by what time the attempt is charged to, not by when they are heard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from job_contracts.money import WINDOWS, Window, window_end, window_start

HOUR = 3600
LATEST = 2**36
"""UTC seconds beyond which no time is believed."""
KEPT = 8
"""Windows of a kind that one payer keeps, unless more have reservations."""
OVERDUE = 600.0
"""Seconds for which a window that is over is still told to a successor, whose clock may be behind."""
INDEX: dict[Window, int] = {window: index for index, window in enumerate(WINDOWS)}

Sums = Mapping[str, tuple[tuple[float, int], ...]]
"""By window: UTC seconds at which one began, and what was spent in it."""


@dataclass(slots=True, frozen=True)
class Spending:
    """By payer (``project:p``, ``route:r``, ``key:p/k``, ``tag:p/name=value``); windows that are over are left out."""

    payers: Mapping[str, Sums] = field(default_factory=dict)


def hour_of(at: float) -> int:
    """The hour a time lies in; every window begins with one."""
    return int(min(max(at, 0.0), LATEST) // HOUR)


@lru_cache(maxsize=1024)
def starts(hour: int) -> tuple[float, ...]:
    """When the windows began that an hour lies in, in the order of ``WINDOWS``."""
    return tuple(window_start(window, hour * HOUR) for window in WINDOWS)


@lru_cache(maxsize=1024)
def ends(hour: int) -> tuple[float, ...]:
    """When they end."""
    return tuple(window_end(window, hour * HOUR) for window in WINDOWS)


class Cell:
    """One payer's one window."""

    __slots__ = ("reserved", "spent")

    def __init__(self) -> None:
        self.spent = 0
        self.reserved = 0


class Purse:
    """All windows of one payer that matter now."""

    __slots__ = ("_cells", "_hour", "_windows")

    def __init__(self) -> None:
        self._windows: tuple[dict[float, Cell], ...] = tuple({} for _ in WINDOWS)
        self._hour = -1
        self._cells: tuple[Cell, ...] = ()

    def cells(self, at: float) -> tuple[Cell, ...]:
        """The windows that ``at`` (UTC seconds) lies in, in the order of ``WINDOWS``."""
        hour = hour_of(at)
        if hour != self._hour:
            for window, start in zip(self._windows, starts(hour), strict=True):
                if start not in window:
                    window[start] = Cell()
            self._cells = tuple(window[start] for window, start in zip(self._windows, starts(hour), strict=True))
            self._hour = hour
        return self._cells

    def spend(self, amount: int, at: float, wall: float) -> None:
        """It counts in every window of ``at``; less than nothing if a lighter fact said too much."""
        for cell in self.cells(at):
            cell.spent += amount
        if len(self._windows[0]) > KEPT:
            self._drop(wall)

    def reserve(self, amount: int, at: float) -> None:
        """Set aside (or, below 0, no longer) in every window of ``at``."""
        for cell in self.cells(at):
            cell.reserved += amount

    def _drop(self, wall: float) -> None:
        """What is farthest from now goes first: windows that are over, then those that are yet to come."""
        self._hour = -1
        for window, present in zip(self._windows, starts(hour_of(wall)), strict=True):
            free = sorted(start for start, cell in window.items() if not cell.reserved and start != present)
            while len(window) > KEPT and free:
                del window[free.pop(0) if free[0] < present else free.pop()]

    @property
    def reserved(self) -> int:
        """Picodollars of attempts whose facts have not been told."""
        return sum(cell.reserved for cell in self._windows[-1].values())

    def told(self, wall: float) -> dict[str, tuple[tuple[float, int], ...]]:
        """Its sums of windows that are not over."""
        found: dict[str, tuple[tuple[float, int], ...]] = {}
        for name, window in zip(WINDOWS, self._windows, strict=True):
            kept = tuple(
                (start, cell.spent)
                for start, cell in sorted(window.items())
                if cell.spent and window_end(name, start) > wall - OVERDUE
            )
            if kept:
                found[name] = kept
        return found

    def restore(self, sums: Sums) -> None:
        """Start with these."""
        self._hour = -1
        for name, kept in sums.items():
            index = next((place for place, window in enumerate(WINDOWS) if window == name), None)
            for start, spent in kept if index is not None else ():
                self._windows[index or 0].setdefault(float(start), Cell()).spent = int(spent)


REMEMBERED_FOR = 3600
"""Seconds of an attempt's time for which it is remembered that its fact was counted."""
REMEMBERED = 1_000_000
"""Attempts remembered at most; the oldest are forgotten first."""
SWEEP = 4096
_WEIGHT_BITS = 3
_TIME_BITS = 40


class Counted:
    """Which attempts have been counted, how heavily, at what time and with how much; a few bytes each."""

    __slots__ = ("_facts", "_latest", "_since")

    def __init__(self) -> None:
        self._facts: dict[int, int] = {}
        self._latest = 0
        self._since = 0

    def __contains__(self, attempt: int) -> bool:
        return attempt in self._facts

    def get(self, attempt: int) -> tuple[int, float, int] | None:
        """Weight, time and cost of the fact that counts, ``None`` if none is remembered."""
        packed = self._facts.get(attempt)
        if packed is None:
            return None
        rest = packed >> _WEIGHT_BITS
        return packed & (1 << _WEIGHT_BITS) - 1, float(rest & (1 << _TIME_BITS) - 1), rest >> _TIME_BITS

    def note(self, attempt: int, weight: int, at: float, cost: int) -> None:
        """This one counts now."""
        second = int(min(max(at, 0.0), LATEST))
        self._latest = max(self._latest, second)
        self._facts[attempt] = (cost << _TIME_BITS | second) << _WEIGHT_BITS | weight
        self._since += 1
        if self._since >= SWEEP:
            self._since = 0
            self._sweep()

    def _sweep(self) -> None:
        """Facts come about in the order of their times."""
        oldest, too_many = self._latest - REMEMBERED_FOR, len(self._facts) - REMEMBERED
        gone: list[int] = []
        for attempt, packed in self._facts.items():
            if len(gone) >= too_many and (packed >> _WEIGHT_BITS) & (1 << _TIME_BITS) - 1 >= oldest:
                break
            gone.append(attempt)
        for attempt in gone:
            del self._facts[attempt]
