"""Why a job waits, how many are before it, and when it is likely to go: estimates, in words a producer understands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from job_contracts.jobs import LANES, JobState
from job_contracts.money import dollars
from job_contracts.verification import ASKED
from scheduler.policy.buckets import NEVER
from scheduler.policy.costs import worst
from scheduler.policy.jobs import BLOCKED, ENDING, FLYING, PARKED, QUEUED
from scheduler.policy.orders import paused
from scheduler.policy.shortfalls import shortfall

if TYPE_CHECKING:
    from decimal import Decimal

    from job_contracts.jobs import Lane
    from scheduler.policy.jobs import Job
    from scheduler.policy.turns import Deployment, Flow, Group
    from scheduler.policy.world import World


@dataclass(slots=True, frozen=True)
class Explanation:
    """Where a job is now. Times are on the caller's monotonic scale, ``eta`` in seconds from now."""

    state: JobState
    route: str
    lane: Lane
    token: str
    body_hash: str
    submitted: float
    deadline: float
    attempts: int = 0
    deployment: str | None = None
    position: int | None = None
    """About how many jobs would be served before it as things stand: of its own project exactly those that are ahead,
    of others as many as their weights let past in that time."""
    eta: float | None = None
    """Seconds until it is likely to be dispatched; ``None`` if nothing can be said."""
    waiting_for: str | None = None
    estimated_cost: Decimal | None = None
    """US dollars its next attempt is likely to cost, where it would go first; ``None`` where no price is known."""
    worst_cost: Decimal | None = None
    """US dollars that attempt may cost at most."""


def explain(world: World, job: Job, now: float) -> Explanation:
    """What is to be said about a job that is known."""
    story = job.story
    state = JobState.QUEUED
    waiting: str | None = None
    likely, most = _costs(world, job, now)
    position: int | None = None
    eta: float | None = None
    deployment: str | None = None
    if job.state == FLYING and story is not None:
        state = JobState.DISPATCHED
        deployment = story.at
    elif job.state != ENDING:
        waiting, pause = waits_for(world, job, now)
        if pause is not None:
            state = JobState.HELD
        if job.state == QUEUED and job.flow is not None:
            position = _position(job, job.flow)
            eta = max(pause or 0.0, _queueing(world, job, job.flow, position, now))
        else:
            eta = pause
    return Explanation(
        state=state,
        route=job.route_name,
        lane=LANES[job.lane],
        token=job.token,
        body_hash=job.body_hash,
        submitted=job.submitted,
        deadline=job.deadline,
        attempts=0 if story is None else story.attempt,
        deployment=deployment,
        position=position,
        eta=None if eta is None or eta == NEVER else eta,
        waiting_for=waiting,
        estimated_cost=likely,
        worst_cost=most,
    )


def waits_for(world: World, job: Job, now: float) -> tuple[str, float | None]:
    """In words what a job that is not under way waits for, and for how many seconds (``None``: only for its turn)."""
    if job.state == PARKED:
        return _parked(job, now)
    flow = job.flow
    if flow is None:
        return "its turn", None
    if job.state == BLOCKED:
        return _blocked(world, job, flow.group, now)
    if job.tenant.full:
        return f"an attempt of its project to end ({job.tenant.flying} are in flight, as many as it may have)", NEVER
    reasons: list[tuple[float, str]] = []
    for deployment in _places(flow.group):
        reason, pause = obstacle(world, job, deployment, now)
        if not reason:
            return "its turn", None
        reasons.append((pause, f"{deployment.name}: {reason}"))
    return "; ".join(reason for _, reason in reasons), min((pause for pause, _ in reasons), default=NEVER)


def _blocked(world: World, job: Job, group: Group, now: float) -> tuple[str, float | None]:
    """What those that pay for it lack, at the first place where they lack anything."""
    for deployment in _places(group):
        text, pause = shortfall(world, job, deployment, cost(world, job, deployment), now)
        if text:
            return text, pause
    return "the room that jobs before it wait for, too", NEVER


