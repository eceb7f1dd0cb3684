"""What is known of one job, as small as a million of them must be, and of its attempts once it has any."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from job_contracts.failures import Action, FailureKind
from job_contracts.money import PICO
from scheduler.policy.buckets import NEVER
from scheduler.policy.fairness import LANE_INDEX
from scheduler.policy.marks import joined, parted

if TYPE_CHECKING:
    from job_contracts.attempts import Draft
    from job_contracts.decisions import Choice
    from job_contracts.failures import Failure
    from job_contracts.results import AttemptRecord
    from scheduler.policy.admission import Demands
    from scheduler.policy.domains import Tokens
    from scheduler.policy.facts import Submitted
    from scheduler.policy.fairness import Account
    from scheduler.policy.payers import Payer, Wallet
    from scheduler.policy.quotas import Quota
    from scheduler.policy.seats import Seat
    from scheduler.policy.tenants import Tenant
    from scheduler.policy.turns import Deployment, Flow, Route

QUEUED: Final = 0
"""In a flow, waiting for its turn."""
PARKED: Final = 1
"""Not eligible before a time."""
FLYING: Final = 2
"""An attempt is under way, or about to be stored."""
ENDING: Final = 3
"""Its ``Finish`` is decided; the result record is awaited."""
GONE: Final = 4
"""Settled and forgotten; what still points here is to be skipped."""
BLOCKED: Final = 5
"""Out of its flow: it waits for the room of one of those that pay for it."""


class Held:
    """What one attempt has reserved, released exactly once, whatever becomes of it. Money is not in it: that stays
    reserved until the attempt's fact is told (``accounts``).
    """

    __slots__ = (
        "account",
        "attempt",
        "decision",
        "deployment",
        "granted_at",
        "pending",
        "probe",
        "quotas",
        "since",
        "tokens",
    )

    def __init__(
        self,
        attempt: int,
        deployment: Deployment,
        tokens: Tokens,
        account: Account,
        granted_at: float,
        *,
        probe: bool,
    ) -> None:
        self.attempt = attempt
        self.deployment = deployment
        self.tokens = tokens
        """Input and output."""
        self.account = account
        """Where its cost was charged."""
        self.granted_at = granted_at
        self.probe = probe
        self.quotas: tuple[tuple[Payer, Quota], ...] = ()
        """Whose own limits it counts against."""
        self.pending = True
        """Taken but not yet known to be stored."""
        self.since = -NEVER
        """When it was known to be; long ago for the grant of an earlier owner."""
        self.decision: Choice | None = None
        """Why it goes there, where that was told."""


class Story:
    """A job's attempts so far. Masks have one bit for each deployment of the job's route."""

    __slots__ = (
        "abort_asked",
        "at",
        "attempt",
        "barred",
        "cancel",
        "counted",
        "deaths",
        "draft",
        "due",
        "held",
        "history",
        "last",
        "last_deployment",
        "outrun",
        "owes",
        "patience",
        "returns",
        "second",
        "tried",
        "waits",
    )

    def __init__(self) -> None:
        self.attempt = 0
        """Number of the newest attempt."""
        self.counted = 0
        """Attempts that count against the route's ``max_attempts``."""
        self.deaths = 0
        """Workers lost with it."""
        self.tried = 0
        """Where it has failed in this round; left alone while there is another place."""
        self.barred = 0
        """Where it can never succeed."""
        self.returns = 0
        """Times it had to go back to a place where it had failed."""
        self.waits = 0
        """Times in a row it came back without having been called."""
        self.patience = 0
        """Times it had to wait for its project's retry budget."""
        self.owes = False
        """Whether its next attempt must first be paid from that budget."""
        self.due = 0.0
        """When it may be tried again."""
        self.at: str | None = None
        """The deployment its newest attempt runs at, while it does."""
        self.held: Held | None = None
        self.second: Held | None = None
        """A hedge beside it (``hedges``)."""
        self.outrun = 0
        """Number of that of the two which is to stop, because the other one is shown."""
        self.history: tuple[AttemptRecord, ...] = ()
        self.last: Failure | None = None
        self.last_deployment: str | None = None
        self.cancel: str | None = None
        """Why it is to be cancelled, if it is."""
        self.abort_asked = False
        self.draft: Draft | None = None
        """Its answer, while it waits to be verified."""

    def recall(self, history: tuple[AttemptRecord, ...], route: Route | str) -> None:
        """Rebuild what attempts before a takeover have taught, from their records."""
        if len(history) <= len(self.history):
            return
        self.history = history
        failures = [(record.deployment, record.failure) for record in history if record.failure is not None]
        self.counted = sum(1 for _, failure in failures if failure.permits.counts)
        self.deaths = sum(1 for _, failure in failures if failure.kind is FailureKind.WORKER_LOST)
        if not failures:
            return
        self.last_deployment, self.last = failures[-1]
        for name, failure in failures if not isinstance(route, str) else ():
            place = route.index(name)
            if place is not None and failure.permits.action is Action.SWITCH:
                self.tried |= 1 << place
        if not isinstance(route, str) and self.tried == route.everywhere:
            self.tried = 0


