"""Jobs that wait when experiments come to stand differently: each goes where that sends it, some in every round.

There may be a million of them, and the leader has a lease to renew meanwhile. One whose turn comes before it has been
looked at is looked at then (``Payments.lets``): nothing is dispatched by what held before the change.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from scheduler.policy import seats
from scheduler.policy.jobs import BLOCKED, QUEUED

if TYPE_CHECKING:
    from scheduler.policy.backlog import Backlog
    from scheduler.policy.jobs import Job
    from scheduler.policy.world import World

SLICE = 1_000
"""Jobs looked at in one round: about 20 ms if all of them move."""


class Reseating:
    """Those that are not looked at yet. A further change begins anew."""

    __slots__ = ("_backlog", "_left", "_world")

    def __init__(self, world: World, backlog: Backlog) -> None:
        self._world = world
        self._backlog = backlog
        self._left: deque[Job] = deque()

    @property
    def waiting(self) -> bool:
        """Whether there is more to look at."""
        return bool(self._left)

    def begin(self) -> None:
        """Experiments stand differently: all that take part are to be looked at."""
        tenants = self._world.tenants.values()
        self._left = deque(job for tenant in tenants for job in tenant.jobs.values() if job.seat is not None)
        self._world.trials.unsettled = self.waiting

    def run(self) -> None:
        """Look at the next of them."""
        left = self._left
        for _ in range(min(SLICE, len(left))):
            job = left.popleft()
            if job.state in {QUEUED, BLOCKED} and seats.moves(self._world, job):
                self._backlog.leave(job)
                self._backlog.enqueue(job)
        self._world.trials.unsettled = self.waiting
