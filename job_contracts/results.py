"""The one terminal record of a job, with the story of its attempts."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field

from job_contracts.chat import Answer, FinishReason, Usage
from job_contracts.codec import VERSION, Version, Wire
from job_contracts.decisions import Choice
from job_contracts.embeddings import Embeddings
from job_contracts.failures import Failure
from job_contracts.jobs import BlobRef, JobState
from job_contracts.trials import Trial
from job_contracts.verification import Verification

LossKind = Literal["dropped", "renamed", "clamped", "rewritten", "merged", "converted"]


class Loss(Wire):
    """Something that could not be carried over as it was: what, how it changed, and why.

    ``field`` is a path into the job as it was submitted or into the answer (``answer…``): ``settings.top_k``, a turn
    by its place (``messages[2].content``, ``messages[2:5]``), a tool by its name (``tools.search.parameters``). A loss
    of several things of a kind names the first, or what they are in (``messages``, ``tools``).
    """

    kind: LossKind
    field: str
    detail: str


class AttemptRecord(Wire):
    """One call to one deployment, as the job's story tells it. Times are UTC seconds, durations seconds."""

    number: int
    deployment: str
    provider: str
    model: str
    started: float
    seconds: float
    first_token: float | None = None
    """Seconds from the request to the first token."""
    failure: Failure | None = None
    usage: Usage = Usage()
    cost: Decimal | None = None
    """US dollars: as the provider stated them, else by its price; ``None`` where neither is known."""
    losses: tuple[Loss, ...] = ()
    decision: Choice | None = None
    """Why it went there, on a route that does not go by the operator's own order."""
    continued: int | None = None
    """Number of the attempt whose broken answer it went on with; ``None`` if its answer is its own from the start."""


def cost_of_all(attempts: tuple[AttemptRecord, ...]) -> Decimal | None:
    """US dollars of attempts together; ``None`` if those of any are not known.

    What failed and used nothing cost nothing, even where its record is of a time that told no costs.
    """
    total = Decimal(0)
    for record in attempts:
        if record.cost is not None:
            total += record.cost
        elif record.failure is None or record.usage.total or not record.usage.reported:
            return None
    return total


class Times(Wire):
    """UTC seconds of a job's steps; ``submitted`` is the producer's clock, the others the services'."""

    submitted: float
    dispatched: float | None = None
    finished: float


class Settlement(Wire):
    """What the scheduler needs of a result without its body; travels as the header ``Penstock-Settlement``."""

    version: Version = VERSION
    state: JobState
    token: str
    body_hash: str
    attempt: int = 0
    """Number of the attempt that ended the job; 0 if none did."""
    deployment: str | None = None
    usage: Usage = Usage()
    seconds: float = 0.0
    """Duration of that attempt."""
    first_token: float | None = None
    trial: Trial | None = None
    """The job's place in an experiment, if its end counts there."""
    cost: Decimal | None = None
    """US dollars of all its attempts together; ``None`` if those of any are not known, or of a writer before 1.3."""
    finished: float | None = None
    """UTC seconds; likewise."""


class Result(Wire):
    """A job's one visible end."""

    version: Version = VERSION
    job: str
    project: str
    state: JobState
    route: str
    token: str
    body_hash: str
    nonce: str
    """Who wrote this record: the attempt, or the leader's term. Settles who won a race."""
    answer: Answer | None = None
    embeddings: Embeddings | None = None
    """The vectors of an embedding job."""
    finish_reason: FinishReason | None = None
    finish_raw: str | None = None
    """The provider's own word for it."""
    usage: Usage = Usage()
    cost: Decimal | None = None
    """US dollars of all its attempts together; ``None`` if those of any are not known."""
    provider: str | None = None
    model: str | None = None
    """The model that answered, in the provider's words."""
    deployment: str | None = None
    attempts: tuple[AttemptRecord, ...] = ()
    failure: Failure | None = None
    times: Times
    tags: dict[str, str] = Field(default_factory=dict)
    blob: BlobRef | None = None
    """Set where the answer was too large for one message: the full record lies there."""
    replay_of: str | None = None
    """The job whose dead letter this one was made of."""
    verification: Verification | None = None
    """What a verifier said of the answer, or of a draft of it."""
