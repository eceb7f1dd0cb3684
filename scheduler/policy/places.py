"""Jobs by the place of their submission in its stream, so that whoever lists them can go on where they were.

Jobs lie in leaves of 64 places each: 11 bytes a job, where a dictionary of places would take 100.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.policy.jobs import Job

LEAF = 64
STALE = 1024
"""Numbers of leaves that are gone, up to which (or to half of all) they stay in the order."""


class Places:
    """All jobs without a result, in the order of their submissions."""

    __slots__ = ("_leaves", "_order", "_stale")

    def __init__(self) -> None:
        self._leaves: dict[int, list[Job | None]] = {}
        self._order: list[int] = []
        """Numbers of the leaves, ascending; some may be gone."""
        self._stale = 0

    def add(self, job: Job) -> None:
        """A job more."""
        number, place = divmod(job.seq, LEAF)
        leaf = self._leaves.get(number)
        if leaf is None:
            leaf = self._leaves[number] = [None] * LEAF
            self._ordered(number)
        leaf[place] = job

    def remove(self, job: Job) -> None:
        """A job less."""
        number, place = divmod(job.seq, LEAF)
        leaf = self._leaves.get(number)
        if leaf is None or leaf[place] is not job:
            return
        leaf[place] = None
        if not any(leaf):
            del self._leaves[number]
            self._stale += 1
            if self._stale > max(STALE, len(self._order) // 2):
                self._order = [number for number in self._order if number in self._leaves]
                self._stale = 0

    def after(self, place: int) -> Iterator[Job]:
        """Those behind a place, ascending. Nothing may be added or removed while somebody iterates."""
        first, skipped = divmod(place + 1, LEAF)
        order = self._order
        for index in range(bisect_left(order, first), len(order)):
            leaf = self._leaves.get(order[index], ())
            for job in leaf[skipped:] if order[index] == first else leaf:
                if job is not None:
                    yield job

    def before(self, place: int) -> Iterator[Job]:
        """Those before a place, descending; likewise."""
        last, kept = divmod(place, LEAF)
        order = self._order
        for index in range(bisect_left(order, last + 1) - 1, -1, -1):
            leaf = self._leaves.get(order[index], ())
            for job in reversed(leaf[:kept] if order[index] == last else leaf):
                if job is not None:
                    yield job

    def _ordered(self, number: int) -> None:
        order = self._order
        if not order or number > order[-1]:
            order.append(number)
            return
        index = bisect_left(order, number)
        if index < len(order) and order[index] == number:
            self._stale -= 1  # it was gone, and is there again
        else:
            insort(order, number)
