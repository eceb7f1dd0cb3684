"""The one place where what the SDK raises becomes an API's error."""

from __future__ import annotations

from gateway.bodies.failures import ApiError, of_failure, of_result
from producer_sdk.errors import (
    BudgetExceeded,
    Closed,
    Forbidden,
    IdempotencyConflict,
    InvalidRequest,
    JobFailed,
    NotFound,
    PenstockError,
    QueueFull,
    Refused,
    Timeout,
    TooLarge,
    UnknownRoute,
    Unreachable,
)
from runtime.bus.port import BusError, StreamFull

AGAIN = 1.0
"""Seconds after which a request may be sent again that the queue could not be reached for."""


def of_bus(error: BusError) -> ApiError:
    """The error for a store that did not do what a request needs: nothing is known to be wrong with the request."""
    if isinstance(error, StreamFull):
        remedy = "try again later, or let the operator allow more"
        return ApiError(507, "storage_full", "the store has no more room", remedy=remedy)
    message = "the store does not answer at the moment"
    return ApiError(503, "store_unreachable", message, remedy="try again", retry_after=AGAIN)


def api_error(error: PenstockError) -> ApiError:
    """The error to answer with."""
    match error:
        case JobFailed():
            return of_result(error.result)
        case Refused(failure=failure) if failure is not None:
            told = of_failure(failure, job=error.job)
            return ApiError(told.status, told.code, told.message, told.param, told.remedy, error.retry_after, error.job)
        case UnknownRoute():
            status, code = 404, "model_not_found"
        case Forbidden(field="key"):  # it is the gateway's own that the broker does not accept
            return _away(error)
        case Forbidden():
            status, code = 403, "forbidden"
        case IdempotencyConflict():
            status, code = 409, "idempotency_conflict"
        case BudgetExceeded():
            status, code = 402, "budget"
        case QueueFull():
            status, code = 429, "queue_full"
        case TooLarge():
            status, code = 413, "request_too_large"
        case InvalidRequest():
            status, code = 400, "invalid_value"
        case Timeout():
            status, code = 504, "timeout"
        case NotFound():
            status, code = 404, "not_found"
        case Unreachable() | Closed():
            return _away(error)
        case _:
            status, code = 500, "internal"
    retry_after = error.retry_after if isinstance(error, Refused) else None
    return ApiError(status, code, error.message, error.field, error.remedy, retry_after, error.job)


def _away(error: PenstockError) -> ApiError:
    """In our own words: the SDK's speak of addresses and of what its own caller might do about them."""
    message, remedy = "the queue cannot be reached at the moment", "send the request again"
    if isinstance(error, Unreachable) and error.maybe_stored:
        message = "the queue did not confirm the job: it may run"
        remedy = "ask for it by its id; with an Idempotency-Key a request can be sent again without running twice"
    return ApiError(503, "queue_unreachable", message, remedy=remedy, retry_after=AGAIN, job=error.job)
