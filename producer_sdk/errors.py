"""Everything the SDK raises, in one tree.

::

    PenstockError
    ├── InvalidRequest           the request is wrong: ``field`` and ``remedy`` say where and how; nothing was sent
    │   └── TooLarge             the body is over what the gateway takes
    ├── Refused                  the gateway decided against the job; no provider was called
    │   ├── UnknownRoute         there is no such model name (or this project may not see it)
    │   ├── Forbidden            the key, the project or its permissions do not allow it
    │   ├── IdempotencyConflict  the idempotency key belongs to another request
    │   ├── BudgetExceeded       a budget, or its own ``max_cost``, does not allow what it may cost
    │   ├── ConstraintsUnmet     no deployment is what the job and its project ask for
    │   └── QueueFull            no room now; ``retry_after`` is in seconds
    ├── JobFailed                the job ended without an answer: ``kind``, ``failure``, ``attempts``, ``result``
    │   ├── JobCancelled         somebody cancelled it
    │   ├── JobExpired           its deadline passed
    │   └── JobDead              it was set aside (it took workers down, or could not be read)
    ├── InvalidAnswer            there is an answer, but not of the form ``parse`` was asked for: ``text``, ``answer``
    ├── Timeout                  waiting took too long; the job goes on: ``attach(error.job)`` takes it up again
    ├── Unreachable              no connection to the gateway; ``maybe_stored`` tells whether the job may exist there
    ├── NotFound                 there is no such job, or its result is no longer kept
    └── Closed                   the producer was closed, or is used in another process than the one that opened it

``InvalidRequest`` is a ``ValueError``, ``Timeout`` a ``TimeoutError``, ``Unreachable`` a ``ConnectionError`` and
``NotFound`` a ``LookupError`` as well. Which failure becomes which error is decided in ``producer_sdk.border`` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from job_contracts.failures import Failure, FailureKind
    from job_contracts.results import AttemptRecord, Result
    from producer_sdk.answers import Answered

__all__ = [
    "BudgetExceeded",
    "Closed",
    "ConstraintsUnmet",
    "Forbidden",
    "IdempotencyConflict",
    "InvalidAnswer",
    "InvalidRequest",
    "JobCancelled",
    "JobDead",
    "JobExpired",
    "JobFailed",
    "NotFound",
    "PenstockError",
    "QueueFull",
    "Refused",
    "Timeout",
    "TooLarge",
    "UnknownRoute",
    "Unreachable",
]


class PenstockError(Exception):
    """Root of the tree. ``job`` is the id of the job concerned, ``field`` a path into the request, or ``None``."""

    inputs: range | None = None
    """Of an ``embed`` that was several jobs: the positions of the inputs that the error is about."""

    def __init__(
        self, message: str, *, field: str | None = None, remedy: str | None = None, job: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.remedy = remedy
        self.job = job

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[PenstockError], args: tuple[Any, ...], state: dict[str, Any]) -> PenstockError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidRequest(PenstockError, ValueError):
    """The request is wrong and was not sent."""


class TooLarge(InvalidRequest):
    """The body is larger than the gateway takes."""


class Refused(PenstockError):
    """The gateway decided against the job; ``failure`` is its own word for it where there is one."""

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        remedy: str | None = None,
        job: str | None = None,
        failure: Failure | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, field=field, remedy=remedy, job=job)
        self.failure = failure
        self.retry_after = retry_after
        """Seconds after which it is worth another try; ``None`` if waiting does not help."""


class UnknownRoute(Refused):
    """There is no route of that name for this project."""


class Forbidden(Refused):
    """The key is wrong, or does not allow this."""


class IdempotencyConflict(Refused):
    """The idempotency key was used for another request before; that one is untouched."""


class BudgetExceeded(Refused):
    """What the job may cost at most is more than a budget, or its own ``max_cost``, has left; or no price is known."""


class ConstraintsUnmet(Refused):
    """No deployment of the route meets the constraints of the job and its project; the message has all reasons."""


class QueueFull(Refused):
    """The queue has no room; try again after ``retry_after`` seconds."""


class JobFailed(PenstockError):
    """The job ended without an answer; ``result`` is its terminal record."""

    def __init__(self, message: str, *, result: Result, remedy: str | None = None, field: str | None = None) -> None:
        super().__init__(message, field=field, remedy=remedy, job=result.job)
        self.result = result

    @property
    def failure(self) -> Failure | None:
        """What ended the job."""
        return self.result.failure

    @property
    def kind(self) -> FailureKind | None:
        """The failure's kind."""
        return self.result.failure.kind if self.result.failure else None

    @property
    def attempts(self) -> tuple[AttemptRecord, ...]:
        """Every call that was made for the job, the failed ones with their failures."""
        return self.result.attempts


class JobCancelled(JobFailed):
    """The job was cancelled."""


class JobExpired(JobFailed):
    """The job's deadline passed before it had an answer."""


class JobDead(JobFailed):
    """The job was set aside and will not be tried again."""


class InvalidAnswer(PenstockError):
    """The model's answer does not fit the asked-for type; ``text`` is what it said, ``answer`` everything else."""

    def __init__(self, message: str, *, text: str, answer: Answered, field: str | None = None) -> None:
        super().__init__(message, field=field, job=answer.job)
        self.text = text
        self.answer = answer


class Timeout(PenstockError, TimeoutError):
    """Waiting took longer than asked for. A job that was submitted goes on."""


class Unreachable(PenstockError, ConnectionError):
    """The gateway cannot be reached. ``maybe_stored``: the job was handed over, but nothing came back about it."""

    def __init__(
        self, message: str, *, remedy: str | None = None, job: str | None = None, maybe_stored: bool = False
    ) -> None:
        super().__init__(message, remedy=remedy, job=job)
        self.maybe_stored = maybe_stored


class NotFound(PenstockError, LookupError):
    """There is no such job, or its result is no longer kept."""


class Closed(PenstockError):
    """The producer is closed."""
