"""Who is next: jobs in flows, flows in rings, rings at the gates of limit domains; what cannot go is never visited.

A ``Group`` is all jobs that may go to the same deployments in the same order. A ``Flow`` is one project's jobs of one
group in one lane. At each limit domain a group can reach there is one ``Ring`` a lane: its flows by the project's
virtual time. A ``Gate`` picks: among the rings whose first usable deployment lies in its domain, the lane whose turn it
is, in it the project that is farthest behind, of that the first job. If the domain lacks tokens for exactly this job,
the gate waits for them: whoever comes later cannot slip past, so a large request gets its turn, and a group that may go
elsewhere goes there meanwhile. If that takes long, its lane saves up its share of the refill, and the other lanes go on
with the rest.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING

from job_contracts.jobs import LANES
from scheduler.policy.admission import Admission
from scheduler.policy.breakers import Breaker
from scheduler.policy.buckets import NEVER
from scheduler.policy.costs import Tariff
from scheduler.policy.estimates import LONG_WIDEST, Average
from scheduler.policy.fairness import Shares
from scheduler.policy.queues import Queue, key_of
from scheduler.policy.routes import STRATEGIES
from scheduler.policy.routes.candidates import Candidate, only_vectors, rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scheduler.policy.domains import Domain, Saving
    from scheduler.policy.estimates import Estimates
    from scheduler.policy.fairness import Account
    from scheduler.policy.jobs import Job
    from scheduler.policy.rules import DeploymentRule, RouteRule, Rules
    from scheduler.policy.tenants import Tenant


class Moment:
    """One instant of deciding. ``version`` changes whenever what is usable may have changed."""

    __slots__ = ("now", "version")

    def __init__(self) -> None:
        self.now = 0.0
        self.version = 0


class Deployment:
    """One model at one provider: its breaker, its gate, its load."""

    __slots__ = ("breaker", "flying", "gate", "name", "rule", "seconds", "tariff")

    def __init__(self, rule: DeploymentRule, gate: Gate, rules: Rules) -> None:
        self.rule = rule
        self.name = rule.name
        self.gate = gate
        self.breaker = Breaker(rules.breaker, rules.quarantine)
        self.flying = 0
        self.seconds = Average()
        self.tariff = Tariff(rule.prices)

    def usable(self, now: float) -> bool:
        """Whether it would take a job now, if there are tokens."""
        return self.gate.ready and self.breaker.allows(now)

    def candidate(self, index: int) -> Candidate:
        """What a strategy may know of it."""
        return Candidate(index, self.rule, self.flying, self.seconds.value if self.seconds.count else None)

    def benched(self, now: float) -> bool:
        """Whether waiting for it could take long: its breaker is open, or nobody works there."""
        return not self.breaker.allows(now) or self.gate.domain.pool.seen == 0


class Route:
    """A name that jobs ask for: its deployments and the groups its jobs fall into."""

    __slots__ = (
        "_all_answer", "_estimates", "_fits", "_groups", "_moment", "admission", "deployments", "name", "rule",
        "rules", "trims",
    )  # fmt: skip

    def __init__(
        self,
        rule: RouteRule,
        deployments: Sequence[Deployment],
        moment: Moment,
        estimates: Estimates,
        wall: Callable[[], float],
    ) -> None:
        self.rule = rule
        self.trims = rule.fit == "trim"
        """Whether a conversation that is too long is made shorter."""
        self.name = rule.name
        self.deployments = tuple(deployments)
        self.rules = tuple(deployment.rule for deployment in deployments)
        self.admission = Admission(rule, self.rules, wall)
        windows = [rule.window for rule in self.rules if rule.window is not None]
        # What is surely short enough for all of them, however far its count is off; trimmed, everything is.
        self._fits = NEVER if not windows or self.trims else min(windows) / LONG_WIDEST
        self._all_answer = not any(map(only_vectors, self.rules))
        self._estimates = estimates
        self._moment = moment
        self._groups: dict[tuple[int, int], Group] = {}

    def barred(self, job: Job) -> int:
        """Mask of the deployments that can never serve it, as constraints and calendar stand now."""
        mask = self.admission.barred(job.demands)
        if not job.needs and self._all_answer and job.estimate <= self._fits:
            return mask
        for index, rule in enumerate(self.rules):
            if rejection(rule, job.needs, self.expected(job, rule)) is not None:
                mask |= 1 << index
        return mask

    def unfit(self, job: Job, index: int) -> str | None:
        """Why the deployment at that place can never serve it, ``None`` if it can."""
        rule = self.rules[index]
        return self.admission.reason(index, job.demands) or rejection(rule, job.needs, self.expected(job, rule))

    def expected(self, job: Job, rule: DeploymentRule) -> int:
        """Input tokens by which it is told whether the job fits there: its producer's count, as far as it is right."""
        if self.trims:
            return 0
        return self._estimates.long_input(job.tenant.name, rule.name, job.estimate)

    def counted(self, job: Job, rule: DeploymentRule) -> int:
        """Its producer's count of what will be sent there."""
        if self.trims and rule.window is not None:
            return min(job.estimate, rule.window)
        return job.estimate

    def index(self, deployment: str) -> int | None:
        """The place of a deployment in this route."""
        for index, own in enumerate(self.deployments):
            if own.name == deployment:
                return index
        return None

    @property
    def everywhere(self) -> int:
        """Mask of all its deployments."""
        return (1 << len(self.deployments)) - 1

    def group(self, barred: int, tried: int) -> Group:
        """The group of jobs that must not go to ``barred``, and to ``tried`` only when there is nowhere else."""
        group = self._groups.get((barred, tried))
        if group is None:
            group = self._groups[(barred, tried)] = Group(self, barred, tried, self._moment)
        return group

    @property
    def groups(self) -> Sequence[Group]:
        """All groups so far, in the order they came up."""
        return tuple(self._groups.values())


