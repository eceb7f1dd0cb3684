"""The record of a decision: who was a candidate, what counted of each, and why the others were passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.decisions import MOST_SAID, MOST_WEIGHED, Choice, Staying, Weighed
from job_contracts.money import dollars
from scheduler.policy.explain import obstacle
from scheduler.policy.live import LiveGroup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from scheduler.policy.jobs import Job
    from scheduler.policy.planning import Planner
    from scheduler.policy.turns import Deployment, Group
    from scheduler.policy.world import World


def choice(world: World, job: Job, group: Group, chosen: Deployment, now: float) -> Choice:
    """Why the job goes to ``chosen`` just now; asked before anything is reserved for it."""
    able = group.able if isinstance(group, LiveGroup) else []
    return _choice(world, job, group, [*able, *group.first, *group.then], now, to=group.route.index(chosen.name))


def likely(world: World, job: Job, group: Group, now: float) -> Choice:
    """Where a job that waits would go now, as far as it is known."""
    places = [*_order(group, group.first, now), *_order(group, group.then, now)]
    free = (index for index in places if not _against(world, job, group, index, now, then=False))
    return _choice(world, job, group, places, now, to=next(free, None))


def _choice(world: World, job: Job, group: Group, places: Sequence[int], now: float, *, to: int | None) -> Choice:
    route, planner = group.route, group.route.planner
    told = list(dict.fromkeys((*places, *range(len(route.deployments)))))[:MOST_WEIGHED]
    if to is not None and to not in told:
        told[-1] = to
    costs = [None] * len(route.deployments) if planner is None else planner.costs(job)
    return Choice(
        strategy=route.rule.strategy,
        deployment=None if to is None else route.deployments[to].name,
        weighed=tuple(
            _weighed(group, index, costs[index], "" if index == to else _against(world, job, group, index, now))
            for index in told
        ),
        session=_staying(planner, job, route.barred(job)),
    )


def _order(group: Group, indexes: list[int], now: float) -> list[int]:
    return group.ranked(indexes, now) if isinstance(group, LiveGroup) else list(indexes)


def _weighed(group: Group, index: int, cost: int | None, against: str) -> Weighed:
    deployment = group.route.deployments[index]
    planner = group.route.planner
    live = planner is not None and planner.strategy.live
    speed = deployment.speed if planner is not None and planner.strategy.timed else None
    return Weighed(
        deployment=deployment.name,
        against=against[:MOST_SAID],
        cost=_dollars(cost),
        seconds=None if speed is None else _rounded(speed.total.most),
        first_token=None if speed is None else _rounded(speed.first_token.most),
        in_flight=deployment.flying if live else None,
        load=_rounded(deployment.load) if live else None,
    )


def _against(world: World, job: Job, group: Group, index: int, now: float, *, then: bool = True) -> str:
    """Why that place does not take it; that another one comes first is none."""
    deployment, route = group.route.deployments[index], group.route
    never = route.unfit(job, index)
    if never is not None:
        return never
    if then and index in group.then:
        return "it failed there in this round"
    if index not in group.first and index not in group.then:
        return "it failed there in a way that would repeat, or money keeps it from there"
    return obstacle(world, job, deployment, now)[0]


def _staying(planner: Planner | None, job: Job, barred: int) -> Staying | None:
    sums = None if planner is None or job.session is None else planner.sums(job, barred)
    if planner is None or sums is None:
        return None
    home = planner.route.deployments[sums.home].name
    return Staying(
        home=home, cached=sums.cached, worth=_dollars(sums.worth), saves=_dollars(sums.saves), stays=sums.stays
    )


def _dollars(amount: int | None) -> Decimal | None:
    return None if amount is None else dollars(amount)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
