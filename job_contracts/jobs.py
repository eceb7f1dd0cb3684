"""What a producer submits, and what it is told about it before there is a result."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from job_contracts.chat import Conversation
from job_contracts.codec import VERSION, Version, Wire
from job_contracts.constraints import Constraints
from job_contracts.decisions import Choice
from job_contracts.embeddings import EmbeddingRequest
from job_contracts.money import Budget

Lane = Literal["rt", "std", "batch", "bg"]
LANES: tuple[Lane, ...] = ("rt", "std", "batch", "bg")

MAX_TAGS, MAX_TAG_NAME, MAX_TAG_VALUE = 16, 64, 512
"""Tags of a job, and characters of one; as many as a request to OpenAI may have of ``metadata``. They travel on in the
job's result and in the facts of its attempts, which have to fit into one message."""


def _short(tags: dict[str, str]) -> dict[str, str]:
    for name, value in tags.items():
        if len(name) > MAX_TAG_NAME:
            message = f"the name {name[:20] + '…'!r} has {len(name)} characters, at most {MAX_TAG_NAME} fit"
            raise ValueError(message)
        if len(value) > MAX_TAG_VALUE:
            message = f"the value of {name!r} has {len(value)} characters, at most {MAX_TAG_VALUE} fit"
            raise ValueError(message)
    return tags


def _short_together(tags: dict[str, str]) -> dict[str, str]:
    for name, value in tags.items():
        if len(name) + len(value) > MAX_TAG_NAME + MAX_TAG_VALUE:
            message = f"{name[:20] + '…'!r} and its value have more than {MAX_TAG_NAME + MAX_TAG_VALUE} characters"
            raise ValueError(message)
    return tags


_SHORT = {
    "propertyNames": {"maxLength": MAX_TAG_NAME},
    "additionalProperties": {"type": "string", "maxLength": MAX_TAG_VALUE},
}
Tags = Annotated[dict[str, str], Field(max_length=MAX_TAGS, json_schema_extra=_SHORT), AfterValidator(_short)]
TicketTags = Annotated[dict[str, str], Field(max_length=MAX_TAGS), AfterValidator(_short_together)]
"""Name and value are bounded together alone: a dead letter keeps its ticket, and those of a time without bounds hold
longer names."""
Replayed = Annotated[str, Field(max_length=256)]

Mark = Annotated[str, Field(max_length=128)]
"""A random token or a fingerprint of a submission; bounded, because the leader keeps those of every job and cancel."""

MOST_TOKENS = 1_000_000_000
"""No count of tokens is larger; arithmetic over what producers claim stays finite."""


FEW_CHUNKS, LEAST_CHUNK = 1_024, 4_096
"""Chunks that any reference may name, and bytes of a chunk beyond them: each is a question to the broker, whatever it
holds, and who has written the reference does not pay for that."""


class BlobRef(Wire):
    """Where the bytes lie when they were too large for one message: ``chunks`` messages, ``size`` bytes in all."""

    chunks: Annotated[int, Field(ge=1)]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of all bytes together, in hexadecimal."""

    @model_validator(mode="after")
    def _not_of_crumbs(self) -> Self:
        most = max(FEW_CHUNKS, self.size // LEAST_CHUNK)
        if self.chunks > most:
            message = (
                f"{self.size} bytes in {self.chunks} chunks; write at most {most}, of {LEAST_CHUNK} bytes at least"
            )
            raise ValueError(message)
        return self


class Job(Wire):
    """One job, as its producer wrote it. The project is not in it: it comes from the subject."""

    version: Version = VERSION
    id: str
    kind: Literal["chat", "embedding"] = "chat"
    route: Annotated[str, Field(min_length=1, max_length=200)]
    """The model name asked for, resolved to deployments by the scheduler."""
    conversation: Conversation | None = None
    """What a chat job asks."""
    embedding: EmbeddingRequest | None = None
    """What an embedding job asks."""
    lane: Lane = "std"
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    """0 first, 9 last, within a project's share of a lane."""
    deadline: float | None = None
    """UTC seconds; the job has a result or has expired by then."""
    not_before: float | None = None
    """UTC seconds; not sent to a provider before then."""
    idempotency_key: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    session: Annotated[str, Field(max_length=256)] | None = None
    max_cost: Annotated[Decimal, Field(ge=0)] | None = None
    tags: Tags = Field(default_factory=dict)
    constraints: Constraints | None = None
    """What a deployment must be to serve it, beside what its project asks for."""
    stream: bool = False
    """Whether tokens are wanted while they come."""
    replay_of: Replayed | None = None
    """The job whose dead letter this one was made of."""

    @property
    def chat(self) -> Conversation:
        """The conversation of a chat job. Raises ValueError for another kind of job."""
        if self.conversation is None:
            message = f"a job of kind {self.kind!r} has no conversation"
            raise ValueError(message)
        return self.conversation

    @model_validator(mode="after")
    def _asks_for_its_kind(self) -> Job:
        given = {"conversation": self.conversation is not None, "embedding": self.embedding is not None}
        wanted = "conversation" if self.kind == "chat" else "embedding"
        if given != {name: name == wanted for name in given}:
            message = f"a job of kind {self.kind!r} has its {wanted}, and nothing else to ask"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _times_agree(self) -> Job:
        if self.deadline is not None and self.not_before is not None and self.deadline <= self.not_before:
            message = "deadline: must be later than not_before"
            raise ValueError(message)
        return self


