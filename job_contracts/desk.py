"""Questions a producer may ask of the scheduler's desk (request and reply on ``v1.api.<project>.<operation>``)."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from job_contracts.codec import VERSION, Version, Wire
from job_contracts.constraints import Constraints
from job_contracts.decisions import Choice
from job_contracts.failures import Failure
from job_contracts.jobs import MOST_TOKENS, JobStatus, Lane, Need
from job_contracts.results import AttemptRecord
from job_contracts.stream import Chunk

Operation = Literal[
    "hello",
    "status",
    "results",
    "chunks",
    "blob",
    "estimate",
    "letters",
    "letter",
    "letter_body",
    "replay",
    "discard",
    "feedback",
    "experiments",
    "stop_arm",
    "overview",
    "order",
    "note",
    "audit",
    "jobs",
    "job",
    "cancel_jobs",
    "dead_causes",
    "dead_letters",
    "dead_letter",
    "dead_handle",
]
"""Five are about dead letters (``job_contracts.letters``), three about experiments (``job_contracts.trials``), the last
eleven the operator's (``job_contracts.operating``, ``job_contracts.finding``, ``job_contracts.dead``).
"""

MAX_ASKED = 500
"""Jobs one ``results`` question may name."""


class Hello(Wire):
    """Answer to ``hello`` (asked with ``{}``): what a project may do; so bad input is refused before it is sent."""

    version: Version = VERSION
    project: str
    routes: tuple[str, ...]
    lanes: tuple[Lane, ...]
    max_message: int
    """Bytes a submission may have before its body goes as a blob."""
    max_body: int
    """Bytes a body may have at all."""
    server: str
    """Version of the service."""


class AskJobs(Wire):
    """``status`` and ``results``: which jobs."""

    version: Version = VERSION
    jobs: Annotated[tuple[str, ...], Field(max_length=MAX_ASKED)]
    attempts: bool = False
    """Of ``status``: whether the attempts so far are to be told as well."""


class Tried(Wire):
    """The attempts of a job that have ended, of one that has no result yet."""

    job: str
    attempts: tuple[AttemptRecord, ...]


class Statuses(Wire):
    """Answer to ``status``: the jobs that are known and have no result yet."""

    version: Version = VERSION
    statuses: tuple[JobStatus, ...]
    finished: tuple[str, ...] = ()
    """Asked-for jobs that have a result."""
    attempts: tuple[Tried, ...] = ()
    """If they were asked for: those of each job that has any."""


class Results(Wire):
    """Answer to ``results``: the records found, as they are stored; the others have none yet or are unknown."""

    version: Version = VERSION
    records: tuple[str, ...]
    """Each a ``Result`` as JSON text."""
    more: bool = False
    """True if not all fitted into one answer: ask again for the rest."""


class AskChunks(Wire):
    """``chunks``: the stream of a job after ``(generation, sequence)``."""

    version: Version = VERSION
    job: str
    generation: int = 0
    sequence: int = 0


class Chunks(Wire):
    """Answer to ``chunks``, in order."""

    version: Version = VERSION
    chunks: tuple[Chunk, ...]
    more: bool = False


class AskBlob(Wire):
    """``blob``: one chunk of a result that was too large for a message; the answer is its bytes."""

    version: Version = VERSION
    job: str
    index: Annotated[int, Field(ge=0)]


class Planned(Wire):
    """A job that is not submitted, as far as its cost depends on it."""

    route: Annotated[str, Field(max_length=200)]
    input_estimate: Annotated[int, Field(ge=0, le=MOST_TOKENS)]
    max_output: Annotated[int, Field(gt=0, le=MOST_TOKENS)] | None = None
    needs: Annotated[tuple[Need, ...], Field(max_length=16)] = ()
    size: Annotated[int, Field(ge=0)] = 0
    """Bytes of its body; 0 if not known yet."""
    constraints: Constraints | None = None
    lane: Lane | None = None
    """``None``: the first that its project may use."""
    session: Annotated[str, Field(max_length=256)] | None = None
    explain: bool = False
    """Whether the decision is to be told as well."""


class AskEstimates(Wire):
    """``estimate``: what such jobs would cost."""

    version: Version = VERSION
    jobs: Annotated[tuple[Planned, ...], Field(max_length=MAX_ASKED)]


class Estimate(Wire):
    """What one job would cost now, in US dollars, where it would go; ``None`` where no price is known."""

    deployment: str | None = None
    expected: Decimal | None = None
    """By the lengths that the route's answers have had."""
    worst: Decimal | None = None
    """What is reserved for it."""
    refused: Failure | None = None
    """Why it would not be accepted."""
    decision: Choice | None = None
    """If it was asked for: where such a job would go now, if nobody waited before it, and why not elsewhere."""


class Estimates(Wire):
    """Answer to ``estimate``, in the order of the question."""

    version: Version = VERSION
    estimates: tuple[Estimate, ...]


class Refusal(Wire):
    """The desk's answer when it cannot do what was asked; told from others by its only member."""

    refused: Failure
