"""Reservations: taken whole when an attempt is granted, owned by that attempt, given back on every exit of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.failures import PERMITS, Bench, Failure, Scope
from scheduler.policy.buckets import NEVER
from scheduler.policy.costs import output_bound, worst
from scheduler.policy.decisions import Dispatch
from scheduler.policy.failover import NOTHING_SPENT
from scheduler.policy.jobs import FLYING, Held, Job

if TYPE_CHECKING:
    from job_contracts.chat import Usage
    from job_contracts.decisions import Choice
    from job_contracts.results import AttemptRecord
    from scheduler.policy.accounts import Accounts
    from scheduler.policy.decisions import Lateness
    from scheduler.policy.domains import Tokens
    from scheduler.policy.gates import Turn
    from scheduler.policy.turns import Deployment
    from scheduler.policy.world import World


def grant(
    turn: Turn,
    tokens: Tokens,
    accounts: Accounts,
    now: float,
    decision: Choice | None = None,
    *,
    late: Lateness | None = None,
) -> Dispatch:
    """Take the reservation for the job's next attempt; the domain and who pays have just said that there is room."""
    job, deployment, gate = turn.job, turn.deployment, turn.deployment.gate
    tenant = job.tenant
    turn.flow.queue.pop(job)
    turn.flow.group.left(job.lane)
    gate.domain.take(tokens, now)
    gate.shares.charge(job.lane, turn.account, tokens[0] + tokens[1], turn.waiting)
    story = job.told()
    story.attempt += 1
    story.held = Held(story.attempt, deployment, tokens, turn.account, now, probe=deployment.breaker.enter())
    story.held.decision = decision
    wall, wallet = accounts.wall(now), job.wallet
    cost = worst(job, deployment, wall)
    if wallet is not None:
        if cost is not None:
            accounts.reserve((tenant.name, job.id, story.attempt), wallet.payers, cost, wall)
        story.held.quotas = wallet.quotas
        for _, quota in wallet.quotas:
            quota.domain.take(tokens, now)
    story.at = deployment.name
    job.state = FLYING
    deployment.flying += 1
    tenant.flying += 1
    tenant.retries.dispatched(now)
    return Dispatch(
        tenant.name,
        job.id,
        job.seq,
        story.attempt,
        job.route_name,
        deployment.name,
        gate.domain.name,
        tokens[0],
        tokens[1],
        story.history,
        story.last_deployment,
        None if story.last is None else story.last.kind.value,
        cost,
        wall,
        output_bound(deployment.rule, job.needs, job.max_output) or None if job.priced else None,
        None if wallet is None else wallet.key,
        decision,
        () if job.demands is None else job.demands.constraints,
        None if job.seat is None else job.seat.begin(wall),
        late,
        draft=story.draft,
    )


def adopt(job: Job, attempt: int, deployment: Deployment, tokens: Tokens) -> None:
    """An earlier owner granted this attempt, long ago: its tokens are in the levels it left, its slot is taken here."""
    gate = deployment.gate
    gate.domain.occupy(tokens)
    account = gate.shares.account(job.lane, job.tenant.key, job.tenant.weight)
    held = job.told().held = Held(attempt, deployment, tokens, account, -NEVER, probe=deployment.breaker.enter())
    held.pending = False
    if job.wallet is not None:
        held.quotas = job.wallet.quotas
        for _, quota in held.quotas:
            quota.domain.occupy(tokens)
    deployment.flying += 1
    job.tenant.flying += 1


def confirm(held: Held, now: float) -> None:
    """The broker has stored the grant."""
    if held.pending:
        held.pending = False
        held.since = now
        held.deployment.gate.domain.confirm(held.tokens, now)
        for payer, quota in held.quotas:
            quota.domain.confirm(held.tokens, now)
            payer.stir()


def release(job: Job, held: Held, used: Tokens, requests: int, now: float) -> None:
    """The attempt is over: what it used takes the place of what it had reserved."""
    confirm(held, now)
    held.deployment.gate.domain.release(held.tokens, used, requests, since=held.since, now=now)
    for payer, quota in held.quotas:
        quota.domain.release(held.tokens, used, requests, since=held.since, now=now)
        payer.stir()
    _let_go(job, held, used)


def drop(job: Job, held: Held, now: float) -> None:
    """Nobody will tell what became of this attempt: it may have cost what was reserved."""
    release(job, held, held.tokens, 1, now)
    held.deployment.breaker.left(probe=held.probe)


def undo(job: Job, held: Held, now: float) -> None:
    """The grant is not in the broker and never will be: as if it had not been made."""
    held.deployment.gate.domain.undo(held.tokens, now)
    for payer, quota in held.quotas:
        quota.domain.undo(held.tokens, now)
        payer.stir()
    held.deployment.breaker.left(probe=held.probe)
    _let_go(job, held, (0, 0))


def _let_go(job: Job, held: Held, used: Tokens) -> None:
    story = job.told()
    if story.second is held:
        story.second = None
    else:
        story.held = None
    held.account.carry += used[0] + used[1] - held.tokens[0] - held.tokens[1]
    held.deployment.flying -= 1
    tenant = job.tenant
    tenant.flying -= 1
    if tenant.paused and not tenant.full:
        paused, tenant.paused = tenant.paused, {}
        for flow in paused:
            flow.enter()


def metered(deployment: Deployment, usage: Usage) -> Tokens:
    """Input and output tokens as the provider counts them against its limits."""
    cached = 0 if deployment.rule.cached_input_counts else usage.cache_read
    return max(0, usage.input - cached), usage.output


def spent(held: Held, failure: Failure, record: AttemptRecord | None, *, called: bool) -> Tokens:
    """What a failed attempt has cost. Where the provider said nothing, as much as it may have counted."""
    if not called:
        return 0, 0
    if record is not None and record.usage.reported and record.usage.total > 0:
        return metered(held.deployment, record.usage)
    if failure.kind in NOTHING_SPENT:
        return 0, 0
    return held.tokens[0], held.tokens[1] if failure.produced else 0


def bench(world: World, held: Held, failure: Failure, now: float) -> None:
    """What the failure says about the place where it happened."""
    permits, deployment = PERMITS[failure.kind], held.deployment
    match permits.bench:
        case Bench.BUCKET:
            deployment.gate.domain.refused(held.granted_at, failure.retry_after, now)
            deployment.breaker.left(probe=held.probe)
        case Bench.BREAKER:
            why = failure.kind.value
            for each in deployment.beside if permits.scope is Scope.PROVIDER else ():
                # The probe of one is the probe of all that were left alone for the same reason.
                each.breaker.failed(why, now, probe=held.probe and each.breaker.why == why)
            deployment.breaker.failed(why, now, probe=held.probe)
        case Bench.QUARANTINE:
            for each in world.siblings(deployment) if permits.scope is Scope.CREDENTIAL else [deployment]:
                each.breaker.quarantine(failure.kind.value, now, probe=held.probe and each is deployment)
        case Bench.NO:
            deployment.breaker.left(probe=held.probe)
