"""Reservations: taken whole when an attempt is granted, owned by that attempt, given back on every exit of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.failures import PERMITS, Bench, Failure, Scope
from scheduler.policy.decisions import Dispatch
from scheduler.policy.failover import NOTHING_SPENT
from scheduler.policy.jobs import FLYING, Held, Job

if TYPE_CHECKING:
    from job_contracts.chat import Usage
    from job_contracts.results import AttemptRecord
    from scheduler.policy.turns import Deployment, Route, Turn
    from scheduler.policy.world import World


def grant(world: World, job: Job, route: Route, turn: Turn, tokens: tuple[int, int], now: float) -> Dispatch:
    """Take the reservation for the job's next attempt; the domain has just said that there is room."""
    deployment, tenant = turn.deployment, job.tenant
    turn.flow.queue.pop(job)
    turn.flow.group.queued[job.lane] -= 1
    deployment.gate.domain.take(*tokens, now)
    deployment.gate.shares.charge(job.lane, turn.account, tokens[0] + tokens[1], turn.waiting)
    story = job.told()
    story.attempt += 1
    probe = deployment.breaker.enter()
    story.held = Held(story.attempt, deployment, tokens, now, probe=probe, pending=True)
    job.state = FLYING
    deployment.flying += 1
    tenant.flying += 1
    tenant.retries.dispatched(now)
    return Dispatch(
        job.tenant.name,
        job.id,
        job.seq,
        story.attempt,
        route.name,
        deployment.name,
        deployment.gate.domain.name,
        tokens[0],
        tokens[1],
        story.history,
        story.last_deployment,
        None if story.last is None else story.last.kind.value,
    )


def adopt(job: Job, attempt: int, deployment: Deployment, tokens: tuple[int, int], now: float) -> None:
    """An earlier owner granted this attempt: its tokens are in the levels it left, its slot is taken here."""
    deployment.gate.domain.occupy(*tokens)
    job.told().held = Held(attempt, deployment, tokens, now, probe=deployment.breaker.enter(), pending=False)
    deployment.flying += 1
    job.tenant.flying += 1


def confirm(held: Held, now: float) -> None:
    """The broker has stored the grant."""
    if held.pending:
        held.pending = False
        held.deployment.gate.domain.confirm(held.input, held.output, now)


def release(job: Job, used: tuple[int, int], requests: int, now: float) -> Held | None:
    """The job's attempt is over: put what it used in the place of what it had reserved. Returns the reservation."""
    story = job.story
    held = None if story is None else story.held
    if story is None or held is None:
        return None
    story.held = None
    confirm(held, now)
    deployment = held.deployment
    deployment.gate.domain.release((held.input, held.output), used, requests, now)
    deployment.flying -= 1
    tenant = job.tenant
    tenant.flying -= 1
    if tenant.paused and not tenant.full:
        paused, tenant.paused = tenant.paused, {}
        for flow in paused:
            flow.enter()
    return held


def metered(deployment: Deployment, usage: Usage) -> tuple[int, int]:
    """Input and output tokens as the provider counts them against its limits."""
    cached = 0 if deployment.rule.cached_input_counts else usage.cache_read
    return max(0, usage.input - cached), usage.output


def spent(held: Held, failure: Failure, record: AttemptRecord | None, *, called: bool) -> tuple[int, int]:
    """What a failed attempt has cost. Where the provider said nothing, as much as it may have counted."""
    if not called:
        return 0, 0
    if record is not None and record.usage.reported and record.usage.total > 0:
        return metered(held.deployment, record.usage)
    if failure.kind in NOTHING_SPENT:
        return 0, 0
    return held.input, held.output if failure.produced else 0


def bench(world: World, held: Held, failure: Failure, now: float) -> None:
    """What the failure says about the place where it happened."""
    permits, deployment = PERMITS[failure.kind], held.deployment
    match permits.bench:
        case Bench.BUCKET:
            deployment.gate.domain.refused(held.granted_at, failure.retry_after, now)
            deployment.breaker.left(probe=held.probe)
        case Bench.BREAKER:
            for each in world.siblings(deployment) if permits.scope is Scope.PROVIDER else [deployment]:
                each.breaker.failed(failure.kind.value, now, probe=held.probe and each is deployment)
        case Bench.QUARANTINE:
            for each in world.siblings(deployment) if permits.scope is Scope.CREDENTIAL else [deployment]:
                each.breaker.quarantine(failure.kind.value, now, probe=held.probe and each is deployment)
        case Bench.NO:
            deployment.breaker.left(probe=held.probe)
