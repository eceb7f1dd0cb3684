"""The one place where failures, which travel as values, become the exceptions of ``producer_sdk.errors``."""

from __future__ import annotations

from job_contracts.codec import ContractError
from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import Result
from producer_sdk.answers import Answered
from producer_sdk.errors import (
    BudgetExceeded,
    ConstraintsUnmet,
    Forbidden,
    IdempotencyConflict,
    InvalidRequest,
    JobCancelled,
    JobDead,
    JobExpired,
    JobFailed,
    PenstockError,
    QueueFull,
    Refused,
    UnknownRoute,
)

_K = FailureKind

REFUSALS: dict[FailureKind, type[Refused]] = {
    _K.UNKNOWN_ROUTE: UnknownRoute,
    _K.FORBIDDEN: Forbidden,
    _K.IDEMPOTENCY_CONFLICT: IdempotencyConflict,
    _K.QUEUE_FULL: QueueFull,
    _K.BUDGET: BudgetExceeded,
    _K.CONSTRAINT: ConstraintsUnmet,
}
"""Failures by which the gateway declines a job without having worked on it."""

_AT_ONCE = frozenset({_K.BUDGET, _K.CONSTRAINT})
"""Those that say so only of a job of which nothing was tried."""

_ENDS: dict[JobState, type[JobFailed]] = {
    JobState.CANCELLED: JobCancelled,
    JobState.EXPIRED: JobExpired,
    JobState.DEAD: JobDead,
}

RETRY_QUEUE_FULL = 1.0
"""Seconds to wait when the queue is full and nobody said how long."""


def answered(result: Result) -> Answered:
    """The answer of a succeeded job; any other end raises its error."""
    if result.state is JobState.SUCCEEDED:
        return Answered(result)
    raise ended(result)


def ended(result: Result) -> PenstockError:
    """The error for a terminal record that is not a success."""
    failure = result.failure
    if failure is not None and result.state is JobState.FAILED:
        if failure.kind in REFUSALS and not (failure.kind in _AT_ONCE and result.attempts):
            return refused(failure, job=result.job)
        if failure.kind is _K.INVALID_JOB:
            return invalid(failure, job=result.job)
    kind = _ENDS.get(result.state, JobFailed)
    if failure is None:
        return kind(f"the job ended as {result.state.value}", result=result)
    where = f" at {failure.deployment}" if failure.deployment else ""
    tries = f", after {len(result.attempts)} attempts" if len(result.attempts) > 1 else ""
    message = f"{failure.kind.value}{where}{tries}: {failure.message}"
    return kind(message, result=result, remedy=failure.remedy, field=failure.field)


def refused(failure: Failure, *, job: str | None = None) -> PenstockError:
    """The error for something the gateway declined to do."""
    if failure.kind is _K.INVALID_JOB:
        return invalid(failure, job=job)
    kind = REFUSALS.get(failure.kind, Refused)
    retry_after = failure.retry_after
    if retry_after is None and kind is QueueFull:
        retry_after = RETRY_QUEUE_FULL
    return kind(
        failure.message, field=failure.field, remedy=failure.remedy, job=job, failure=failure, retry_after=retry_after
    )


def invalid(failure: Failure, *, job: str | None = None) -> InvalidRequest:
    """The error for a job the gateway could not read."""
    return InvalidRequest(failure.message, field=failure.field, remedy=failure.remedy, job=job)


def malformed(error: ContractError) -> InvalidRequest:
    """The error for a value that fits no contract (an id, a project name)."""
    return InvalidRequest(str(error), field=error.field or None, remedy=error.remedy or None)


def same_request(job: str, theirs: str, ours: str) -> None:
    """Raise IdempotencyConflict if a job has another body hash than the request that named it by its key."""
    if theirs and theirs != ours:
        raise IdempotencyConflict(
            "this idempotency key belongs to another request, which is untouched",
            field="idempotency_key",
            remedy="use another key, or repeat the request exactly as it was",
            job=job,
        )
