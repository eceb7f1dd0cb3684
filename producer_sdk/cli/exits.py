"""What the command's exit codes mean, and which error has which. Pure."""

from __future__ import annotations

from producer_sdk.errors import (
    Closed,
    InvalidRequest,
    JobFailed,
    NotFound,
    PenstockError,
    Refused,
    Timeout,
    Unreachable,
)

OK, FAILURE, USAGE, NOT_FOUND, REFUSED, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_CODES: tuple[tuple[type[PenstockError], int], ...] = (
    (InvalidRequest, USAGE),
    (NotFound, NOT_FOUND),
    (Refused, REFUSED),
    (Unreachable, UNREACHABLE),
    (Closed, UNREACHABLE),
    (JobFailed, FAILURE),
    (Timeout, FAILURE),
)


def code_of(error: PenstockError) -> int:
    """The exit code an error ends the command with."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILURE)
