"""The gate of a limit domain, and the rings of flows that wait at it: whose turn it is there."""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING

from job_contracts.jobs import LANES
from scheduler.policy.buckets import NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.policy.domains import Domain, Saving
    from scheduler.policy.fairness import Account, Shares
    from scheduler.policy.jobs import Job
    from scheduler.policy.turns import Deployment, Flow, Group


class Ring:
    """The flows of one group and lane at one domain, farthest behind first. A stale entry is corrected when met."""

    __slots__ = ("_bit", "_heap", "group", "lane", "place")

    def __init__(self, group: Group, lane: int, place: int) -> None:
        self.group = group
        self.lane = lane
        self.place = place
        self._bit = 1 << place
        self._heap: list[tuple[float, int, Flow]] = []

    def add(self, flow: Flow) -> None:
        """A flow has work."""
        flow.present |= self._bit
        heappush(self._heap, (flow.accounts[self.place].time, flow.serial, flow))

    def first(self) -> Flow | None:
        """The flow that is farthest behind and may have another attempt, ``None`` if there is none."""
        heap, place = self._heap, self.place
        while heap:
            time, serial, flow = heap[0]
            current = flow.accounts[place].time
            if flow.queue.count == 0:
                self._drop(flow)
            elif flow.tenant.full:
                self._drop(flow)
                flow.tenant.paused[flow] = None
            elif current > time:
                heapreplace(heap, (current, serial, flow))
            else:
                return flow
        return None

    def _drop(self, flow: Flow) -> None:
        heappop(self._heap)
        flow.present &= ~self._bit


class Turn:
    """What a gate has picked: whose turn it is, and which lanes had work when it was."""

    __slots__ = ("account", "deployment", "flow", "job", "waiting")

    def __init__(self, job: Job, flow: Flow, account: Account, deployment: Deployment, waiting: Sequence[int]) -> None:
        self.job = job
        self.flow = flow
        self.account = account
        self.deployment = deployment
        self.waiting = waiting


class Gate:
    """One limit domain and everybody who waits for it."""

    __slots__ = ("beside", "bound", "domain", "kept", "ready", "rings", "saving", "shares", "short")

    def __init__(self, domain: Domain, shares: Shares) -> None:
        self.domain = domain
        self.shares = shares
        self.rings: dict[Ring, None] = {}
        """Those in which somebody waits, in the order they began to."""
        self.ready = False
        """Whether it may still be asked in this round of deciding."""
        self.short: tuple[int, int] | None = None
        """Input and output tokens of the request that it has no room for yet."""
        self.beside: tuple[int, int] | None = None
        """Those of the request that has to leave alone what another one is saving up."""
        self.kept = False
        """Whether its limit has kept somebody in this round."""
        self.bound = NEVER
        """Since when it has done so round after round; infinite while it does not."""
        self.saving: Saving | None = None
        """For the lane whose next request is so large that the others go on meanwhile."""

    def pick(self, *, only: int | None = None, but: int | None = None) -> Turn | None:
        """Whose turn it is, ``None`` if nobody waits who would come here; of one lane, or of all but one."""
        best: list[tuple[Flow, Account, Deployment] | None] = [None] * len(LANES)
        for ring in self.rings:
            lane = ring.lane
            deployment = ring.group.choice()
            if deployment is None or deployment.gate is not self:
                continue
            flow = ring.first()
            if flow is None:
                continue
            account = flow.accounts[ring.place]
            rival = best[lane]
            if rival is None or account.time < rival[1].time or (account is rival[1] and flow.before(rival[0])):
                best[lane] = (flow, account, deployment)
        waiting = [lane for lane, found in enumerate(best) if found is not None]
        if not waiting:
            return None
        asked = waiting
        if only is not None or but is not None:
            asked = [lane for lane in waiting if lane != but and only in {None, lane}]
            if not asked:
                return None
        chosen = best[asked[0] if len(asked) == 1 else self.shares.next_lane(asked)]
        job = None if chosen is None else chosen[0].queue.head()
        return None if chosen is None or job is None else Turn(job, *chosen, waiting)