def _costs(world: World, job: Job, now: float) -> tuple[Decimal | None, Decimal | None]:
    """What its next attempt is likely to cost and may cost, in US dollars, at the first place it may go to."""
    if isinstance(job.route, str):
        return None, None
    if job.route.planner is not None and job.state in {QUEUED, BLOCKED} and job.flow is not None:
        return priced(world, job, _places(job.flow.group)[0], now)
    barred = job.route.barred(job)
    place = next((each for index, each in enumerate(job.route.deployments) if not barred >> index & 1), None)
    return (None, None) if place is None else priced(world, job, place, now)


def priced(world: World, job: Job, deployment: Deployment, now: float) -> tuple[Decimal | None, Decimal | None]:
    """What an attempt there is likely to cost and may cost, in US dollars, as far as prices are known."""
    wall, tokens = world.accounts.wall(now), cost(world, job, deployment)
    likely = deployment.tariff.likely(tokens[0], 0 if "embeddings" in job.needs else tokens[1], wall)
    most = worst(job, deployment, wall)
    return None if likely is None else dollars(likely), None if most is None else dollars(most)


def obstacle(world: World, job: Job, deployment: Deployment, now: float) -> tuple[str, float]:
    """Why a deployment would not take the job now ("" if it would), and for how many seconds."""
    breaker, domain = deployment.breaker, deployment.gate.domain
    pool = domain.pool
    if deployment.held or pool.state != "running":
        return paused(deployment, pool), NEVER
    if not deployment.allows(now):
        if now >= breaker.until:
            return f"being probed after {breaker.why}", NEVER
        return f"left alone for {breaker.until - now:.1f} s after {breaker.why}", breaker.until - now
    if pool.seen == 0:
        return f"pool {pool.name} has no live workers", NEVER
    if not pool.places.free:
        return f"all {pool.places.limit} places of pool {pool.name} are taken", NEVER
    if now < domain.closed_until:
        pause = domain.closed_until - now
        return f"limits of {domain.name} are closed for {pause:.1f} s: {domain.closed_why}", pause
    if not domain.slots.free:
        return f"the concurrency limit of {domain.name} is reached ({domain.slots.limit})", NEVER
    pause = domain.wait(cost(world, job, deployment), now)
    if pause > 0:
        units = " and ".join(unit.replace("_", " ") for unit in domain.buckets)
        return f"the limit of {units} of {domain.name} has room in {pause:.1f} s", pause
    return "", 0.0


def cost(world: World, job: Job, deployment: Deployment) -> tuple[int, int]:
    """Input and output tokens to reserve for the job at a deployment."""
    estimates, project, route = world.estimates, job.tenant.name, job.route
    counted = job.estimate if isinstance(route, str) else route.counted(job, deployment.rule)
    if job.story is not None and job.story.draft is not None:
        counted += ASKED + sum(record.usage.output for record in job.story.history if record.failure is None)
    return (
        estimates.input(project, deployment.name, counted),
        estimates.output(project, job.route_name, job.max_output),
    )


def _parked(job: Job, now: float) -> tuple[str, float]:
    story = job.story
    until = job.not_before if job.not_before is not None and job.not_before > now else None
    if story is not None and story.due > now:
        after = "" if story.last is None else f" after {story.last.kind.value}"
        budget = " (its project has used up its retries for now)" if story.owes else ""
        return f"a pause of {story.due - now:.1f} s before it is tried again{after}{budget}", story.due - now
    if until is not None:
        return f"its not_before, in {until - now:.1f} s", until - now
    return "its turn", 0.0


def _places(group: Group) -> list[Deployment]:
    return [group.route.deployments[index] for index in (*group.first, *group.then)]


def _position(job: Job, flow: Flow) -> int:
    mine = flow.queue.ahead(job)
    weight = flow.tenant.weight
    others = 0.0
    for rival in flow.group.flows:
        if rival is not flow and rival.lane == flow.lane:
            others += min(rival.queue.count, mine * rival.tenant.weight / weight)
    return mine + int(others)


def _queueing(world: World, job: Job, flow: Flow, position: int, now: float) -> float:
    """Seconds the queue before it takes at the pace that its domains allow or lately had."""
    tokens = cost(world, job, flow.group.route.deployments[0])
    pace = 0.0
    for gate in flow.group.gates:
        allowed = gate.domain.capacity(tokens)
        pace += allowed if allowed != NEVER else gate.domain.rate(now)
    if position == 0:
        return 0.0
    return position / pace if pace > 0 else NEVER
