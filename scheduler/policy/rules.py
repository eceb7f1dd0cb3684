"""What the operator allows and the catalogue knows, as frozen tables; ``resolving`` makes them of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Literal

from catalogue.traits import priced
from job_contracts.attempts import Fit
from job_contracts.constraints import Constraints, Hosting, Traits
from job_contracts.experiments import Experiment
from job_contracts.jobs import LANES, Lane
from scheduler.policy.followups import Followed
from scheduler.policy.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalogue.prices import Price
    from job_contracts.money import Budget

Unit = Literal["requests", "input_tokens", "output_tokens", "tokens"]


@dataclass(slots=True, frozen=True)
class Limit:
    """One metered quantity: never more than ``amount`` of ``unit`` in any ``window`` seconds.

    ``burst`` is the share of it that may be used at once; ``skew`` the seconds by which a call may arrive late.
    """

    unit: Unit
    amount: float
    window: float = 60.0
    burst: float = 0.02
    skew: float = 1.0


@dataclass(slots=True, frozen=True)
class DomainRule:
    """What one provider meters together."""

    name: str
    provider: str
    limits: tuple[Limit, ...] = ()
    concurrency: int | None = None
    burst: float = 0.02
    skew: float = 1.0


@dataclass(slots=True, frozen=True)
class Wait:
    """A place that is cheaper because its answers take long, in seconds."""

    tier: str
    turnaround: float
    spare: float
    """What must be left then before the deadline, for another place."""


@dataclass(slots=True, frozen=True)
class DeploymentRule:
    """One model at one provider; ``None`` where the catalogue does not know."""

    name: str
    provider: str
    domain: str
    window: int | None = None
    """Tokens of its context window."""
    capabilities: frozenset[str] | None = None
    cached_input_counts: bool = True
    prices: tuple[Price, ...] = ()
    """What it costs (``catalogue.prices``); none where that is not known."""
    max_output: int | None = None
    """Tokens of one answer at most."""
    hosting: Hosting = "managed"
    region: str | None = None
    zero_retention: bool = False
    """Whether it is known to keep nothing of a call."""
    quantisation: str | None = None
    retires: date | None = None
    """Day (UTC) from which it is not called any more."""
    successor: str = ""
    """The model that its provider names in its place."""
    vendor: str | None = None
    """The catalogue's name of its provider."""
    also: tuple[str, ...] = ()
    """Other names of the model."""
    wait: Wait | None = None
    """Where answers take long: who may go there."""

    def at(self, wall: float) -> Traits:
        """What constraints are judged by at a moment (UTC seconds)."""
        traits = Traits(
            provider=self.provider,
            model=self.name.partition("/")[2],
            region=self.region,
            hosting=self.hosting,
            zero_retention=self.zero_retention,
            quantisation=self.quantisation,
            vendor=self.vendor,
            names=self.also,
        )
        return priced(traits, self.prices, wall)


@dataclass(slots=True, frozen=True)
class Blend:
    """What counts how much where a route goes by several things at once."""

    cost: float = 1.0
    speed: float = 1.0
    load: float = 1.0


@dataclass(slots=True, frozen=True)
class OnceMore:
    """When a job goes back to where it has just failed once, before another deployment is tried."""

    when: Literal["never", "session", "always"] = "session"
    within: float = 2.0
    """Longest retry-after, seconds, that is waited for there."""


@dataclass(slots=True, frozen=True)
class HedgeRule:
    """When a second attempt is made beside one that is late, and for which share of what the route spends."""

    share: float
    after: float | None = None
    """Seconds; ``None`` for what nineteen of twenty answers of the deployment kept to lately."""


