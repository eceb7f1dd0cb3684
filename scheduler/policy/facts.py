"""What the policy is told. Times are seconds on the caller's monotonic scale of ``now``; it converts wall clocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

    from job_contracts.attempts import LimitReading
    from job_contracts.chat import Usage
    from job_contracts.failures import Failure
    from job_contracts.jobs import JobState, Lane, Need
    from job_contracts.results import AttemptRecord

JobKey = tuple[str, str]
"""``(project, job id)``."""


@dataclass(slots=True, frozen=True)
class Submitted:
    """A job was accepted: everything the policy knows of it."""

    project: str
    job: str
    seq: int
    """Its place in the order of arrival."""
    route: str
    lane: Lane
    priority: int
    submitted: float
    input_estimate: int
    token: str
    body_hash: str
    max_output: int | None = None
    deadline: float | None = None
    not_before: float | None = None
    stream: bool = False
    session: str | None = None
    needs: tuple[Need, ...] = ()
    max_cost: Decimal | None = None
    counted: bool = True
    """Whether it may be refused for the number of its project's jobs. While another process leads that one decides: a
    standby may see a submission before the result that made room for it."""
    unread: int = 0
    """Submissions of its project that are stored and not told of yet: they count for what the project may have."""


@dataclass(slots=True, frozen=True)
class InFlight:
    """At recovery: this attempt of an already submitted job lies in WORK; its reservation counts as taken."""

    project: str
    job: str
    attempt: int
    deployment: str
    input_tokens: int
    output_tokens: int
    history: tuple[AttemptRecord, ...] = ()


@dataclass(slots=True, frozen=True)
class CancelAsked:
    """The producer wants it stopped; ignored if ``token`` is not the submission's."""

    project: str
    job: str
    token: str
    reason: str


@dataclass(slots=True, frozen=True)
class AttemptEnded:
    """An attempt ended without the job's result. Older attempts than the current one only settle their reservation."""

    project: str
    job: str
    attempt: int
    deployment: str
    failure: Failure
    record: AttemptRecord | None
    called: bool = True


@dataclass(slots=True, frozen=True)
class Settled:
    """The job's result record exists, whoever wrote it."""

    project: str
    job: str
    state: JobState
    attempt: int
    deployment: str | None
    usage: Usage
    seconds: float = 0.0
    first_token: float | None = None


@dataclass(slots=True, frozen=True)
class LimitsRead:
    """What a provider's headers said."""

    deployment: str
    readings: tuple[LimitReading, ...]


@dataclass(slots=True, frozen=True)
class PoolSeen:
    """How many calls a pool's live workers take at once; 0 when none is alive.

    Dispatches in flight to a pool never exceed its slots, and a pool without workers is passed over like a limited one:
    what has not been dispatched can still be reordered, rerouted and cancelled.
    """

    pool: str
    slots: int


Fact = Submitted | InFlight | CancelAsked | AttemptEnded | Settled | LimitsRead | PoolSeen