_NOTHING, _MOST = Decimal(0), Decimal(9_000_000)
"""US dollars; no bound on a job's cost is taken for larger."""
_SHARED: Final = tuple(range(4096))
"""Small numbers, one object each: token counts repeat, and a million of them would weigh 32 bytes apiece."""


def _shared(number: int) -> int:
    return _SHARED[number] if 0 <= number < len(_SHARED) else number


class Job:
    """One job from its submission to its settlement."""

    __slots__ = (
        "_marks",
        "deadline",
        "demands",
        "estimate",
        "flow",
        "id",
        "lane",
        "max_cost",
        "max_output",
        "needs",
        "not_before",
        "priority",
        "route",
        "seat",
        "seq",
        "session",
        "size",
        "state",
        "story",
        "submitted",
        "tenant",
        "wallet",
    )

    def __init__(
        self,
        fact: Submitted,
        tenant: Tenant,
        route: Route | None,
        deadline: float,
        wallet: Wallet | None = None,
        *,
        demands: Demands | None = None,
    ) -> None:
        self.tenant = tenant
        self.id = fact.job
        self.seq = fact.seq
        self.route: Route | str = fact.route if route is None else route
        self.lane = LANE_INDEX[fact.lane]
        self.priority = fact.priority
        self.submitted = fact.submitted
        self.estimate = _shared(fact.input_estimate)
        self._marks = joined(fact.token, fact.body_hash)
        self.max_output = None if fact.max_output is None else _shared(fact.max_output)
        self.needs = fact.needs
        self.size = _shared(fact.size)
        self.max_cost = None if fact.max_cost is None else int(min(max(fact.max_cost, _NOTHING), _MOST) * PICO)
        """Picodollars that all its attempts together may cost."""
        self.wallet = wallet
        """Who pays for it, ``None`` if nobody has to be asked."""
        self.session = None if route is None or not route.keeps_sessions else fact.session
        """What belongs together, where that makes a difference."""
        self.demands = demands
        """What a deployment must be to serve it, ``None`` if nothing is asked for."""
        self.not_before = fact.not_before
        self.deadline = deadline
        self.state = QUEUED
        self.flow: Flow | None = None
        self.story: Story | None = None
        self.seat: Seat | None = None
        """Its place at an experiment, if its route is under one."""

    def __lt__(self, other: Job) -> bool:
        """Between jobs of equal rank any fixed order will do."""
        return (self.tenant.name, self.id) < (other.tenant.name, other.id)

    @property
    def priced(self) -> bool:
        """Whether it may go only where it is known what that costs at most."""
        return self.max_cost is not None or (self.wallet is not None and bool(self.wallet.hard))

    @property
    def token(self) -> str:
        """What a cancel of it must carry."""
        return parted(self._marks)[0]

    @property
    def body_hash(self) -> str:
        """By which another body under the same key is told from its own."""
        return parted(self._marks)[1]

    @property
    def route_name(self) -> str:
        """The name its producer asked for; of a job in an experiment's arm the route that serves it."""
        return self.route if isinstance(self.route, str) else self.route.name

    def told(self) -> Story:
        """Its story, begun if there was none."""
        if self.story is None:
            self.story = Story()
        return self.story