@dataclass(slots=True, frozen=True)
class RouteRule:
    """A name that jobs ask for, and where it may be served, best first."""

    name: str
    deployments: tuple[str, ...]
    strategy: str = "ordered"
    max_attempts: int = 5
    expected_output: int = 256
    fit: Fit = "refuse"
    """Whether a conversation that is too long for a window is refused or made shorter."""
    budget: Budget | None = None
    """What all projects together may spend on it."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """By deployment, 1 where none is given."""
    blend: Blend = Blend()
    affinity: bool = True
    """Whether a session stays where its prompt cache is, as long as that is worth it."""
    stand_ins: Mapping[str, date] = field(default_factory=dict)
    """Those of its deployments that are successors of others, and the day from which they take their place."""
    once_more: OnceMore = OnceMore()
    """When a job goes back to where it has just failed once."""
    before: Mapping[str, str] = field(default_factory=dict)
    """Of those that are successors, whose."""
    reports_invalid: bool = False
    """Whether a job ends with an answer that its schema does not allow."""
    hedge: HedgeRule | None = None
    followed: Followed | None = None
    """What follows its jobs, if anything does."""
    stages: Stages | None = None
    """Which of its deployments verify what the others have answered, if any do."""


@dataclass(slots=True, frozen=True)
class ProjectRule:
    """A tenant; ``routes`` of ``None`` means all."""

    name: str
    routes: frozenset[str] | None = None
    lanes: tuple[Lane, ...] = LANES
    weight: float = 1.0
    max_queued: int = 200_000
    max_in_flight: int | None = None
    retry_share: float = 0.2
    max_queued_bytes: int | None = None
    limits: tuple[Limit, ...] = ()
    """What it may use of all providers together."""
    concurrency: int | None = None
    """Attempts at once, as its limits say."""
    budget: Budget | None = None
    tags: Mapping[str, Budget] = field(default_factory=dict)
    """Budgets of its jobs with a tag, by ``name=value``."""
    constraints: Constraints | None = None
    """What a deployment must be for each of its jobs."""


@dataclass(slots=True, frozen=True)
class BreakerRule:
    """How long something is left alone: first ``open_for`` seconds, doubled each time up to ``max_open``."""

    failures: int
    open_for: float
    max_open: float


@dataclass(slots=True, frozen=True)
class Pace:
    """Bounds of waiting that no operator needs to set."""

    backoff: float = 0.25
    """Seconds before the first repetition at the same place; doubled each time up to ``max_backoff``."""
    max_backoff: float = 10.0
    max_retry_after: float = 3_600.0
    """Seconds; a provider that asks for more patience than that is believed only so far."""
    limited: float = 0.25
    """Seconds a limited domain is closed when the provider does not say for how long; doubled up to ``max_limited``."""
    max_limited: float = 60.0
    budget_waits: int = 8
    """Times a job may wait for its project's retry budget before it is given up."""
    early_cancels: int = 1_750_000
    """Cancels remembered that came before their job: more of the smallest ones than their stream has room for."""
    early_cancel_for: float = 3_600.0
    """Seconds they are remembered: as long as the stream of cancels keeps them."""


@dataclass(slots=True, frozen=True)
class Rules:
    """Everything the policy is told before the first fact."""

    domains: Mapping[str, DomainRule]
    deployments: Mapping[str, DeploymentRule]
    routes: Mapping[str, RouteRule]
    projects: Mapping[str, ProjectRule]
    pools: Mapping[str, int | None] = field(default_factory=dict)
    """By provider: calls at once that the operator allows, ``None`` for as many as there are workers' slots."""
    shares: Mapping[Lane, float] = field(default_factory=lambda: {"rt": 0.6, "std": 0.25, "batch": 0.1, "bg": 0.05})
    breaker: BreakerRule = BreakerRule(failures=5, open_for=5.0, max_open=120.0)
    quarantine: BreakerRule = BreakerRule(failures=1, open_for=30.0, max_open=900.0)
    max_worker_deaths: int = 2
    default_deadline: float = 86_400.0
    pace: Pace = Pace()
    experiments: Mapping[str, Experiment] = field(default_factory=dict)
    """By name, as the configuration has them; how far they are is told later."""
