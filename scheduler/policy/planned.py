"""What a job would cost that is not submitted, and whether it would be accepted: asked, never kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.desk import Estimate
from scheduler.policy import seats
from scheduler.policy.choices import likely
from scheduler.policy.explain import priced
from scheduler.policy.facts import Submitted
from scheduler.policy.intake import impossible, refusal
from scheduler.policy.jobs import Job
from scheduler.policy.shortfalls import hopeless, unaffordable
from scheduler.policy.tenants import Tenant

if TYPE_CHECKING:
    from job_contracts.decisions import Choice
    from job_contracts.desk import Planned
    from scheduler.policy.turns import Route
    from scheduler.policy.world import World


def estimate(world: World, project: str, planned: Planned, now: float) -> Estimate:
    """Of a job as it would be if it were submitted now, without a key."""
    tenant = world.tenants.get(project) or Tenant(project, None)
    fact = _submission(tenant, planned, now)
    route = world.routes.get(fact.route)
    wallet = world.wallet(tenant, fact, now)
    refused = refusal(fact, tenant.rule, route, world.rules, queued=len(tenant.jobs), size=tenant.bytes)
    if route is None:
        return Estimate(refused=refused)
    demands = world.demands(tenant, fact)
    job = Job(fact, tenant, route, now + world.rules.default_deadline, wallet, demands=demands)
    if fact.route in world.trials.on:
        job.seat = seats.Seat(fact)
        seats.bind(world, job)
        route = world.routes[job.route_name]
    barred = route.barred(job)
    decision = _decision(world, job, route, barred, now) if planned.explain else None
    order = () if route.planner is None else route.planner.plan(job, barred).order
    places = order or range(len(route.deployments))
    open_to = [route.deployments[index] for index in places if not barred >> index & 1]
    if not open_to:
        return Estimate(refused=refused or impossible(job, route), decision=decision)
    reasons = [(place.name, hopeless(world, job, place, now)) for place in open_to]
    may = [place for place, (_, reason) in zip(open_to, reasons, strict=True) if reason is None]
    if refused is None and not may:
        refused = unaffordable(job, route, [(name, reason or "") for name, reason in reasons])
    place = next((each for each in may if not each.benched(now)), (may or open_to)[0])
    expected, worst = priced(world, job, place, now)
    return Estimate(deployment=place.name, expected=expected, worst=worst, refused=refused, decision=decision)


def _submission(tenant: Tenant, planned: Planned, now: float) -> Submitted:
    lane = planned.lane
    if lane is None:
        lane = tenant.rule.lanes[0] if tenant.rule is not None and tenant.rule.lanes else "std"
    return Submitted(
        *(tenant.name, "", 0, planned.route, lane, 5, now, planned.input_estimate, "", ""),
        max_output=planned.max_output,
        session=planned.session,
        needs=planned.needs,
        size=planned.size,
        constraints=planned.constraints,
    )


def _decision(world: World, job: Job, route: Route, barred: int, now: float) -> Choice:
    """As if nobody waited before it. Its group is made for this question: none that is kept knows of it."""
    return likely(world, job, route.imagined(job, barred, 0), now)
