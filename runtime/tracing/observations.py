"""What is told of a traced job, its attempts and the request behind it, when each has ended: never content.

    telemetry.emit("attempt.observed", observation=AttemptSeen(...))
    telemetry.emit("job.observed", observation=JobSeen(...))
    telemetry.emit("request.observed", observation=RequestSeen(...))

Nothing is told of a job that is not recorded, and nothing is made for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from job_contracts.chat import Usage
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from job_contracts.tracing import Trace

__all__ = ["ATTEMPT", "JOB", "REQUEST", "AttemptSeen", "JobSeen", "RequestSeen"]

ATTEMPT, JOB, REQUEST = "attempt.observed", "job.observed", "request.observed"
"""The events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSeen:
    """One attempt. Times are UTC seconds."""

    span: Trace
    """Its own."""
    job_span: str
    """Its parent."""
    project: str
    job: str
    attempt: int
    route: str
    deployment: str
    model: str
    vendor: str
    """The provider by its name in the catalogue, whatever the operator's pool is called."""
    worker: str
    operation: Literal["chat", "embeddings"] = "chat"
    server: tuple[str, int | None] | None = None
    started: float
    seconds: float
    waited: float | None = None
    """Seconds from the submission to the dispatch."""
    called: bool = True
    streamed: bool = False
    first_token: float | None = None
    failure: FailureKind | None = None
    usage: Usage
    cost: Decimal | None = None
    finish: str | None = None
    answered_by: str | None = None
    """The model, as the provider names it."""
    switched_from: str | None = None
    switch_reason: str | None = None
    hedge: bool = False
    continued: int | None = None
    follow_up: str | None = None
    """``shadow``, ``verify`` or ``judge`` for an attempt at a job that follows another one."""
    stored: str | None = None
    """What became of its report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSeen:
    """One job, from submission to result."""

    span: Trace
    parent: str
    """The producer's span, empty if there is none."""
    project: str
    job: str
    state: JobState
    submitted: float
    finished: float
    attempts: int | None = None
    deployment: str | None = None
    """Whose answer it is."""
    stream: str
    """Where it was submitted."""
    follow_up: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSeen:
    """One request at an edge, from when it was let in to the end of its answer."""

    span: Trace
    parent: str
    """The client's span, empty if there is none."""
    request: str
    project: str
    method: str
    route: str
    """The path as it is routed, without anything that its client has made up."""
    status: int | None
    """``None``: nothing was answered."""
    started: float
    finished: float
