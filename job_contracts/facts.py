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