def body_hash(body: bytes) -> str:
    """Fingerprint of a job's body, by which a resubmission under one idempotency key is told from another job."""
    return sha256(body).hexdigest()[:32]


Need = Literal["tools", "images", "files", "json_schema", "reasoning", "logprobs", "embeddings"]


class Bounds(Wire):
    """What the scheduler holds the jobs of one key to; ``None``: not bounded. Put in by who knows the key."""

    tpm: Annotated[float, Field(gt=0)] | None = None
    """Input and output tokens a minute."""
    concurrency: Annotated[int, Field(gt=0)] | None = None
    """Attempts under way at once."""
    max_queued: Annotated[int, Field(gt=0)] | None = None
    """Unfinished jobs."""
    max_queued_bytes: Annotated[int, Field(gt=0)] | None = None
    """Bytes of the bodies of those."""
    budget: Budget | None = None
    """US dollars in each window."""


class Ticket(Wire):
    """What the scheduler knows of a queued job without its body; travels as the header ``Penstock-Ticket``."""

    version: Version = VERSION
    route: Annotated[str, Field(max_length=200)]
    lane: Lane = "std"
    priority: Annotated[int, Field(ge=0, le=9)] = 5
    deadline: float | None = None
    not_before: float | None = None
    submitted: float
    """UTC seconds on the producer's clock."""
    token: Mark
    """Random per submission; a cancel must carry it, so it never hits a later job of the same id."""
    body_hash: Mark
    input_estimate: Annotated[int, Field(ge=0, le=MOST_TOKENS)]
    """The producer's count of prompt tokens; corrected by what providers report."""
    max_output: Annotated[int, Field(gt=0, le=MOST_TOKENS)] | None = None
    stream: bool = False
    session: Annotated[str, Field(max_length=256)] | None = None
    max_cost: Decimal | None = None
    needs: Annotated[tuple[Need, ...], Field(max_length=16)] = ()
    blob: BlobRef | None = None
    replay_of: Replayed | None = None
    """The job whose dead letter this one was made of."""
    key: Annotated[str, Field(max_length=64)] | None = None
    """Id of the virtual key behind it, for the ledger and for that key's own bounds. Said by the HTTP edge, which has
    checked the key; a producer on the broker speaks for its whole project, and may name any key of it."""
    bounds: Bounds | None = None
    """What that key is held to; it can only narrow what the project may."""
    tags: TicketTags = Field(default_factory=dict)
    """The job's own, for budgets of tags."""
    constraints: Constraints | None = None
    """The job's own."""


class JobState(StrEnum):
    """The life of a job; the last five are terminal."""

    QUEUED = "queued"
    HELD = "held"
    DISPATCHED = "dispatched"
    STREAMING = "streaming"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DEAD = "dead"

    @property
    def terminal(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self in _TERMINAL


_TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED, JobState.DEAD})


class JobStatus(Wire):
    """Where a job is now, and why it waits if it does."""

    version: Version = VERSION
    job: str
    state: JobState
    route: str
    lane: Lane | None = None
    """``None`` where only the result is left, which does not tell it."""
    token: str
    body_hash: str
    submitted: float
    attempts: int = 0
    """Dispatches so far."""
    deployment: str | None = None
    """Where it is being worked on."""
    position: int | None = None
    """Jobs that would be served before it, as things stand; 0 is next."""
    eta: float | None = None
    """Seconds until it is likely to be dispatched."""
    waiting_for: str | None = None
    """In words: what it waits for (a limit, a budget, a pause, its not_before, its turn)."""
    estimated_cost: Decimal | None = None
    """US dollars its next attempt is likely to cost, as prices and averages stand; ``None`` where no price is known."""
    worst_cost: Decimal | None = None
    """US dollars that attempt may cost at most."""
    decision: Choice | None = None
    """While it waits: where it would go now, and why not elsewhere. While it is under way on a route that does not go
    by the operator's own order: why it went there, unless an earlier leader sent it."""
    deadline: float | None = None


class Cancel(Wire):
    """A producer's wish that a job should not be (further) worked on; ``token`` is the submission's own."""

    version: Version = VERSION
    job: str
    token: Mark
    reason: str = "cancelled by the producer"
