"""What the policy decides; the service carries it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from job_contracts.attempts import Draft
    from job_contracts.constraints import Constraints
    from job_contracts.decisions import Choice
    from job_contracts.failures import Failure
    from job_contracts.jobs import JobState
    from job_contracts.results import AttemptRecord
    from job_contracts.trials import Trial


Lateness = tuple[float | None, float | None]
"""Seconds to the first token and to a whole answer, ``None`` where that is not known."""


@dataclass(slots=True, frozen=True)
class Dispatch:
    """Make this attempt now; its reservation is already taken from the domain's buckets."""

    project: str
    job: str
    seq: int
    """Sequence of the submission, where its body lies."""
    attempt: int
    route: str
    deployment: str
    domain: str
    input_tokens: int
    output_tokens: int
    history: tuple[AttemptRecord, ...]
    switched_from: str | None = None
    switch_reason: str | None = None
    cost: int | None = None
    """Picodollars that it may cost at most; ``None`` where that cannot be said."""
    charged: float = 0.0
    """UTC seconds that tell the windows of budgets it is charged to."""
    max_output: int | None = None
    """Output tokens it may ask for at most, so that ``cost`` holds; ``None`` where nobody relies on that."""
    key: str | None = None
    """The virtual key behind the job."""
    decision: Choice | None = None
    """Why it goes there, on a route that does not go by the operator's own order."""
    constraints: tuple[Constraints, ...] = ()
    """What the deployment has to meet: the worker sees to it again."""
    trial: Trial | None = None
    """Its place in an experiment."""
    late: Lateness | None = None
    """When it is late, where its route would make a second attempt then."""
    hedge: bool = False
    """Whether it is such a second attempt, beside the one before it."""
    draft: Draft | None = None
    """The answer that it is to verify."""


@dataclass(slots=True, frozen=True)
class Finish:
    """Write this terminal record (create-only); no further attempt will be made."""

    project: str
    job: str
    seq: int
    state: JobState
    failure: Failure
    history: tuple[AttemptRecord, ...]
    route: str
    token: str
    body_hash: str
    submitted: float
    attempt: int = 0
    """Number of the last attempt, 0 if there was none."""
    trial: Trial | None = None
    """Where its end counts in an experiment."""
    draft: Draft | None = None
    """The answer after all, which nobody has verified; ``failure`` says why."""


@dataclass(slots=True, frozen=True)
class Abort:
    """Tell the pool to stop this attempt; its outcome is still awaited."""

    project: str
    job: str
    attempt: int
    deployment: str
    outrun: bool = False
    """Whether another attempt of its job was faster."""


Decision = Dispatch | Finish | Abort