class Group:
    """Jobs of one route that may go to the same deployments; ``first`` before ``then``."""

    __slots__ = (
        "_choice",
        "_flows",
        "_moment",
        "_queued",
        "_strategy",
        "_version",
        "first",
        "gates",
        "rings",
        "route",
        "then",
    )

    def __init__(self, route: Route, barred: int, tried: int, moment: Moment) -> None:
        self.route = route
        self._moment = moment
        allowed = [index for index in range(len(route.deployments)) if not barred >> index & 1]
        self.first = [index for index in allowed if not tried >> index & 1]
        self.then = [index for index in allowed if tried >> index & 1]
        self._queued = [0] * len(LANES)
        self._flows: dict[tuple[int, str], Flow] = {}
        deployments = [route.deployments[index] for index in allowed]
        self.gates = tuple({deployment.gate.domain.name: deployment.gate for deployment in deployments}.values())
        lanes = range(len(LANES))
        self.rings = [[Ring(self, lane, place) for lane in lanes] for place in range(len(self.gates))]
        self._strategy = STRATEGIES[route.rule.strategy]
        if self._strategy.fixed:
            self.first, self.then = self._ranked(self.first), self._ranked(self.then)
        self._version = -1
        self._choice: Deployment | None = None

    def joined(self, lane: int) -> None:
        """A job more waits in that lane; the first one makes the gates look at its rings."""
        self._queued[lane] += 1
        if self._queued[lane] == 1:
            for gate, rings in zip(self.gates, self.rings, strict=True):
                gate.rings[rings[lane]] = None

    def left(self, lane: int) -> None:
        """A job less waits in that lane."""
        self._queued[lane] -= 1
        if self._queued[lane] == 0:
            for gate, rings in zip(self.gates, self.rings, strict=True):
                del gate.rings[rings[lane]]

    def choice(self) -> Deployment | None:
        """The deployment its next job would go to now, ``None`` if there is none."""
        if self._version != self._moment.version:
            self._version = self._moment.version
            self._choice = self._choose(self._moment.now)
        return self._choice

    def _choose(self, now: float) -> Deployment | None:
        deployments = self.route.deployments
        benched = True
        for index in self.first if self._strategy.fixed else self._ranked(self.first):
            deployment = deployments[index]
            if deployment.usable(now):
                return deployment
            benched = benched and deployment.benched(now)
        if benched:
            for index in self.then if self._strategy.fixed else self._ranked(self.then):
                if deployments[index].usable(now):
                    return deployments[index]
        return None

    def _ranked(self, indexes: Sequence[int]) -> list[int]:
        candidates = [self.route.deployments[index].candidate(index) for index in indexes]
        return [candidate.index for candidate in self._strategy.rank(candidates)]

    def flow(self, lane: int, tenant: Tenant) -> Flow:
        """The flow of one project in one lane."""
        flow = self._flows.get((lane, tenant.name))
        if flow is None:
            accounts = tuple(gate.shares.account(lane, tenant.name, tenant.weight) for gate in self.gates)
            flow = self._flows[(lane, tenant.name)] = Flow(self, lane, tenant, accounts, len(self._flows))
        return flow

    @property
    def flows(self) -> Sequence[Flow]:
        """All flows so far, in the order they came up."""
        return tuple(self._flows.values())


class Flow:
    """One project's jobs of one group in one lane."""

    __slots__ = ("accounts", "group", "lane", "present", "queue", "serial", "tenant")

    def __init__(self, group: Group, lane: int, tenant: Tenant, accounts: Sequence[Account], serial: int) -> None:
        self.group = group
        self.lane = lane
        self.tenant = tenant
        self.accounts = accounts
        """One at each domain of the group, in its order."""
        self.serial = serial
        self.queue = Queue(self)
        self.present = 0
        """Mask of the rings it stands in."""

    def enter(self) -> None:
        """It has work again: start at the present, and stand in the ring of every domain its group can reach."""
        for place, rings in enumerate(self.group.rings):
            self.group.gates[place].shares.arrive(self.lane, self.accounts[place])
            if not self.present >> place & 1:
                rings[self.lane].add(self)

    def before(self, other: Flow) -> bool:
        """Between two flows of one project: whether this one's first job comes before the other's."""
        mine, theirs = self.queue.head(), other.queue.head()
        return mine is not None and (theirs is None or key_of(mine) < key_of(theirs))


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

    __slots__ = ("beside", "domain", "ready", "rings", "saving", "shares", "short")

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
