"""What a failed attempt leads to: wait, go on elsewhere, or report, as ``PERMITS`` says, and never without a bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

from job_contracts.failures import Action, Bench, Failure, FailureKind
from job_contracts.jobs import JobState
from scheduler.policy.once_more import pause
from scheduler.policy.routes.candidates import same_domain, smaller_windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.policy.once_more import Standing
    from scheduler.policy.rules import DeploymentRule, Pace

NOTHING_SPENT = frozenset(
    {
        FailureKind.RATE_LIMIT,
        FailureKind.QUOTA_EXHAUSTED,
        FailureKind.OVERLOADED,
        FailureKind.AUTH,
        FailureKind.PERMISSION,
        FailureKind.MODEL_NOT_FOUND,
        FailureKind.CONTEXT_OVERFLOW,
        FailureKind.REQUEST_EXCEEDS_LIMIT,
        FailureKind.UNSUPPORTED_PARAM,
        FailureKind.BAD_REQUEST,
        FailureKind.PREFILL_REFUSED,
        FailureKind.CONNECT,
    }
)
"""Kinds with which a provider turns a request away at the door: its tokens were not metered."""

SAME_AGAIN = frozenset({FailureKind.UNSUPPORTED_PARAM, FailureKind.RESPONSE_TOO_LARGE, FailureKind.CONSTRAINT})
"""Kinds that the same request would meet at the same deployment every time."""

ENDS: dict[FailureKind, JobState] = {
    FailureKind.CANCELLED: JobState.CANCELLED,
    FailureKind.EXPIRED: JobState.EXPIRED,
    FailureKind.POISON: JobState.DEAD,
}
"""How a job ends that ends with this kind; every other kind means failed."""


@dataclass(slots=True, frozen=True)
class Case:
    """What the decision depends on. Masks have one bit for each deployment of the route."""

    job: str
    failure: Failure
    route: Sequence[DeploymentRule]
    failed: int | None
    """Place of the failed deployment in the route, ``None`` if it is no longer in it."""
    input_estimate: int
    counted: int
    """Attempts that count, this one included where its kind counts."""
    deaths: int
    """Workers lost with this job, this time included."""
    tried: int
    barred: int
    benched: int
    """Deployments whose breaker is open now."""
    returns: int
    waits: int
    max_attempts: int
    max_deaths: int
    trims: bool = False
    """Whether a conversation the provider refused as too long comes back to it shorter than it was."""
    standing: Standing | None = None
    """The failed deployment, where the job may go back to it before another one is tried."""
    reports_invalid: bool = False
    """Whether the route has jobs end with an answer that is not what their schema asks for."""


@dataclass(slots=True, frozen=True)
class Requeue:
    """Back into the queue, eligible after ``delay`` seconds.

    ``returns`` if it goes where it has failed before; ``paid`` if that is to come out of its project's retry budget:
    what waits for a breaker to close repeats nothing meanwhile, and what goes elsewhere is no repetition.
    """

    delay: float
    tried: int
    barred: int
    returns: bool = False
    paid: bool = False


@dataclass(slots=True, frozen=True)
class Conclude:
    """The job ends."""

    state: JobState
    failure: Failure


def next_step(case: Case, pace: Pace) -> Requeue | Conclude:
    """One failed attempt, judged."""
    failure, permits = case.failure, case.failure.permits
    if case.failure.kind is FailureKind.WORKER_LOST and case.deaths >= case.max_deaths:
        return Conclude(JobState.DEAD, _poison(case))
    invalid = case.reports_invalid and failure.kind is FailureKind.SCHEMA_VIOLATION
    if permits.action is Action.REPORT or invalid:
        return Conclude(ENDS.get(failure.kind, JobState.FAILED), failure)
    if permits.counts and case.counted >= case.max_attempts:
        return Conclude(JobState.FAILED, exhausted(failure, f"{case.counted} attempts, as many as its route permits"))
    if permits.action is Action.WAIT:
        return Requeue(_waiting(case, pace), case.tried, case.barred)
    return _switch(case, pace)


def _waiting(case: Case, pace: Pace) -> float:
    """A closed bucket is a wait of its own; what came back uncalled goes at once, but not for ever at once."""
    if case.failure.permits.bench is Bench.BUCKET and case.failed is not None:
        again = pause(case.failure, case.standing, alone=False)
        return 0.0 if again is None else max(again, pace.limited)
    return backoff(case.job, case.waits, pace) if case.waits > 0 else 0.0


def _switch(case: Case, pace: Pace) -> Requeue | Conclude:
    barred = case.barred | _hopeless(case)
    everywhere = (1 << len(case.route)) - 1
    open_to = everywhere & ~barred
    if not open_to:
        return Conclude(JobState.FAILED, case.failure)
    tried = case.tried if case.failed is None else case.tried | 1 << case.failed
    untried = open_to & ~tried
    again = pause(case.failure, case.standing, alone=not untried & ~case.benched)
    if again is not None:
        return Requeue(again, case.tried, barred, paid=True)  # as if it had not failed there
    if untried & ~case.benched:
        return Requeue(0.0, tried, barred)
    delay = backoff(case.job, case.returns, pace)
    if case.failure.retry_after is not None:
        delay = max(delay, min(case.failure.retry_after, pace.max_limited))
    paid = bool(open_to & ~case.benched)
    # Once every place has had its turn, a new round begins over all of them.
    return Requeue(delay, tried if untried else 0, barred, returns=True, paid=paid)


def _hopeless(case: Case) -> int:
    """Where this failure would only repeat itself."""
    if case.failed is None:
        return 0
    match case.failure.kind:
        case FailureKind.CONTEXT_OVERFLOW if case.trims:
            return 0  # each time it is trimmed harder
        case FailureKind.CONTEXT_OVERFLOW:
            return smaller_windows(case.route, case.failed, case.input_estimate)
        case FailureKind.REQUEST_EXCEEDS_LIMIT:
            return same_domain(case.route, case.failed)
        case kind if kind in SAME_AGAIN:
            return 1 << case.failed
    return 0


def backoff(job: str, times: int, pace: Pace) -> float:
    """Seconds: doubled with each repetition up to a bound, spread over its upper half by a fingerprint of the job."""
    full = min(pace.backoff * 2.0 ** min(times, 30), pace.max_backoff)
    spread = crc32(f"{job}/{times}".encode()) / 2**32
    return full * (0.5 + 0.5 * spread)


def exhausted(last: Failure, why: str) -> Failure:
    """Given up: says why, and what the last failure was."""
    return Failure(
        kind=FailureKind.RETRIES_EXHAUSTED,
        message=f"given up after {why}; the last failure was {last.kind.value}: {last.message}",
        remedy="try again later, or add a deployment to the route",
        status=last.status,
        code=last.code,
        provider=last.provider,
        deployment=last.deployment,
        produced=last.produced,
    )


def _poison(case: Case) -> Failure:
    return Failure(
        kind=FailureKind.POISON,
        message=f"{case.deaths} workers were lost while they worked on this job; it is set aside",
        remedy="look at the job's dead letter before it is replayed",
        provider=case.failure.provider,
        deployment=case.failure.deployment,
    )
