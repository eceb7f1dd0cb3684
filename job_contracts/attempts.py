"""What goes between the scheduler and the pools: assignments down; outcomes, heartbeats and aborts."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from job_contracts.codec import VERSION, Version, Wire
from job_contracts.configured import Configured
from job_contracts.constraints import Constraints
from job_contracts.decisions import Choice
from job_contracts.failures import Failure
from job_contracts.jobs import BlobRef, Job
from job_contracts.results import AttemptRecord
from job_contracts.trials import Trial


def attempt_name(project: str, job: str, attempt: int) -> str:
    """The name by which heartbeats, aborts and facts mean one attempt.

    The project belongs to it: two projects that use the same idempotency key have jobs with the same id.
    """
    return f"{project}.{job}.{attempt}"


class Timeouts(Wire):
    """Seconds a worker waits: for the connection, the first token, the next one, and the whole answer."""

    connect: float = 5.0
    """For the connection."""
    first_token: float = 60.0
    """For the first token of a streamed answer."""
    stall: float = 30.0
    """For anything further, once the answer has begun."""
    total: float = 600.0
    """For the whole answer."""


class Grant(Wire):
    """The permission to make one attempt, with what was reserved for it."""

    domain: str
    input_tokens: int
    output_tokens: int
    valid_for: float
    """Seconds after ``granted`` in which the call must start; later the worker hands it back."""
    granted: float
    """UTC seconds on the scheduler's clock."""
    cost: Decimal | None = None
    """US dollars reserved for it, its worst case; ``None`` where no price is known."""
    charged: float = 0.0
    """UTC seconds that tell the windows of budgets it is charged to; 0 from a scheduler that keeps none."""
    max_output: Annotated[int, Field(gt=0)] | None = None
    """Output tokens the call may ask for at most, where its worst case was reserved for so many."""


class Checking(Wire):
    """The answer of this attempt may have to be verified before it becomes the job's result."""

    always: bool = False
    """Whatever the answer is like."""
    below: float | None = None
    """If its model was less sure than that (from 0 to 1), or does not tell how sure it was."""
    self_reported: bool = False
    """The model is asked how sure it is; otherwise the probabilities of its tokens tell."""
    unfit: bool = False
    """If its text is not the JSON that was asked for; otherwise that is a failure of the attempt."""
    judged: bool = False
    """Each answer is a draft: a judge's score tells whether it is verified."""


class Draft(Wire):
    """An answer that waits to be verified: the record that would have been the job's result lies in a blob."""

    deployment: str
    blob: BlobRef
    fits: bool = True
    """Whether it is what the job asks for: one that is not never becomes the job's answer as it is."""
    score: float | None = None
    """How good a judge found it, from 0 to 1; 0 where nobody need be asked. ``None``: no judge has said."""


class Adaptation(Wire):
    """What a route's rules change in the conversation for this target."""

    system_replace: str | None = None
    system_append: str | None = None


Fit = Literal["refuse", "trim"]
"""What becomes of a conversation that is too long for the model: refused with the numbers, or its oldest turns go."""


OnInvalid = Literal["repair", "retry", "report"]
"""What becomes of an answer that is not the JSON the job asks for: repaired where nothing has to be made up for that,
else another attempt; another attempt at once; or the job ends with it."""


