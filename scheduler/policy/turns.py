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

from typing import TYPE_CHECKING

from job_contracts.failures import FailureKind
from job_contracts.jobs import LANES
from scheduler.policy.admission import Admission
from scheduler.policy.breakers import Breaker
from scheduler.policy.buckets import NEVER
from scheduler.policy.costs import Tariff
from scheduler.policy.estimates import LONG_WIDEST, Average
from scheduler.policy.gates import Ring
from scheduler.policy.queues import Queue, key_of
from scheduler.policy.routes.candidates import only_vectors, rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from job_contracts.operating import State
    from scheduler.policy.estimates import Estimates
    from scheduler.policy.fairness import Account
    from scheduler.policy.gates import Gate
    from scheduler.policy.hedging import Hedging
    from scheduler.policy.jobs import Job
    from scheduler.policy.planning import Planner
    from scheduler.policy.rules import DeploymentRule, RouteRule, Rules
    from scheduler.policy.speeds import Speed
    from scheduler.policy.tenants import Tenant
    from scheduler.policy.waits import Waits


GONE = FailureKind.MODEL_NOT_FOUND.value
"""Why a deployment is in quarantine whose provider does not have the model (any more)."""

APART = FailureKind.CONNECT.value
"""Why a deployment is left alone whose provider could not be reached."""


class Moment:
    """One instant of deciding. ``version`` changes whenever what is usable may have changed."""

    __slots__ = ("now", "version")

    def __init__(self) -> None:
        self.now = 0.0
        self.version = 0


