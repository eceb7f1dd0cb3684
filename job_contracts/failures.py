"""What can go wrong, and what each kind of failure permits: the failover table as data.

Whoever sees a failure names its kind once; everything else (waiting, switching, benching, giving up, whether it counts
as an attempt) is read from ``PERMITS``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated

from pydantic import BeforeValidator

from job_contracts.codec import Wire


class FailureKind(StrEnum):
    """One name for each way a job or an attempt can fail."""

    # the provider said so
    RATE_LIMIT = "rate_limit"
    """The provider turned the call away because a limit per time was reached."""
    QUOTA_EXHAUSTED = "quota_exhausted"
    """The credential has no money or no quota left."""
    OVERLOADED = "overloaded"
    """The provider has no capacity just now (503, 529)."""
    SERVER_ERROR = "server_error"
    """The provider failed for a reason of its own (5xx)."""
    AUTH = "auth"
    """The provider does not accept the credential (401)."""
    PERMISSION = "permission"
    """The credential may not use this deployment (403)."""
    MODEL_NOT_FOUND = "model_not_found"
    """The provider does not know the model, or no longer has it."""
    CONTEXT_OVERFLOW = "context_overflow"
    """The conversation does not fit into the model's context window."""
    REQUEST_EXCEEDS_LIMIT = "request_exceeds_limit"
    """The request alone is larger than the provider accepts or than a whole limit allows."""
    CONTENT_POLICY = "content_policy"
    """The provider declined the content."""
    UNSUPPORTED_PARAM = "unsupported_param"
    """The model cannot do something the job asks for."""
    BAD_REQUEST = "bad_request"
    """The provider holds the request to be wrong for another reason (400)."""
    PREFILL_REFUSED = "prefill_refused"
    """The provider turned away a request to go on with an answer that another attempt had begun."""
    MODEL_OUTPUT_INVALID = "model_output_invalid"
    """The model produced something its provider could not make an answer of."""
    SCHEMA_VIOLATION = "schema_violation"
    """The answer came whole, and is not the JSON that the job's schema asks for."""
    # the connection or the answer broke
    CONNECT = "connect"
    """No connection came about: refused, unreachable, name unknown, TLS failed, or too slow."""
    RESET = "reset"
    """The connection broke after the request was sent: before the answer, or within it."""
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"
    """No first token came in time."""
    STALLED = "stalled"
    """Tokens came and then stopped for too long."""
    TOTAL_TIMEOUT = "total_timeout"
    """The whole answer took too long."""
    STREAM_TRUNCATED = "stream_truncated"
    """The answer ended before its terminator."""
    MALFORMED_RESPONSE = "malformed_response"
    """The answer is not in the form the dialect defines."""
    RESPONSE_TOO_LARGE = "response_too_large"
    """The answer is larger than a worker accepts."""
    # our own side
    WORKER_LOST = "worker_lost"
    """The worker fell silent with the attempt in its hands."""
    HANDED_BACK = "handed_back"
    """A worker that was ending gave the attempt back."""
    GRANT_EXPIRED = "grant_expired"
    """The permission to call ran out before a worker began."""
    CANCELLED = "cancelled"
    """The producer asked to stop."""
    EXPIRED = "expired"
    """The job's deadline passed."""
    POISON = "poison"
    """Too many workers were lost with the job in their hands."""
    INVALID_JOB = "invalid_job"
    """The submission does not have the form its contract asks for."""
    UNKNOWN_ROUTE = "unknown_route"
    """There is no route of that name."""
    FORBIDDEN = "forbidden"
    """The project may not do this: its routes and lanes, or the project itself."""
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    """The idempotency key was used before, for another body."""
    QUEUE_FULL = "queue_full"
    """The project, or the queue, holds as many jobs as it may."""
    BUDGET = "budget"
    """A budget, or the job's own max_cost, does not allow what it may cost at most; or its price is not known."""
    NO_DEPLOYMENT = "no_deployment"
    """No deployment of the route can serve the job at all."""
    CONSTRAINT = "constraint"
    """No deployment meets what the job and its project ask for; or a worker found that its own does not, and called
    nobody."""
    RETRIES_EXHAUSTED = "retries_exhausted"
    """The job has used up the attempts, or the project the retries, that are allowed."""
    INTERNAL = "internal"
    """Something in the gateway went wrong; also how a kind that is not known here yet is read."""


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
    """Nothing."""
    BUCKET = "bucket"
    """Close the limit domain's buckets until the provider's reset."""
    BREAKER = "breaker"
    """Count against the deployment's circuit breaker."""
    QUARANTINE = "quarantine"
    """Take the deployment (or its credential) out until an operator or a probe brings it back."""


class Scope(StrEnum):
    """How far a failure reaches."""

    REQUEST = "request"
    """This job alone."""
    MODEL = "model"
    """The model at this provider."""
    DEPLOYMENT = "deployment"
    """The model under this credential."""
    CREDENTIAL = "credential"
    """Everything that is called with this credential."""
    PROVIDER = "provider"
    """The provider's endpoint."""


@dataclass(frozen=True, slots=True)
class Permits:
    """What a kind of failure permits: next action, whether the try counts, what to bench and how far it reaches.

    ``letter``: a job that ends with it leaves a dead letter. That is so where the place failed, not the request: after
    a repair, or elsewhere, the same job may well succeed. It is not so where the request would meet the same end again,
    where it was turned away at the door with nothing spent, and where the end was asked for (cancelled, expired).
    """

    action: Action
    counts: bool
    bench: Bench = Bench.NO
    scope: Scope = Scope.REQUEST
    letter: bool = False


