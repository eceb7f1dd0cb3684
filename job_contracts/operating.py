"""What an operator sees of the scheduler and orders it to do; every order is its own audit record.

Asked at the desk in place of a project by ``-``: ``overview`` (with ``{}``), ``order``, ``audit`` and ``note``. An
order is one message in the stream AUDIT: the last one of its subject is in force, those before it are its history. So
there is no order that is not audited, and none that is audited and not in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from job_contracts.codec import VERSION, Version, Wire
from job_contracts.configured import Configured
from job_contracts.jobs import Lane
from job_contracts.scaling import PoolScale

Aim = Literal["pool", "deployment", "limit", "weight"]
"""What an order is about: a pool (a provider's name), a deployment (``provider/model``), a limit (a provider's limit
domain, or ``project:NAME`` for what a project is held to), or a deployment's weight in ``weighted`` routes."""
AIMS: tuple[Aim, ...] = ("pool", "deployment", "limit", "weight")
Doing = Literal["pause", "drain", "resume", "override", "weigh", "restore"]
DOINGS: Mapping[Aim, tuple[Doing, ...]] = MappingProxyType(
    {
        "pool": ("pause", "drain", "resume"),
        "deployment": ("pause", "drain", "resume"),
        "limit": ("override", "restore"),
        "weight": ("weigh", "restore"),
    }
)
"""What can be ordered of what; the last one of each takes back what the others order."""
OF_PROJECT = "project:"
"""Before a project's name: the limit that it is held to."""
State = Literal["running", "paused", "draining"]
"""``paused``: nothing new goes there; what waits keeps its place, or goes elsewhere if its route has another place that
it has not failed at. ``draining``: the same for long: what waits goes anywhere its route has, also back."""
Unit = Literal["requests", "input_tokens", "output_tokens", "tokens", "concurrency"]

MAX_LISTED = 200
"""Audit lines in one answer at most."""
MAX_DETAIL = 20
MAX_PROJECTS = 200
"""Projects whose limits are in one overview at most."""

Words = Annotated[str, Field(max_length=500)]
Who = Annotated[str, Field(min_length=1, max_length=100)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Rate = Annotated[float, Field(gt=0, le=1e12)]
Factor = Annotated[float, Field(ge=0, le=1_000)]
"""Of a weight: 0 for only where no other deployment of the route is to be had, 1 for what is configured."""


class Rates(Wire):
    """Limits in place of the configured ones, per minute as in the configuration; what is ``None`` stays as it is."""

    rpm: Rate | None = None
    input_tpm: Rate | None = None
    output_tpm: Rate | None = None
    tpm: Rate | None = None
    concurrency: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    def __bool__(self) -> bool:
        """Whether anything is said."""
        return any(value is not None for value in (self.rpm, self.input_tpm, self.output_tpm, self.tpm)) or (
            self.concurrency is not None
        )


class Standing(Wire):
    """What is ordered of one pool, deployment or limit; as it is made, nothing."""

    state: State = "running"
    limits: Rates | None = None
    factor: Factor | None = None
    """By which its weights are multiplied."""
    until: float | None = None
    """UTC seconds at which it ends by itself."""


class AskOrder(Wire):
    """``order``: from the answer on, nothing is decided otherwise. What is in force already is not ordered again."""

    version: Version = VERSION
    do: Doing
    aim: Aim
    name: Name
    by: Who
    """Who orders it, as the asking service knows them."""
    why: Words = ""
    lasts: Annotated[float, Field(gt=0, le=31_536_000)] | None = None
    """Seconds after which it ends by itself; ``override`` and ``weigh`` must say it."""
    limits: Rates | None = None
    """Of ``override``."""
    factor: Factor | None = None
    """Of ``weigh``."""


class Audited(Wire):
    """What somebody did: an order, or what another service notes. As it is stored, never changed."""

    version: Version = VERSION
    at: float
    """UTC seconds."""
    by: str
    did: str
    """Of orders a ``Doing``."""
    on: str
    """Of orders an ``Aim``; else the kind of thing, such as ``key``."""
    name: str = ""
    why: str = ""
    before: Standing | None = None
    """Of orders; what had ended by itself is not in it."""
    after: Standing | None = None
    """Of orders: what is in force from now on."""
    detail: dict[str, str] = Field(default_factory=dict)
    """Of notes: whatever else is worth knowing, without secrets."""


class AuditLine(Wire):
    """A record and its place."""

    seq: int
    entry: Audited


class Ordered(Wire):
    """Answer to ``order`` and ``note``."""

    version: Version = VERSION
    changed: bool
    """False if that was in force already: nothing was stored then, and ``line`` is the order that is."""
    line: AuditLine | None = None


class AskNote(Wire):
    """``note``: another service's action, for the audit."""

    version: Version = VERSION
    by: Who
    did: Name
    on: Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,31}$")]
    """The kind of thing; not an ``Aim``."""
    name: Annotated[str, Field(max_length=200)] = ""
    why: Words = ""
    detail: Annotated[dict[str, Words], Field(max_length=MAX_DETAIL)] = Field(default_factory=dict)


