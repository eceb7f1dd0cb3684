"""What the policy is told. Times are seconds on the caller's monotonic scale of ``now``; it converts wall clocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from job_contracts.attempts import Draft, LimitReading
    from job_contracts.chat import Usage
    from job_contracts.constraints import Constraints
    from job_contracts.failures import Failure
    from job_contracts.jobs import Bounds, JobState, Lane, Need
    from job_contracts.operating import Aim, Rates, State
    from job_contracts.results import AttemptRecord
    from job_contracts.trials import Trial

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
    key: str | None = None
    """The virtual key behind it, which pays beside its project."""
    bounds: Bounds | None = None
    """What that key is held to."""
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The job's own; those that the project has budgets of pay, too."""
    size: int = 0
    """Bytes of its body; 0 where that is not known."""
    constraints: Constraints | None = None
    """The job's own; its project's are in the rules."""


@dataclass(slots=True, frozen=True)
class InFlight:
    """At recovery: this attempt of an already submitted job lies in WORK; its reservation counts as taken.

    The money counts also where the job has its result and is known no more: then ``route``, ``key`` and ``tags`` tell
    who pays.
    """

    project: str
    job: str
    attempt: int
    deployment: str
    input_tokens: int
    output_tokens: int
    history: tuple[AttemptRecord, ...] = ()
    cost: int | None = None
    """Picodollars reserved for it."""
    charged: float = 0.0
    """UTC seconds that tell the windows it is charged to."""
    route: str | None = None
    key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    trial: Trial | None = None
    """The arm it was granted for, which has the last word on its job's."""
    hedge: bool = False
    """Whether it runs beside the attempt before it, if that is told of first."""
    draft: Draft | None = None
    """The answer that it is to verify."""


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
    hedge: bool = False
    """Whether it was dispatched beside another one."""
    draft: Draft | None = None
    """The answer that waits to be verified, its own if ``record`` tells of no failure."""

    @property
    def drafted(self) -> bool:
        """Whether it has made a draft."""
        return self.draft is not None and self.record is not None and self.record.failure is None


@dataclass(slots=True, frozen=True)
class Late:
    """This attempt has been without a first token for longer than its dispatch says. May be told again and again."""

    project: str
    job: str
    attempt: int


@dataclass(slots=True, frozen=True)
class Begun:
    """Of two attempts of a job this one is shown: the other one is for nothing. May be told again and again."""

    project: str
    job: str
    attempt: int


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


@dataclass(slots=True, frozen=True)
class Ordered:
    """What an operator's order makes of one pool, deployment, limit or weight from now on; as it is made, nothing."""

    aim: Aim
    name: str
    state: State = "running"
    limits: Rates | None = None
    said: str = ""
    """Who ordered it and why, for those whose jobs wait."""
    factor: float | None = None
    """Of a weight."""


@dataclass(slots=True, frozen=True)
class Charged:
    """A fact of LEDGER: what one attempt cost. Its reservation goes; its cost counts in every window of every payer.

    Of several facts of an attempt one counts: a heavier one takes the place of the lighter. Told again, it changes
    nothing, as long as the attempt is remembered (about an hour of ``at``).
    """

    attempt: tuple[str, str, int]
    """Project, job id and number."""
    project: str
    route: str
    key: str | None
    tags: Mapping[str, str] = field(hash=False)
    at: float
    """UTC seconds that tell the windows it counts in."""
    cost: int | None
    """Picodollars; where that is not known, what was reserved."""
    reserved: int | None
    weight: tuple[bool, bool, bool, bool]
    """By which facts of one attempt outweigh each other: told by a statement, won, reported, told by the worker."""
    counted: bool = True
    """False for one that the restored sums already hold: it is only remembered."""
    instead: int = 0
    """Picodollars that were counted for it before, if that is not remembered: a statement comes days later."""


@dataclass(slots=True, frozen=True)
class Uncharged:
    """No fact of this attempt will ever come, because it never called: its reservation goes."""

    project: str
    job: str
    attempt: int


Fact = (
    Submitted
    | InFlight
    | CancelAsked
    | AttemptEnded
    | Late
    | Begun
    | Settled
    | LimitsRead
    | PoolSeen
    | Ordered
    | Charged
    | Uncharged
)
