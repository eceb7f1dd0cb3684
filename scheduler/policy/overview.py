"""One moment for operators: pools, limits and lanes, counted at once so that the numbers agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from job_contracts.jobs import LANES
from job_contracts.operating import MAX_PROJECTS, Overview, ToldDeployment, ToldLane, ToldLimit, ToldPool, ToldUnit
from scheduler.policy.orders import held

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from job_contracts.jobs import Lane
    from job_contracts.operating import InForce, ToldLeader, ToldWorker
    from job_contracts.scaling import PoolScale
    from scheduler.policy.buckets import Bucket
    from scheduler.policy.domains import Domain
    from scheduler.policy.orders import Target
    from scheduler.policy.pools import Pool
    from scheduler.policy.rules import DomainRule, Unit
    from scheduler.policy.turns import Deployment
    from scheduler.policy.world import World


@dataclass(slots=True, frozen=True)
class Told:
    """What the policy does not know of the moment."""

    at: float
    leader: ToldLeader
    orders: Mapping[Target, InForce] = field(default_factory=dict)
    workers: Mapping[str, Sequence[ToldWorker]] = field(default_factory=dict)
    """By pool."""
    scales: Mapping[str, PoolScale] = field(default_factory=dict)
    """Likewise."""
    unread: int = 0


@dataclass(slots=True)
class _Queue:
    """What waits, by lane."""

    queued: dict[Lane, int] = field(default_factory=dict)
    oldest: dict[Lane, float] = field(default_factory=dict)

    def add(self, lane: Lane, jobs: int, age: float) -> None:
        self.queued[lane] = self.queued.get(lane, 0) + jobs
        self.oldest[lane] = max(self.oldest.get(lane, 0.0), age)


def overview(world: World, told: Told, now: float) -> Overview:
    """The numbers at ``now``; looks at flows, not at jobs, and once at each route and deployment."""
    pools, lanes = _queues(world, now)
    places = _places_of(world)
    return Overview(
        at=told.at,
        leader=told.leader,
        pools=tuple(_pool(pool, places[name], pools.get(name, _Queue()), told) for name, pool in world.pools.items()),
        limits=tuple(_limits(world, told, now)),
        projects=tuple(_projects(world, told, now)),
        lanes=tuple(
            ToldLane(
                name=lane,
                share=world.rules.shares[lane],
                queued=lanes.queued.get(lane, 0),
                oldest=lanes.oldest.get(lane),
            )
            for lane in LANES
        ),
        known=sum(len(tenant.jobs) for tenant in world.tenants.values()),
        in_flight=sum(deployment.flying for deployment in world.deployments.values()),
        unread=told.unread,
    )


def _queues(world: World, now: float) -> tuple[dict[str, _Queue], _Queue]:
    """By pool, each job at the one that it would go to first; and all of them together."""
    pools: dict[str, _Queue] = {}
    lanes = _Queue()
    for route in world.routes.values():
        for group in route.groups:
            pool = route.deployments[(*group.first, *group.then)[0]].rule.provider
            for flow in group.flows:
                head = flow.queue.head()
                if head is not None:
                    told = LANES[flow.lane], flow.queue.count, max(0.0, now - head.submitted)
                    lanes.add(*told)
                    pools.setdefault(pool, _Queue()).add(*told)
    return pools, lanes


@dataclass(slots=True)
class _Place:
    """A deployment, and what it weighs by the ``weighted`` routes that have it, as in force."""

    deployment: Deployment
    weights: dict[str, float] = field(default_factory=dict)


def _places_of(world: World) -> dict[str, list[_Place]]:
    """By pool."""
    places = {name: _Place(deployment) for name, deployment in world.deployments.items()}
    for name, route in world.routes.items():
        if route.rule.strategy == "weighted" and route.planner is not None:
            for deployment, weight in zip(route.deployments, route.planner.standing.weights, strict=True):
                places[deployment.name].weights.setdefault(name, weight)
    found: dict[str, list[_Place]] = {name: [] for name in world.pools}
    for place in places.values():
        found[place.deployment.rule.provider].append(place)
    return found


def _pool(pool: Pool, places: Sequence[_Place], queue: _Queue, told: Told) -> ToldPool:
    name = pool.name
    return ToldPool(
        name=name,
        state=pool.state,
        slots=pool.seen,
        allowed=pool.allowed,
        in_flight=sum(place.deployment.flying for place in places),
        queued={lane: queue.queued[lane] for lane in LANES if lane in queue.queued},
        oldest=max(queue.oldest.values(), default=None),
        order=told.orders.get(("pool", name)),
        workers=tuple(told.workers.get(name, ())),
        scale=told.scales.get(name),
        deployments=tuple(_deployment(place, told) for place in places),
    )


def _deployment(place: _Place, told: Told) -> ToldDeployment:
    one = place.deployment
    return ToldDeployment(
        name=one.name,
        limit=one.rule.domain,
        in_flight=one.flying,
        benched=None if one.breaker.closed else one.breaker.why,
        order=told.orders.get(("deployment", one.name)),
        weights=place.weights,
        weighed=told.orders.get(("weight", one.name)),
    )


def _limits(world: World, told: Told, now: float) -> Iterator[ToldLimit]:
    for name, gate in world.gates.items():
        yield _limit(gate.domain, world.rules.domains[name], told, now)


def _projects(world: World, told: Told, now: float) -> Iterator[ToldLimit]:
    """Those of which something is ordered first, as many as one answer has room for."""
    payers = sorted(held(world).values(), key=lambda payer: ("limit", payer.name) not in told.orders)
    for payer in payers[:MAX_PROJECTS]:
        if payer.quota is not None:
            yield _limit(payer.quota.domain, payer.quota.configured, told, now)


def _limit(domain: Domain, rule: DomainRule, told: Told, now: float) -> ToldLimit:
    configured = {limit.unit: limit.amount for limit in rule.limits}
    units = [_unit(domain, unit, bucket, configured, now) for unit, bucket in domain.buckets.items()]
    if domain.slots.limit is not None:
        units.append(_places(domain, domain.slots.limit, rule.concurrency))
    shut = domain.closed_until > now
    return ToldLimit(
        name=rule.name,
        pool=rule.provider,
        units=tuple(units),
        closed=domain.closed_until - now if shut else None,
        closed_why=domain.closed_why if shut else "",
        order=told.orders.get(("limit", rule.name)),
    )


def _unit(domain: Domain, unit: Unit, bucket: Bucket, configured: Mapping[Unit, float], now: float) -> ToldUnit:
    reserved = {
        "requests": domain.slots.used,
        "input_tokens": domain.reserved_input,
        "output_tokens": domain.reserved_output,
        "tokens": domain.reserved_input + domain.reserved_output,
    }
    return ToldUnit(
        unit=unit,
        limit=bucket.limit.amount,
        configured=configured.get(unit),
        window=bucket.limit.window,
        size=bucket.size,
        available=bucket.level_at(now),
        reserved=reserved[unit],
        pace=bucket.pace,
    )


def _places(domain: Domain, limit: int, configured: int | None) -> ToldUnit:
    used = domain.slots.used
    return ToldUnit(
        unit="concurrency", limit=limit, configured=configured, size=limit, available=limit - used, reserved=used
    )
