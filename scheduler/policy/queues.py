"""Orders of jobs that cost a few bytes each: one project's queue, and the calendar of deadlines.

Jobs that left are not searched for: they are skipped when their turn comes, and swept when too many have piled up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from scheduler.policy.jobs import GONE, QUEUED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scheduler.policy.jobs import Job
    from scheduler.policy.turns import Flow

Key = tuple[int, float, int]
"""Priority, deadline, arrival: smaller is served first."""
SWEEP = 256
"""Entries of jobs that left are tolerated up to this number, or to as many as there are live ones."""
SAMPLE = 4096
"""Entries looked at, at most, to estimate a position."""


def key_of(job: Job) -> Key:
    """The place of a job within its project: priority, then earliest deadline, then arrival."""
    return (job.priority, job.deadline, job.seq)


class Queue:
    """One project's jobs in the order of ``key_of``.

    Jobs mostly arrive in that order: those go to the end of a run, eight bytes each; only the others need a heap.
    """

    __slots__ = ("_dead", "_flow", "_heap", "_last", "_run", "count")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._run: deque[Job] = deque()
        self._heap: list[tuple[int, float, int, Job]] = []
        self._last: Key = (-1, 0.0, 0)
        self._dead = 0
        self.count = 0
        """Jobs that wait here."""

    def push(self, job: Job) -> None:
        """A job joins."""
        self.count += 1
        key = (job.priority, job.deadline, job.seq)
        if not self._run or key > self._last:
            self._run.append(job)
            self._last = key
        else:
            heappush(self._heap, (*key, job))

    def head(self) -> Job | None:
        """The job that is first, ``None`` if there is none."""
        run, heap, flow = self._run, self._heap, self._flow
        while run and (run[0].state != QUEUED or run[0].flow is not flow):
            run.popleft()
            self._dead -= 1
        while heap and (heap[0][3].state != QUEUED or heap[0][3].flow is not flow):
            heappop(heap)
            self._dead -= 1
        if not heap:
            return run[0] if run else None
        first = heap[0][3]
        if not run:
            return first
        other = run[0]
        return first if heap[0][:3] < (other.priority, other.deadline, other.seq) else other

    def pop(self, job: Job) -> None:
        """Remove ``job``, which ``head`` has just returned."""
        self.count -= 1
        if self._run and self._run[0] is job:
            self._run.popleft()
        else:
            heappop(self._heap)

    def leave(self) -> None:
        """A job that waits here has gone; its entry is skipped later."""
        self.count -= 1
        self._dead += 1
        if self._dead > max(SWEEP, self.count):
            self._sweep()

    def jobs(self) -> Iterator[Job]:
        """All that wait, in no particular order."""
        flow = self._flow
        for job in self._run:
            if job.state == QUEUED and job.flow is flow:
                yield job
        for entry in self._heap:
            if entry[3].state == QUEUED and entry[3].flow is flow:
                yield entry[3]

    def ahead(self, job: Job) -> int:
        """About how many would be served before ``job``: entries of jobs that left count until they are swept."""
        key = key_of(job)
        before = bisect_left(self._run, key, key=key_of)
        step = max(1, len(self._heap) // SAMPLE)
        seen = sum(1 for entry in self._heap[::step] if entry[:3] < key) * step
        return min(before + seen, max(0, self.count - 1))

    def _sweep(self) -> None:
        flow = self._flow
        self._run = deque(job for job in self._run if job.state == QUEUED and job.flow is flow)
        self._heap = [entry for entry in self._heap if entry[3].state == QUEUED and entry[3].flow is flow]
        heapify(self._heap)
        self._dead = 0


WIDTH = 1.0
"""Seconds of one page of the calendar."""


class Calendar:
    """Jobs by deadline: pages of a second until they are near, exact order then."""

    __slots__ = ("_count", "_dead", "_near", "_order", "_pages", "_reached")

    def __init__(self) -> None:
        self._pages: dict[int, list[Job]] = {}
        self._order: list[int] = []
        self._near: list[tuple[float, int, Job]] = []
        self._reached = -(2**62)
        self._count = 0
        self._dead = 0

    def add(self, job: Job) -> None:
        """Note the job's deadline."""
        self._count += 1
        page = int(job.deadline // WIDTH)
        if page <= self._reached:
            heappush(self._near, (job.deadline, job.seq, job))
            return
        jobs = self._pages.get(page)
        if jobs is None:
            self._pages[page] = [job]
            heappush(self._order, page)
        else:
            jobs.append(job)

    def due(self, now: float) -> Iterator[Job]:
        """The jobs whose deadline has passed, earliest first, each once."""
        while self._order and self._order[0] * WIDTH <= now:
            page = self._reached = heappop(self._order)
            for job in self._pages.pop(page):
                if job.state == GONE:
                    self._forget()
                else:
                    heappush(self._near, (job.deadline, job.seq, job))
        while self._near and self._near[0][0] <= now:
            job = heappop(self._near)[2]
            self._count -= 1
            if job.state == GONE:
                self._dead = max(0, self._dead - 1)
            else:
                yield job

    def next(self) -> float | None:
        """When to look again."""
        if self._near:
            return self._near[0][0]
        return self._order[0] * WIDTH if self._order else None

    def gone(self, job: Job, now: float) -> None:
        """The job was settled; its entry is skipped later, or swept: on a standby nobody asks for what is due."""
        if job.deadline <= now and job.deadline // WIDTH <= self._reached:
            return
        self._dead += 1
        if self._dead > max(SWEEP, self._count // 2):
            self._sweep()

    def _forget(self) -> None:
        self._count -= 1
        self._dead = max(0, self._dead - 1)

    def _sweep(self) -> None:
        for page in [page for page, jobs in self._pages.items() if any(job.state == GONE for job in jobs)]:
            self._pages[page] = [job for job in self._pages[page] if job.state != GONE]
        for page in [page for page, jobs in self._pages.items() if not jobs]:
            del self._pages[page]
        self._order = list(self._pages)
        heapify(self._order)
        self._near = [entry for entry in self._near if entry[2].state != GONE]
        heapify(self._near)
        self._count = sum(len(jobs) for jobs in self._pages.values()) + len(self._near)
        self._dead = 0
