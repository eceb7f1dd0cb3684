"""What the ledger is told: one fact an attempt, whatever became of it, many in a message."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field

from job_contracts.chat import Usage
from job_contracts.codec import VERSION, Version, Wire
from job_contracts.failures import ReadKind

Reason = Literal["user", "failed", "cancelled", "hedged", "shadow", "verify"]


class AttemptFact(Wire):
    """What one attempt used. ``attempt`` (project, job id and number, dots between) makes it idempotent: it may be told
    twice.
    """

    attempt: str
    project: str
    route: str
    deployment: str
    provider: str
    model: str
    started: float
    """UTC seconds."""
    seconds: float
    first_token: float | None = None
    usage: Usage
    cost: Decimal | None = None
    """US dollars as the provider stated them."""
    reason: Reason
    failure: ReadKind | None = None
    won: bool
    """Whether its result became the job's visible one; an attempt that cost and did not win is waste."""
    tags: dict[str, str] = Field(default_factory=dict)


class Facts(Wire):
    """A batch of facts, stored before the attempts in it are acknowledged."""

    version: Version = VERSION
    facts: tuple[AttemptFact, ...]


class DeadLetter(Wire):
    """Why a job or a message was set aside, with enough to find and replay it."""

    version: Version = VERSION
    project: str
    job: str
    """Empty where no job could be named."""
    reason: Literal["poison", "unreadable", "invalid", "exhausted"]
    detail: str
    fingerprint: str
    """The same for letters of the same cause."""
    at: float
    """UTC seconds."""
    stream: str = ""
    seq: int = 0
    attempts: int = 0
    headers: dict[str, str] = Field(default_factory=dict)
    body: str = ""
    """The message as it was, base64, so it can be replayed; empty when it is still in its stream."""
