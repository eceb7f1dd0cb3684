"""What a job would cost that is not submitted, and whether it would be accepted: asked, never kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.policy.explain import priced
from scheduler.policy.intake import impossible, refusal
from scheduler.policy.jobs import Job
from scheduler.policy.shortfalls import hopeless, unaffordable
from scheduler.policy.tenants import Tenant

if TYPE_CHECKING:
    from decimal import Decimal

    from job_contracts.failures import Failure
    from scheduler.policy.facts import Submitted
    from scheduler.policy.world import World

Estimated = tuple[str | None, "Decimal | None", "Decimal | None", "Failure | None"]
"""Deployment, US dollars expected and at worst, and why it would be refused."""


def estimate(world: World, fact: Submitted, now: float) -> Estimated:
    """Of a job as it would be if it were submitted now, in the lane that its project may use, without a key."""
    tenant = world.tenants.get(fact.project) or Tenant(fact.project, None)
    route = world.routes.get(fact.route)
    wallet = world.wallet(tenant, fact, now)
    refused = refusal(fact, tenant.rule, route, world.rules, queued=len(tenant.jobs), size=tenant.bytes)
    if route is None:
        return None, None, None, refused
    demands = world.demands(tenant, fact)
    job = Job(fact, tenant, route, now + world.rules.default_deadline, wallet, demands=demands)
    barred = route.barred(job)
    order = () if route.planner is None else route.planner.plan(job, barred).order
    places = order or range(len(route.deployments))
    open_to = [route.deployments[index] for index in places if not barred >> index & 1]
    if not open_to:
        return None, None, None, refused or impossible(job, route)
    reasons = [(place.name, hopeless(world, job, place, now)) for place in open_to]
    may = [place for place, (_, reason) in zip(open_to, reasons, strict=True) if reason is None]
    if refused is None and not may:
        refused = unaffordable(job, route, [(name, reason or "") for name, reason in reasons])
    place = next((each for each in may if not each.benched(now)), (may or open_to)[0])
    return place.name, *priced(world, job, place, now), refused