_K = FailureKind
_SWITCH_BREAKER = Permits(Action.SWITCH, counts=True, bench=Bench.BREAKER, scope=Scope.DEPLOYMENT, letter=True)
_REPORT = Permits(Action.REPORT, counts=True)
_REQUEUE = Permits(Action.WAIT, counts=False, letter=True)
_SET_ASIDE = Permits(Action.REPORT, counts=True, letter=True)

_TABLE = {
    _K.RATE_LIMIT: Permits(Action.WAIT, counts=False, bench=Bench.BUCKET, scope=Scope.DEPLOYMENT, letter=True),
    _K.QUOTA_EXHAUSTED: Permits(
        Action.SWITCH, counts=True, bench=Bench.QUARANTINE, scope=Scope.CREDENTIAL, letter=True
    ),
    _K.OVERLOADED: _SWITCH_BREAKER,
    _K.SERVER_ERROR: _SWITCH_BREAKER,
    _K.AUTH: Permits(Action.SWITCH, counts=True, bench=Bench.QUARANTINE, scope=Scope.CREDENTIAL, letter=True),
    _K.PERMISSION: Permits(Action.SWITCH, counts=True, bench=Bench.QUARANTINE, scope=Scope.DEPLOYMENT, letter=True),
    _K.MODEL_NOT_FOUND: Permits(Action.SWITCH, counts=True, bench=Bench.QUARANTINE, scope=Scope.MODEL, letter=True),
    _K.CONTEXT_OVERFLOW: Permits(Action.SWITCH, counts=True, scope=Scope.MODEL),
    _K.REQUEST_EXCEEDS_LIMIT: Permits(Action.SWITCH, counts=True, scope=Scope.DEPLOYMENT),
    _K.CONTENT_POLICY: _REPORT,
    _K.UNSUPPORTED_PARAM: Permits(Action.SWITCH, counts=True, scope=Scope.MODEL),
    _K.BAD_REQUEST: _REPORT,
    _K.PREFILL_REFUSED: _REQUEUE,
    _K.MODEL_OUTPUT_INVALID: Permits(Action.SWITCH, counts=True, scope=Scope.MODEL, letter=True),
    _K.SCHEMA_VIOLATION: Permits(Action.SWITCH, counts=True, scope=Scope.MODEL, letter=True),
    _K.CONNECT: Permits(Action.SWITCH, counts=True, bench=Bench.BREAKER, scope=Scope.PROVIDER, letter=True),
    _K.RESET: _SWITCH_BREAKER,
    _K.FIRST_TOKEN_TIMEOUT: _SWITCH_BREAKER,
    _K.STALLED: _SWITCH_BREAKER,
    _K.TOTAL_TIMEOUT: _SWITCH_BREAKER,
    _K.STREAM_TRUNCATED: _SWITCH_BREAKER,
    _K.MALFORMED_RESPONSE: _SWITCH_BREAKER,
    _K.RESPONSE_TOO_LARGE: Permits(Action.SWITCH, counts=True, scope=Scope.DEPLOYMENT),
    _K.WORKER_LOST: Permits(Action.WAIT, counts=True, letter=True),
    _K.HANDED_BACK: _REQUEUE,
    _K.GRANT_EXPIRED: _REQUEUE,
    _K.CANCELLED: _REPORT,
    _K.EXPIRED: _REPORT,
    _K.POISON: _SET_ASIDE,
    _K.INVALID_JOB: _REPORT,
    _K.UNKNOWN_ROUTE: _REPORT,
    _K.FORBIDDEN: _REPORT,
    _K.IDEMPOTENCY_CONFLICT: _REPORT,
    _K.QUEUE_FULL: _REPORT,
    _K.BUDGET: _REPORT,
    _K.NO_DEPLOYMENT: _REPORT,
    _K.CONSTRAINT: Permits(Action.SWITCH, counts=True, scope=Scope.DEPLOYMENT),
    _K.RETRIES_EXHAUSTED: _SET_ASIDE,
    _K.INTERNAL: _SET_ASIDE,
}
PERMITS: Mapping[FailureKind, Permits] = MappingProxyType(_TABLE)
"""The one table of what follows from a failure; it has a row for every kind."""


def _known(kind: object) -> object:
    """A kind that a newer minor version has added reads as ``internal``: the one that permits nothing but a report."""
    return FailureKind.INTERNAL if isinstance(kind, str) and kind not in _NAMES else kind


_NAMES = frozenset(kind.value for kind in FailureKind)
ReadKind = Annotated[FailureKind, BeforeValidator(_known)]


class Failure(Wire):
    """One failure as a value: its kind, a sentence for people, and what to do about it."""

    kind: ReadKind
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


_WORDS_OURS = frozenset(
    {
        FailureKind.WORKER_LOST,
        FailureKind.HANDED_BACK,
        FailureKind.GRANT_EXPIRED,
        FailureKind.CANCELLED,
        FailureKind.EXPIRED,
        FailureKind.POISON,
        FailureKind.UNKNOWN_ROUTE,
        FailureKind.FORBIDDEN,
        FailureKind.QUEUE_FULL,
        FailureKind.BUDGET,
        FailureKind.NO_DEPLOYMENT,
        FailureKind.CONSTRAINT,
    }
)
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def in_our_words(failure: Failure) -> Failure:
    """The same without what a provider said: providers repeat prompts and keys in their errors."""
    ours = failure.kind in _WORDS_OURS
    code = failure.code if failure.code and _CODE.fullmatch(failure.code) else None
    message, field = (failure.message, failure.field) if ours else ("", None)
    return failure.model_copy(update={"message": message, "code": code, "field": field})
