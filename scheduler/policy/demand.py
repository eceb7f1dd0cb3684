"""How many calls at once each pool is asked for: by what is under way there, and by what waits and limits would let go.

What waits is to have begun when its oldest has waited for as long as its lane may (``PATIENCE``): that needs as many
places as jobs times the part of that time that one takes. It is laid on the deployments in the order in which it would
go there, on each only as far as its limit domain sustains: rate of the buckets times seconds of a call (Little's law).
What no domain sustains asks for nobody: more workers do not help against a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_contracts.jobs import LANES
from scheduler.policy.buckets import NEVER
from scheduler.policy.explain import cost
from scheduler.policy.live import LiveGroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scheduler.policy.domains import Domain
    from scheduler.policy.jobs import Job
    from scheduler.policy.tenants import Tenant
    from scheduler.policy.turns import Deployment, Group
    from scheduler.policy.world import World

PATIENCE = {"rt": 5.0, "std": 30.0, "batch": 300.0, "bg": 900.0}
"""Seconds in which the jobs that wait in a lane are to have begun."""
HURRY = 0.5
"""Share of that which is left at least to those whose oldest has waited for longer: a worker takes time to start, and
what piles up meanwhile must not ask for many times of what is needed afterwards."""
FILLED = 0.8
"""Share of its places that a pool should use: the rest is for what comes next."""
SLACK = 1.25
"""Places beyond rate times seconds that limits are held to sustain: calls of one kind are not equally long."""
UNKNOWN = 5.0
"""Seconds that a call is taken for before one has ended; if it takes longer, its end tells."""


@dataclass(slots=True, frozen=True)
class Demand:
    """What one pool is asked for."""

    in_flight: int = 0
    """Attempts that hold a place."""
    waiting: int = 0
    """Jobs that wait and would go there first."""
    held_back: int = 0
    """About how many of those wait for a limit, a breaker or their project, whatever workers there were."""
    wanted: float = 0.0
    """Calls at once."""
    seconds: float = 0.0
    """How long one takes there."""


@dataclass(slots=True)
class _Load:
    """What waits of one group in one lane."""

    lane: int
    group: Group
    head: Job
    """One of them, for the size that they have."""
    waiting: dict[Tenant, int]
    """By project."""
    oldest: float
    """Seconds since the submission of the first of them."""

    @property
    def within(self) -> float:
        """Seconds in which they are to have begun."""
        patience = PATIENCE[LANES[self.lane]]
        return max(patience - max(self.oldest, 0.0), patience * HURRY)


def demands(world: World, now: float) -> Mapping[str, Demand]:
    """By pool, at ``now``; looks at flows, not at jobs, and changes nothing."""
    return _Sum(world, now).of_all(sorted(_loads(world, now), key=lambda load: load.lane))


def _loads(world: World, now: float) -> list[_Load]:
    loads: dict[tuple[Group, int], _Load] = {}
    for route in world.routes.values():
        for group in route.groups:
            for flow in group.flows:
                head = flow.queue.head()
                if head is None:
                    continue
                load = loads.get((group, flow.lane))
                if load is None:
                    load = loads[group, flow.lane] = _Load(flow.lane, group, head, {}, 0.0)
                load.waiting[flow.tenant] = flow.queue.count
                load.oldest = max(load.oldest, now - head.submitted)
    return list(loads.values())


class _Sum:
    """One reckoning: what is left of each domain and each project as loads are laid on them."""

    def __init__(self, world: World, now: float) -> None:
        self._world = world
        self._now = now
        self._bases: dict[str, float] = {}
        """Places for what is under way, by domain."""
        self._rooms: dict[str, float] = {}
        """Places that a domain sustains beyond those."""
        self._tenants: dict[str, float] = {}
        """Attempts that a project may have beside those it has."""
        self._extra = dict.fromkeys(world.pools, 0.0)
        self._waiting = dict.fromkeys(world.pools, 0)
        self._held_back = dict.fromkeys(world.pools, 0.0)

    def of_all(self, loads: Sequence[_Load]) -> Mapping[str, Demand]:
        """Those of the more urgent lanes first."""
        for load in loads:
            self._lay(load)
        return {name: self._demand(name) for name in self._world.pools}

    def _demand(self, name: str) -> Demand:
        pool = self._world.pools[name]
        allowed = pool.allowed
        gates = [gate for gate in self._world.gates.values() if gate.domain.pool is pool]
        wanted = self._extra[name] + sum(self._base(gate.domain, None) for gate in gates)
        if allowed is not None:
            wanted = min(wanted, float(max(allowed, pool.places.used)))
        if pool.places.used or (self._waiting[name] and pool.state == "running"):
            wanted = max(wanted, 1.0)  # be it to find out whether it is well again
        usual = max((_usual(self._served_by(gate.domain)) for gate in gates), default=UNKNOWN)
        return Demand(pool.places.used, self._waiting[name], round(self._held_back[name]), wanted, usual)

    def _lay(self, load: _Load) -> None:
        group, deployments = load.group, load.group.route.deployments
        places = [index for index in group.first if self._open(deployments[index])]
        places = places or [index for index in group.then if self._open(deployments[index])]
        ahead = deployments[(places or [*group.first, *group.then])[0]]
        waiting = sum(load.waiting.values())
        left = startable = self._startable(load, _places(load, ahead))
        asked = 0.0
        if isinstance(group, LiveGroup):
            places = group.ranked(places, self._now)
        # Where the order changes with load each of the others gets a part, and the first what is left.
        turns = [(index, startable / len(places)) for index in places[1:] if isinstance(group, LiveGroup)]
        for index, most in (*turns, *((index, NEVER) for index in places)):
            taken = self._give(load, deployments[index], min(left, most))
            asked += taken
            if deployments[index].gate.domain.pool.seen:  # on a pool without workers nobody counts yet
                left -= taken
        pool = ahead.rule.provider
        self._waiting[pool] += waiting
        self._held_back[pool] += waiting - min(asked, startable)

    def _open(self, deployment: Deployment) -> bool:
        """Whether breaker and operator let something new go there."""
        return deployment.allows(self._now) and deployment.gate.domain.pool.state == "running"

    def _startable(self, load: _Load, places: float) -> float:
        """How many of them their projects let begin in time, of which each needs so many places."""
        startable = 0.0
        for tenant, count in load.waiting.items():
            most = None if tenant.rule is None else tenant.rule.max_in_flight
            if most is None:
                startable += count
                continue
            free = self._tenants.setdefault(tenant.key, float(max(most - tenant.flying, 0)))
            begun = min(float(count), free / places)
            self._tenants[tenant.key] = free - begun * places
            startable += begun
        return startable

    def _give(self, load: _Load, deployment: Deployment, jobs: float) -> float:
        """Lay as many of ``jobs`` on one place as it can take; returns how many those are."""
        domain, places = deployment.gate.domain, _places(load, deployment)
        base = self._base(domain, load)
        room = self._rooms.setdefault(domain.name, max(0.0, self._sustained(domain, load) - base))
        if not deployment.breaker.closed:
            jobs = min(jobs, 1.0)  # one finds out whether it is well again
        taken = min(jobs * places, room)
        self._rooms[domain.name] = room - taken
        self._extra[deployment.rule.provider] += taken
        return taken / places

    def _base(self, domain: Domain, load: _Load | None) -> float:
        """Places for what is under way, and for what comes in its place and a little more, as far as that may."""
        found = self._bases.get(domain.name)
        if found is None:
            used = float(domain.slots.used)
            found = max(used, min(used / FILLED, self._sustained(domain, load)))
            self._bases[domain.name] = found
        return found

    def _sustained(self, domain: Domain, load: _Load | None) -> float:
        """Calls at once that its limits sustain."""
        if self._now < domain.closed_until or domain.pool.state != "running":
            return 0.0
        deployments = self._served_by(domain)
        used, size = domain.slots.used, (0, 0)
        if used:
            size = (domain.reserved_input // used, domain.reserved_output // used)
        elif load is not None and deployments:
            size = cost(self._world, load.head, deployments[0])
        rate = domain.capacity(size)
        most = NEVER if rate == NEVER else max(1.0, rate * SLACK * _usual(deployments))
        return most if domain.slots.limit is None else min(most, float(domain.slots.limit))

    def _served_by(self, domain: Domain) -> Sequence[Deployment]:
        return [each for each in self._world.deployments.values() if each.gate.domain is domain]


def _usual(deployments: Sequence[Deployment]) -> float:
    """How long a call takes, over some of them."""
    weights = [each.flying + 1 for each in deployments]
    seconds = sum(_seconds(each) * weight for each, weight in zip(deployments, weights, strict=True))
    return seconds / max(sum(weights), 1)


def _seconds(deployment: Deployment) -> float:
    """How long a call takes there."""
    if deployment.seconds.count:
        return deployment.seconds.value
    return UNKNOWN if deployment.rule.wait is None else deployment.rule.wait.turnaround


def _places(load: _Load, deployment: Deployment) -> float:
    """Places that one job needs there, so that all have begun in time: of a short call several follow one another."""
    return min(1.0, _seconds(deployment) / load.within)