class AskAudit(Wire):
    """``audit``: who did what, newest first; what is given narrows it."""

    version: Version = VERSION
    below: int | None = None
    """Only records before this place: the ``below`` of the page before."""
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = 50
    by: str | None = None
    did: str | None = None
    on: str | None = None
    name: str | None = None


class AuditPage(Wire):
    """Answer to ``audit``."""

    version: Version = VERSION
    lines: tuple[AuditLine, ...] = ()
    below: int | None = None
    """Where the next page begins; ``None``: there is no more. A page may be short, or empty, and not be the last."""


class InForce(Wire):
    """An order that is in force, and who gave it."""

    standing: Standing
    by: str
    why: str = ""
    at: float
    """UTC seconds."""
    seq: int
    """Its place in the audit."""


class ToldWorker(Wire):
    """A worker that was heard of."""

    name: str
    slots: int
    draining: bool = False
    attempts: int = 0
    """That it has in hand."""
    silent: float = 0.0
    """Seconds since it was last heard."""
    configured: Configured | None = None
    """What it has of the configuration; ``None`` if it did not say."""


class ToldDeployment(Wire):
    """One model at one provider."""

    name: str
    limit: str
    """The limit domain that meters it."""
    in_flight: int = 0
    benched: str | None = None
    """Why it is left alone, if its breaker is open."""
    order: InForce | None = None
    weights: dict[str, float] = Field(default_factory=dict)
    """By ``weighted`` route that has it: its weight there, as in force."""
    weighed: InForce | None = None
    """What is ordered of those."""


class ToldPool(Wire):
    """The workers of one provider, and what waits for them."""

    name: str
    state: State
    """As ordered. A pool that is draining is empty when ``in_flight`` is 0."""
    slots: int = 0
    """Calls that its live workers take at once."""
    allowed: int | None = None
    """Calls at once that the configuration allows of it."""
    in_flight: int = 0
    queued: dict[str, int] = Field(default_factory=dict)
    """Jobs that would go there first, by lane; lanes in which none waits are not in it."""
    oldest: float | None = None
    """Seconds since the earliest submission among the jobs that are first in their flow; ``None`` if none waits."""
    order: InForce | None = None
    workers: tuple[ToldWorker, ...] = ()
    scale: PoolScale | None = None
    """How many workers it should have, as autoscalers are told; ``None`` while nobody has reckoned it."""
    deployments: tuple[ToldDeployment, ...] = ()


class ToldUnit(Wire):
    """One metered quantity of a limit domain."""

    unit: Unit
    limit: float
    """Units a window, as in force: configured, overridden, or lowered to what the provider said."""
    configured: float | None = None
    """Units a window that the configuration says."""
    window: float | None = None
    """Seconds; ``None`` of ``concurrency``."""
    size: float
    """Units it can give at once when full."""
    available: float
    """Units it can give now; below 0: a debt. The metric ``penstock_limiter_available``."""
    reserved: float = 0.0
    """Units held by attempts under way."""
    pace: float = 1.0
    """Factor on its refill, below 1 after the provider refused a call."""

    @property
    def used(self) -> float:
        """Units of ``size`` that it cannot give now."""
        return max(0.0, self.size - self.available)


class ToldLimit(Wire):
    """A limit domain, what a provider meters together; or what a project is held to, ``project:NAME``."""

    name: str
    pool: str
    """Empty where it is a project's."""
    units: tuple[ToldUnit, ...] = ()
    closed: float | None = None
    """Seconds for which nothing is granted; ``None`` when it is open."""
    closed_why: str = ""
    order: InForce | None = None


class ToldLane(Wire):
    """A lane."""

    name: Lane
    share: float
    """Its weight."""
    queued: int = 0
    oldest: float | None = None


class ToldLeader(Wire):
    """Who leads."""

    owner: str
    term: int
    """Sequence of the lease record that began it: a later leader has a larger one."""
    since: float
    """UTC seconds."""
    configured: Configured | None = None
    """What it has of the configuration; ``None`` if it does not say."""


class ToldStandby(Wire):
    """Answer of one that stands by, to whoever asks with ``{}``; to an empty question it is its name alone, as text."""

    version: Version = VERSION
    owner: str
    configured: Configured | None = None
    """What it has of the configuration; ``None`` if it does not say."""


class Overview(Wire):
    """Answer to ``overview``: one moment of the leader, all of it read at once."""

    version: Version = VERSION
    at: float
    """UTC seconds."""
    leader: ToldLeader
    pools: tuple[ToldPool, ...] = ()
    limits: tuple[ToldLimit, ...] = ()
    """Of providers."""
    projects: tuple[ToldLimit, ...] = ()
    """What projects are held to, of those that have limits of their own; first those of which something is ordered."""
    lanes: tuple[ToldLane, ...] = ()
    known: int = 0
    """Jobs without a result that it knows."""
    in_flight: int = 0
    unread: int = 0
    """Jobs queued beyond its index."""