class Deployment:
    """One model at one provider: its breaker, its gate, its load."""

    __slots__ = (
        *("beside", "breaker", "flying", "gate", "held", "name", "rule", "said", "seconds", "speed", "state", "tariff"),
    )

    def __init__(self, rule: DeploymentRule, gate: Gate, rules: Rules) -> None:
        self.rule = rule
        self.name = rule.name
        self.gate = gate
        self.breaker = Breaker(rules.breaker, rules.quarantine)
        self.flying = 0
        self.state: State = "running"
        self.held = False
        """Whether an operator lets nothing new go there."""
        self.said = ""
        """Who ordered that and why."""
        self.seconds = Average()
        self.speed: Speed | None = None
        """How fast it answered lately, where a route asks for that."""
        self.tariff = Tariff(rule.prices)
        self.beside: Sequence[Deployment] = ()
        """The other deployments of its provider."""

    def allows(self, now: float) -> bool:
        """Whether operator and breaker let an attempt start now. Where nobody could connect, one probe asks for all
        models.
        """
        if self.held:
            return False
        breaker = self.breaker
        if breaker.closed or not breaker.allows(now):
            return breaker.closed
        return breaker.why != APART or not any(
            each.breaker.probing and each.breaker.why == APART for each in self.beside
        )

    def usable(self, now: float) -> bool:
        """Whether it would take a job now, if there are tokens."""
        return self.gate.ready and self.allows(now)

    @property
    def load(self) -> float:
        """Share of its limits taken with one attempt more: of places, of slots, of what its buckets sustain."""
        domain = self.gate.domain
        used = domain.slots.used
        most = 0.0
        for slots in (domain.pool.places, domain.slots):
            if slots.limit is not None:
                most = max(most, (slots.used + 1) / max(slots.limit, 1))
        if self.seconds.count and domain.buckets:
            size = (domain.reserved_input // used, domain.reserved_output // used) if used else (0, 0)
            most = max(most, (used + 1) / max(domain.capacity(size) * self.seconds.value, 1.0))
        return most

    @property
    def gone(self) -> bool:
        """Whether its provider says that it does not have the model."""
        return self.breaker.why == GONE

    def benched(self, now: float) -> bool:
        """Whether waiting for it could take long: its breaker is open, nobody works there, or it is being emptied."""
        if self.held:
            return self.state == "draining"
        return not self.allows(now) or self.gate.domain.pool.benched


class Route:
    """A name that jobs ask for: its deployments and the groups its jobs fall into."""

    __slots__ = (
        "_all_answer", "_estimates", "_fits", "_groups", "admission",
        "deployments", "hedging", "moment", "name", "planner", "rule", "rules", "timed", "trims", "waits",
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
        self.admission = Admission(rule, self.rules, wall, self._gone)
        windows = [rule.window for rule in self.rules if rule.window is not None]
        # What is surely short enough for all of them, however far its count is off; trimmed, everything is.
        self._fits = NEVER if not windows or self.trims else min(windows) / LONG_WIDEST
        self._all_answer = not any(map(only_vectors, self.rules))
        self._estimates = estimates
        self.moment = moment
        self.planner: Planner | None = None
        """Who makes the order, where it is not the operator's own."""
        self.timed = self.admission.dated
        """Whether time alone decides where its jobs may go: by the calendar, or by what is left to a deadline."""
        self.waits: Waits | None = None
        """Who knows which jobs may go where answers take long, if there is such a place."""
        self.hedging: Hedging | None = None
        """When its attempts are late, and what is left for second ones; ``None`` where none are made."""
        self._groups: dict[tuple[int, int], Group] = {}

    def barred(self, job: Job) -> int:
        """Mask of the deployments that can never serve it, as constraints and calendar stand now."""
        mask = self.closed(job)
        if self.rule.stages is not None:
            mask |= self.rule.stages.closed(job)
        if not job.needs and self._all_answer and job.estimate <= self._fits:
            return mask
        for index, rule in enumerate(self.rules):
            if rejection(rule, job.needs, self.expected(job, rule)) is not None:
                mask |= 1 << index
        return mask

    def closed(self, job: Job) -> int:
        """Mask of the deployments that time keeps it from, beside its constraints: what may change while it waits."""
        mask = self.admission.barred(job.demands)
        return mask if self.waits is None else mask | self.waits.barred(job)

    def unfit(self, job: Job, index: int) -> str | None:
        """Why the deployment at that place can never serve it, ``None`` if it can."""
        rule = self.rules[index]
        reason = self.admission.reason(index, job.demands) or rejection(rule, job.needs, self.expected(job, rule))
        if reason is None and self.rule.stages is not None:
            reason = self.rule.stages.reason(job, index)
        return reason if reason is not None or self.waits is None else self.waits.reason(index, job)

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

    @property
    def keeps_sessions(self) -> bool:
        """Whether a session stays where its prompt cache is, as long as that is worth it."""
        return self.planner is not None and self.rule.affinity

    def _gone(self, deployment: str) -> bool:
        return any(each.name == deployment and each.gone for each in self.deployments)

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
            group = self._groups[(barred, tried)] = Group(self, barred, tried)
        return group

    def group_of(self, job: Job, barred: int, tried: int) -> Group:
        """The group of this job, in the order that is right for it now."""
        return self.group(barred, tried) if self.planner is None else self.planner.group(job, barred, tried)

    def imagined(self, job: Job, barred: int, tried: int) -> Group:
        """The same, made for a question: it is not kept, because to ask must change nothing of the order of groups."""
        return Group(self, barred, tried) if self.planner is None else self.planner.imagined(job, barred, tried)

    @property
    def groups(self) -> Sequence[Group]:
        """All groups so far, in the order they came up."""
        return (*self._groups.values(), *(() if self.planner is None else self.planner.groups))


class Group:
    """Jobs of one route that may go to the same deployments; ``first`` before ``then``."""

    __slots__ = (
        "_choice",
        "_flows",
        "_moment",
        "_queued",
        "_version",
        "first",
        "gates",
        "rings",
        "route",
        "then",
    )

    def __init__(self, route: Route, barred: int, tried: int, order: Sequence[int] | None = None) -> None:
        self.route = route
        self._moment = route.moment
        places = range(len(route.deployments)) if order is None else order
        allowed = [index for index in places if not barred >> index & 1]
        self.first = [index for index in allowed if not tried >> index & 1]
        self.then = [index for index in allowed if tried >> index & 1]
        self._queued = [0] * len(LANES)
        self._flows: dict[tuple[int, str], Flow] = {}
        deployments = [route.deployments[index] for index in allowed]
        self.gates = tuple({deployment.gate.domain.name: deployment.gate for deployment in deployments}.values())
        lanes = range(len(LANES))
        self.rings = [[Ring(self, lane, place) for lane in lanes] for place in range(len(self.gates))]
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
        for index in self.first:
            deployment = deployments[index]
            if deployment.usable(now):
                return deployment
            benched = benched and deployment.benched(now)
        if benched:
            for index in self.then:
                if deployments[index].usable(now):
                    return deployments[index]
        return None

    @property
    def idle(self) -> bool:
        """Whether nobody waits in it."""
        return not any(self._queued)

    def flow(self, lane: int, tenant: Tenant) -> Flow:
        """The flow of one project in one lane."""
        flow = self._flows.get((lane, tenant.key))
        if flow is None:
            accounts = tuple(gate.shares.account(lane, tenant.key, tenant.weight) for gate in self.gates)
            flow = self._flows[(lane, tenant.key)] = Flow(self, lane, tenant, accounts, len(self._flows))
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
