"""What goes wrong, as a value with a status, and in the shape of each API.

The shapes: OpenAI's ``{"error": {"message", "type", "param", "code"}}`` and Anthropic's ``{"type": "error", "error":
{"type", "message"}, "request_id"}``; the native API uses OpenAI's. A remedy, where there is one, ends the message.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from job_contracts.failures import Failure, FailureKind
from job_contracts.jobs import JobState
from job_contracts.results import Result

Shape = Literal["openai", "anthropic", "native"]

_K = FailureKind


@dataclass(frozen=True, slots=True)
class ApiError:
    """An answer that is no success. ``code`` is our own word for it, stable across APIs."""

    status: int
    code: str
    message: str
    param: str | None = None
    remedy: str | None = None
    retry_after: float | None = None
    """Seconds after which it is worth another try; ``None`` if waiting does not help."""
    job: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message

    def body(self, shape: Shape, request: str) -> dict[str, Any]:
        """The JSON value of the answer; ``request`` is the request's id."""
        return _FORMS[shape](self, request)

    def told(self) -> dict[str, str]:
        """Headers that say more: ``retry-after`` in whole seconds, rounded up."""
        if self.retry_after is None:
            return dict(self.headers)
        return {**self.headers, "retry-after": str(max(1, math.ceil(self.retry_after)))}


def _as_openai(error: ApiError, _: str) -> dict[str, Any]:
    kind = _OPENAI_TYPES.get(error.status, _other(error.status))
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code}}


def _as_anthropic(error: ApiError, request: str) -> dict[str, Any]:
    kind = _ANTHROPIC_TYPES.get(error.status, _other(error.status))
    return {"type": "error", "error": {"type": kind, "message": str(error)}, "request_id": request}


_FORMS: dict[Shape, Callable[[ApiError, str], dict[str, Any]]] = {
    "openai": _as_openai,
    "native": _as_openai,
    "anthropic": _as_anthropic,
}


class Failed(Exception):
    """Ends a request with an ``ApiError``."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(str(error))
        self.error = error


def _other(status: int) -> str:
    return "invalid_request_error" if status < 500 else "api_error"


_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    502: "server_error",
    503: "server_error",
    504: "timeout_error",
}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "invalid_request_error",
    413: "request_too_large",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}

_STATUS: dict[FailureKind, int] = {
    _K.RATE_LIMIT: 503,
    _K.QUOTA_EXHAUSTED: 503,
    _K.OVERLOADED: 503,
    _K.AUTH: 502,
    _K.PERMISSION: 502,
    _K.MODEL_NOT_FOUND: 502,
    _K.CONTEXT_OVERFLOW: 400,
    _K.REQUEST_EXCEEDS_LIMIT: 400,
    _K.CONTENT_POLICY: 400,
    _K.UNSUPPORTED_PARAM: 400,
    _K.BAD_REQUEST: 400,
    _K.FIRST_TOKEN_TIMEOUT: 504,
    _K.STALLED: 504,
    _K.TOTAL_TIMEOUT: 504,
    _K.INVALID_JOB: 400,
    _K.UNKNOWN_ROUTE: 404,
    _K.FORBIDDEN: 403,
    _K.IDEMPOTENCY_CONFLICT: 409,
    _K.QUEUE_FULL: 429,
    _K.BUDGET: 402,
    _K.CONSTRAINT: 403,
}
"""What a job that ended without an answer is told with; anything that is not named is the providers' fault (502)."""

_CODES: dict[FailureKind, str] = {
    _K.CONTEXT_OVERFLOW: "context_length_exceeded",
    _K.CONTENT_POLICY: "content_policy_violation",
    _K.UNKNOWN_ROUTE: "model_not_found",
    _K.UNSUPPORTED_PARAM: "unsupported_parameter",
    _K.BUDGET: "insufficient_quota",
}
"""Where the OpenAI API has a word that clients look for; else the kind itself."""


def of_failure(failure: Failure, *, job: str | None = None) -> ApiError:
    """The error for a failure that travelled as a value."""
    return ApiError(
        status=_STATUS.get(failure.kind, 502),
        code=_CODES.get(failure.kind, failure.kind.value),
        message=failure.message,
        param=failure.field,
        remedy=failure.remedy,
        retry_after=_AGAIN.get(failure.kind) if failure.retry_after is None else failure.retry_after,
        job=job,
    )


_AGAIN = {_K.QUEUE_FULL: 1.0}
"""Seconds after which it is worth another try, where nobody has said so."""


def of_result(result: Result) -> ApiError:
    """The error for a terminal record that is not a success."""
    failure = result.failure
    if result.state is JobState.CANCELLED:
        return ApiError(409, "cancelled", "the job was cancelled", job=result.job)
    if result.state is JobState.EXPIRED:
        reason = failure.message if failure else "it was not answered in time"
        return ApiError(504, "deadline_exceeded", f"the job's deadline passed: {reason}", job=result.job)
    if failure is None:
        return ApiError(502, result.state.value, f"the job ended as {result.state.value}", job=result.job)
    told = of_failure(failure, job=result.job)
    tries = f" (after {len(result.attempts)} attempts)" if len(result.attempts) > 1 else ""
    where = f" [{failure.deployment}]" if failure.deployment else ""
    return ApiError(
        status=told.status,
        code=told.code,
        message=f"{failure.message}{where}{tries}",
        param=told.param,
        remedy=told.remedy,
        retry_after=told.retry_after,
        job=result.job,
    )


def invalid(
    message: str, *, param: str | None = None, remedy: str | None = None, code: str = "invalid_value"
) -> Failed:
    """What is raised for a body that asks for something wrong: 400."""
    return Failed(ApiError(400, code, message, param=param, remedy=remedy))
