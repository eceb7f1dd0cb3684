"""The submissions a term knows: what an assignment needs of each, and which may be removed from their stream."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict, deque
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING

from scheduler.entries import Entries, Entry, JobKey
from scheduler.readings import Gaps

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["Entry", "JobKey", "Submissions"]

MARKED = 4096
"""Submissions marked as removed up to this number, or to half of all, before the marks are swept."""
REMEMBER = 120.0
"""Seconds a settled job is remembered without asking its record: longer than any producer goes on publishing."""


class Submissions:
    """All submissions that are not known to be removed, and the bookkeeping of their removal.

    Removal is cheap in the common case: everything below the lowest unsettled sequence goes with one purge; only
    finished jobs that lie above a long-lived one are deleted one by one.
    """

    def __init__(self) -> None:
        self.entries = Entries()
        self.floor: Callable[[], int | None] = lambda: None
        """The lowest sequence that may be unread, if there is one: from there on nothing is purged."""
        self.top = 0
        """Highest sequence read so far."""
        self.last_result = 0
        """Highest RES sequence read so far."""
        self._order: deque[int] = deque()
        self._settled: dict[int, float] = {}
        self._recent: OrderedDict[JobKey, tuple[float, int]] = OrderedDict()
        self._results: list[tuple[int, int]] = []
        """A heap of ``(RES sequence, SUBMIT sequence)``: results whose submissions are not known to be removed."""
        self._floor: int | None = None
        """While submissions are still to be read, results cannot be matched with them: the cursor stays here."""
        self._purged = 0
        self._deleted: set[int] = set()
        self.gaps = Gaps()
        """Submissions that were passed over; nothing from there on is purged before it is known what they are."""

    def begin(self, settled: int) -> None:
        """A term begins at an earlier one's cursor: results are read from there, and before their submissions."""
        self.last_result = self._floor = settled

    def all_read(self) -> None:
        """Everything that was stored when the term began has been read."""
        self._floor = None
        self.gaps.begin()

    def follow(self, settled: int, first: int) -> list[int]:
        """Another process leads: it has removed what ended by RES sequence ``settled``, and all below ``first``.

        Returns the sequences from ``first`` on that are removed by that.
        """
        gone: list[int] = []
        self._purged = max(self._purged, first)
        if self._floor is not None:
            self._floor = max(self._floor, settled)
        while self._order and self._order[0] < first:
            self._leave_order()
        while self._results and self._results[0][0] <= settled:
            seq = heappop(self._results)[1]
            if seq >= first:
                self.deleted(seq)
                gone.append(seq)
        self.removable_below()
        return gone

    def add(self, key: JobKey, entry: Entry) -> None:
        """A submission was read."""
        known = self.entries.get(key)
        self.entries[key] = entry
        if known is None or known.seq != entry.seq:
            self._read(entry.seq)

    def skip(self, seq: int, now: float, key: JobKey | None = None) -> None:
        """A message of the stream that is not, or no longer, a job to run (``key``, if it was one): remove it."""
        self._read(seq)
        self._settled[seq] = now
        finished = self._recent.get(key) if key is not None else None
        if finished is not None:
            heappush(self._results, (finished[1], seq))

    def leave(self, seq: int) -> None:
        """A submission was handed over, and stays unread in its stream."""
        self.gaps.read(seq)

    def hold(self, seq: int, key: JobKey | None = None) -> None:
        """A message was read that must stay in the stream until it is ``done`` with; ``key``, if its job has ended."""
        self._read(seq)
        finished = self._recent.get(key) if key is not None else None
        if finished is not None:
            heappush(self._results, (finished[1], seq))

    def done(self, seq: int, now: float) -> None:
        """A message that was held is not needed any more: remove it."""
        self._settled[seq] = now

    def settle(self, key: JobKey, result_seq: int, now: float) -> Entry | None:
        """The job's result exists at ``result_seq`` of RES; returns its entry if it was still known.

        What is ``followed`` stays in the stream until it is ``done`` with, and the cursor before its result.
        """
        self.last_result = max(self.last_result, result_seq)
        self._remember(key, now, result_seq)
        entry = self.entries.pop(key, None)
        if entry is not None:
            if not entry.followed:
                self._settled[entry.seq] = now
            heappush(self._results, (result_seq, entry.seq))
        return entry

    def finished(self, key: JobKey) -> bool:
        """Whether the job is known to have ended recently (a negative answer says nothing about long ago)."""
        return key in self._recent

    def removable_below(self) -> int:
        """The sequence below which nothing is needed, 0 if that has not grown since the last confirmed purge."""
        order, settled, deleted, floor = self._order, self._settled, self._deleted, self.floor()
        while order and (order[0] in settled or order[0] in deleted) and (floor is None or order[0] < floor):
            self._leave_order()
        below = order[0] if order else self.top + 1
        if floor is not None:
            below = min(below, floor)
        if self.gaps.lowest is not None:
            below = min(below, self.gaps.lowest)
        return below if below > max(self._purged, 1) else 0

    def purged(self, below: int) -> None:
        """The purge below that sequence was confirmed."""
        self._purged = max(self._purged, below)

    def stragglers(self, now: float, *, older: float, most: int) -> list[int]:
        """Finished submissions stuck above an unfinished one for ``older`` seconds, to be deleted one by one."""
        found: list[int] = []
        for seq, since in self._settled.items():
            if now - since < older or len(found) >= most:
                break
            found.append(seq)
        return found

    def deleted(self, seq: int) -> None:
        """A straggler is gone."""
        self._settled.pop(seq, None)
        self._deleted.add(seq)
        if len(self._deleted) > max(MARKED, len(self._order) // 2):
            self._sweep()

    def _sweep(self) -> None:
        """Forget what is gone from above a long-lived submission: its place is not needed, only that nobody waits."""
        gone, self._deleted = self._deleted, set()
        self._order = deque(seq for seq in self._order if seq not in gone)
        self._results = [entry for entry in self._results if entry[1] not in gone]
        heapify(self._results)

    def settled_cursor(self) -> int:
        """RES sequence up to which every finished job's submission is known to be removed."""
        results = self._results
        while results and (results[0][1] < self._purged or results[0][1] in self._deleted):
            heappop(results)
        cursor = results[0][0] - 1 if results else self.last_result
        return cursor if self._floor is None else min(cursor, self._floor)

    @property
    def stored(self) -> int:
        """How many messages are held to lie in the stream."""
        return len(self._order) - len(self._deleted)

    def between(self, first: int, last: int) -> list[int]:
        """Sequences from ``first`` to ``last`` that are held to lie in the stream."""
        low, high = bisect_left(self._order, first), bisect_right(self._order, last)
        return [seq for seq in islice(self._order, low, high) if seq not in self._deleted]

    def unfinished(self, seqs: Collection[int]) -> dict[int, JobKey]:
        """Those of ``seqs`` whose jobs have not ended, with their jobs. Looks at every entry: for a few, and rarely."""
        known = ((self.entries.seq(key), key) for key in self.entries) if seqs else ()
        return {seq: key for seq, key in known if seq is not None and seq in seqs}

    def _leave_order(self) -> None:
        seq = self._order.popleft()
        self._settled.pop(seq, None)
        self._deleted.discard(seq)

    def _read(self, seq: int) -> None:
        """Almost always the highest; one that was missed and is read later still has its place in the order, once."""
        self.gaps.read(seq)
        if seq > self.top:
            self._order.append(seq)
            self.top = seq
            return
        place = bisect_left(self._order, seq)
        if place == len(self._order) or self._order[place] != seq:
            self._order.insert(place, seq)

    def _remember(self, key: JobKey, now: float, result_seq: int) -> None:
        recent = self._recent
        recent[key] = (now, result_seq)
        recent.move_to_end(key)
        while recent and next(iter(recent.values()))[0] < now - REMEMBER:
            recent.popitem(last=False)
