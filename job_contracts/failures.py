"""What can go wrong, and what each kind of failure permits: the failover table as data.

Whoever sees a failure names its kind once; everything else (waiting, switching, benching, giving up, whether it counts
as an attempt) is read from ``PERMITS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from job_contracts.codec import Wire


class FailureKind(StrEnum):
    """One name for each way a job or an attempt can fail."""

    # the provider said so
    RATE_LIMIT = "rate_limit"
    QUOTA_EXHAUSTED = "quota_exhausted"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    AUTH = "auth"
    PERMISSION = "permission"
    MODEL_NOT_FOUND = "model_not_found"
    CONTEXT_OVERFLOW = "context_overflow"
    REQUEST_EXCEEDS_LIMIT = "request_exceeds_limit"
    CONTENT_POLICY = "content_policy"
    UNSUPPORTED_PARAM = "unsupported_param"
    BAD_REQUEST = "bad_request"
    MODEL_OUTPUT_INVALID = "model_output_invalid"
    # the connection or the answer broke
    CONNECT = "connect"
    RESET = "reset"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"
    STALLED = "stalled"
    TOTAL_TIMEOUT = "total_timeout"
    STREAM_TRUNCATED = "stream_truncated"
    MALFORMED_RESPONSE = "malformed_response"
    RESPONSE_TOO_LARGE = "response_too_large"
    # our own side
    WORKER_LOST = "worker_lost"
    HANDED_BACK = "handed_back"
    GRANT_EXPIRED = "grant_expired"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    POISON = "poison"
    INVALID_JOB = "invalid_job"
    UNKNOWN_ROUTE = "unknown_route"
    FORBIDDEN = "forbidden"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    QUEUE_FULL = "queue_full"
    NO_DEPLOYMENT = "no_deployment"
    RETRIES_EXHAUSTED = "retries_exhausted"
    INTERNAL = "internal"


class Action(StrEnum):
    """What the scheduler may do next with the job."""

    WAIT = "wait"
    """Not the job's fault: requeue, prefer another deployment now, else wait until the bucket opens."""
    SWITCH = "switch"
    """Go on at another deployment; at the same one only if the route has no other."""
    REPORT = "report"
    """Give the failure to the producer."""


class Bench(StrEnum):
    """What it says about the place where it happened."""

    NO = "no"
    BUCKET = "bucket"
    """Close the limit domain's buckets until the provider's reset."""
    BREAKER = "breaker"
    """Count against the deployment's circuit breaker."""
    QUARANTINE = "quarantine"
    """Take the deployment (or its credential) out until an operator or a probe brings it back."""


class Scope(StrEnum):
    """How far a failure reaches."""

    REQUEST = "request"
    MODEL = "model"
    DEPLOYMENT = "deployment"
    CREDENTIAL = "credential"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Permits:
    """What a kind of failure permits: next action, whether the try counts, what to bench and how far it reaches."""

    action: Action
    counts: bool
    bench: Bench = Bench.NO
    scope: Scope = Scope.REQUEST


_K = FailureKind
_SWITCH_BREAKER = Permits(Action.SWITCH, counts=True, bench=Bench.BREAKER, scope=Scope.DEPLOYMENT)
_REPORT = Permits(Action.REPORT, counts=True)
_REQUEUE = Permits(Action.WAIT, counts=False)

PERMITS: dict[FailureKind, Permits] = {
    _K.RATE_LIMIT: Permits(Action.WAIT, counts=False, bench=Bench.BUCKET, scope=Scope.DEPLOYMENT),
    _K.QUOTA_EXHAUSTED: Permits(Action.SWITCH, counts=True, bench=Bench.QUARANTINE, scope=Scope.CREDENTIAL),
    _K.OVERLOADED: _SWITCH_BREAKER,
    _K.SERVER_ERROR: _SWITCH_BREAKER,
    _K.AUTH: Permits(Action.SWITCH, counts=True, bench=Bench.QUARANTINE, scope=Scope.CREDENTIAL),
    _K.PERMISSION: Permits(Action.SWITCH, counts=True, bench=Bench.QUARANTINE, scope=Scope.DEPLOYMENT),
    _K.MODEL_NOT_FOUND: Permits(Action.SWITCH, counts=True, bench=Bench.QUARANTINE, scope=Scope.MODEL),
    _K.CONTEXT_OVERFLOW: Permits(Action.SWITCH, counts=True, scope=Scope.MODEL),
    _K.REQUEST_EXCEEDS_LIMIT: Permits(Action.SWITCH, counts=True, scope=Scope.DEPLOYMENT),
    _K.CONTENT_POLICY: _REPORT,
    _K.UNSUPPORTED_PARAM: Permits(Action.SWITCH, counts=True, scope=Scope.MODEL),
    _K.BAD_REQUEST: _REPORT,
    _K.MODEL_OUTPUT_INVALID: Permits(Action.SWITCH, counts=True, scope=Scope.MODEL),
    _K.CONNECT: Permits(Action.SWITCH, counts=True, bench=Bench.BREAKER, scope=Scope.PROVIDER),
    _K.RESET: _SWITCH_BREAKER,
    _K.FIRST_TOKEN_TIMEOUT: _SWITCH_BREAKER,
    _K.STALLED: _SWITCH_BREAKER,
    _K.TOTAL_TIMEOUT: _SWITCH_BREAKER,
    _K.STREAM_TRUNCATED: _SWITCH_BREAKER,
    _K.MALFORMED_RESPONSE: _SWITCH_BREAKER,
    _K.RESPONSE_TOO_LARGE: Permits(Action.SWITCH, counts=True, scope=Scope.DEPLOYMENT),
    _K.WORKER_LOST: Permits(Action.WAIT, counts=True),
    _K.HANDED_BACK: _REQUEUE,
    _K.GRANT_EXPIRED: _REQUEUE,
    _K.CANCELLED: _REPORT,
    _K.EXPIRED: _REPORT,
    _K.POISON: _REPORT,
    _K.INVALID_JOB: _REPORT,
    _K.UNKNOWN_ROUTE: _REPORT,
    _K.FORBIDDEN: _REPORT,
    _K.IDEMPOTENCY_CONFLICT: _REPORT,
    _K.QUEUE_FULL: _REPORT,
    _K.NO_DEPLOYMENT: _REPORT,
    _K.RETRIES_EXHAUSTED: _REPORT,
    _K.INTERNAL: _REPORT,
}


class Failure(Wire):
    """One failure as a value: its kind, a sentence for people, and what to do about it."""

    kind: FailureKind
    message: str
    field: str | None = None
    """Dotted path of the offending input, where there is one."""
    remedy: str | None = None
    status: int | None = None
    """HTTP status the provider answered with."""
    code: str | None = None
    """The provider's own error code or type."""
    retry_after: float | None = None
    """Seconds to wait, as the provider said."""
    provider: str | None = None
    deployment: str | None = None
    produced: bool = False
    """True if tokens had already been sent when it failed."""

    @property
    def permits(self) -> Permits:
        """The row of ``PERMITS`` for this kind."""
        return PERMITS[self.kind]