class Assignment(Wire):
    """One attempt to make. On the wire it is JSON whose last member ``job`` is the submitted body, byte for byte."""

    version: Version = VERSION
    job_id: str
    project: str
    attempt: int
    """1, 2, 3 … of this job; also the generation of its stream."""
    deployment: str
    provider: str
    model: str
    grant: Grant
    timeouts: Timeouts = Timeouts()
    adaptation: Adaptation | None = None
    fit: Fit = "refuse"
    on_invalid: OnInvalid = "repair"
    tell_invalid: bool = False
    """Whether the model is told what was wrong with the answer of an attempt before."""
    route: str
    token: str
    body_hash: str
    submitted: float
    deadline: float | None = None
    stream: bool = False
    switched_from: str | None = None
    """Deployment the attempt before ran at, with ``switch_reason`` its failure kind."""
    switch_reason: str | None = None
    history: tuple[AttemptRecord, ...] = ()
    """The attempts so far, to be repeated in the result."""
    decision: Choice | None = None
    """Why it goes there, to be repeated in the attempt's record."""
    continues: int | None = None
    """Number of the attempt whose broken answer it may go on with: the worker looks what of that was sent, and whether
    the target can; else the answer starts over."""
    epoch: int
    """The leader's term that dispatched it."""
    blob: BlobRef | None = None
    key: str | None = None
    """Id of the virtual key behind the job."""
    tags: dict[str, str] = Field(default_factory=dict)
    """The job's, where it is a blob: whoever has no use for the body must know what to charge."""
    constraints: tuple[Constraints, ...] = ()
    """What its deployment must be, as the project and the job ask: all of them hold. The worker checks them again."""
    trial: Trial | None = None
    """Its place in an experiment, to be repeated in the result."""
    late_after: float | None = None
    """Seconds from the call on after which it is late: without a first token, or without an answer that comes in one
    piece. The worker tells (``Heartbeat.late``); ``None`` where nobody wants to know."""
    hedge: bool = False
    """Whether it runs beside the attempt before it, which is late: what it says is shown only if it is the first."""
    checking: Checking | None = None
    """Whether its answer is to be verified first."""
    draft: Draft | None = None
    """The answer that it is to verify."""
    accept_from: float | None = None
    """It is to score the draft, not to verify it: from that score on, from 0 to 1, the draft is the job's answer."""
    job: Job | None = None
    """Exactly one of ``job`` and ``blob`` is there; the worker sees to it, so that it can name what is wrong."""

    @property
    def attempt_id(self) -> str:
        """Unique name of this attempt."""
        return attempt_name(self.project, self.job_id, self.attempt)

    @property
    def tagged(self) -> dict[str, str]:
        """The job's tags, wherever they are."""
        return self.tags if self.job is None else self.job.tags


class LimitReading(Wire):
    """What a provider's headers said of one limit of a deployment's domain."""

    unit: Literal["requests", "input_tokens", "output_tokens", "tokens", "concurrency"]
    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None
    """Seconds until it is full again."""
    window: float = 60.0
    """Seconds of the limit's window."""


class Outcome(Wire):
    """How an attempt ended when it did not write the job's result; what the leader decides the next step from."""

    version: Version = VERSION
    job_id: str
    project: str
    token: str
    body_hash: str
    pool: str
    worker: str
    record: AttemptRecord
    history: tuple[AttemptRecord, ...] = ()
    """The attempts before it, as the assignment told them."""
    failure: Failure
    limits: tuple[LimitReading, ...] = ()
    draft: Draft | None = None
    """The answer that waits to be verified: this attempt's own, if its record tells of no failure, or the one that it
    was to verify."""
    called: bool = True
    """False if the provider was never called (handed back, grant expired, unreadable)."""
    route: str | None = None
    """As the assignment said."""
    trial: Trial | None = None
    """The same."""
    hedge: bool = False
    """Whether the attempt ran beside another one; its outcome has a subject of its own then."""


class Heartbeat(Wire):
    """A worker is alive, what it holds, and what it has read of its provider's limits since the last beat."""

    version: Version = VERSION
    pool: str
    worker: str
    slots: int
    attempts: tuple[str, ...] = ()
    """Ids of all attempts it has fetched and not yet answered for."""
    draining: bool = False
    limits: dict[str, tuple[LimitReading, ...]] = Field(default_factory=dict)
    """By deployment."""
    late: tuple[str, ...] = ()
    """Those of them that have waited for longer than ``Assignment.late_after`` and wait still."""
    begun: tuple[str, ...] = ()
    """Those of them that were late or hedges, and whose first token is the one that is shown."""
    configured: Configured | None = None
    """What it has of the configuration; ``None`` if it does not say."""


class HeartbeatReply(Wire):
    """What the leader wants a worker to know: attempts it should stop."""

    version: Version = VERSION
    abort: tuple[str, ...] = ()
    outrun: tuple[str, ...] = ()
    """Those of ``abort`` that are to stop because another attempt of their job was faster."""
    at: float = 0.0
    """UTC seconds on the leader's clock when it answered, by which its grants run out; 0 if it does not say."""


class Abort(Wire):
    """Stop these attempts now; of none, it asks the pool's workers for a beat."""

    version: Version = VERSION
    attempts: tuple[str, ...]
    reason: str = "cancelled"
    """``cancelled``, or ``outrun``: another attempt of its job was faster."""
