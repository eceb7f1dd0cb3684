"""What the operator allows and the catalogue knows, resolved once into frozen tables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from catalogue.tiers import at_tier, tier_of
from catalogue.traits import priced, retirement, traits_of
from job_contracts.attempts import Fit
from job_contracts.constraints import Constraints, Hosting, Traits, joined
from job_contracts.experiments import Experiment
from job_contracts.jobs import LANES, Lane
from scheduler.policy.followups import Followed, followed_by
from scheduler.policy.stages import Stages, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from catalogue.prices import Price
    from catalogue.rows import ProviderRow
    from job_contracts.money import Budget
    from scheduler.policy.configured import Configured, HedgeLike, LimitsLike, ProviderLike

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


def rules_from(config: Configured, catalogue: Mapping[str, ProviderRow]) -> Rules:
    """The rules of a checked configuration; ``catalogue`` has a row for every known provider, by name."""
    domains: dict[str, DomainRule] = {}
    deployments: dict[str, DeploymentRule] = {}
    for name, provider in config.providers.items():
        domains[name] = _domain(name, name, provider.limits)
        for own, domain in provider.domains.items():
            domains[f"{name}:{own}"] = _domain(f"{name}:{own}", name, domain.limits)

    def known(deployment: str) -> DeploymentRule:
        if deployment not in deployments:
            name = deployment.partition("/")[0]
            provider = config.providers[name]
            deployments[deployment] = _deployment(deployment, provider, catalogue.get(provider.catalogue or name))
        return deployments[deployment]

    followed = {
        name: _followed(route.deployments, known, successors=route.successors) for name, route in config.routes.items()
    }
    scheduler = config.scheduler
    stages = {name: staged(name, config, {each: told[0] for each, told in followed.items()}) for name in config.routes}
    return Rules(
        domains=domains,
        deployments=deployments,
        routes={
            name: RouteRule(
                name,
                stages[name][0],
                route.strategy,
                route.max_attempts,
                route.expected_output,
                route.fit,
                route.budget,
                dict(route.weights),
                Blend(route.blend.cost, route.blend.speed, route.blend.load),
                route.affinity,
                {after: day for after, (_, day) in followed[name][1].items()},
                OnceMore(route.once_more.when, route.once_more.within),
                {after: old for after, (old, _) in followed[name][1].items()},
                reports_invalid=route.on_invalid == "report",
                hedge=_hedging(route.hedge),
                followed=followed_by(route),
                stages=stages[name][1],
            )
            for name, route in config.routes.items()
        },
        projects={
            name: ProjectRule(
                name=name,
                routes=None if project.routes is None else frozenset(project.routes),
                lanes=project.lanes,
                weight=project.weight,
                max_queued=project.max_queued,
                max_in_flight=project.max_in_flight,
                retry_share=project.retry_share,
                max_queued_bytes=project.max_queued_bytes,
                limits=_metered(project.limits),
                concurrency=project.limits.concurrency,
                budget=project.budget,
                tags=dict(project.tags),
                constraints=next(iter(joined(project.constraints)), None),
            )
            for name, project in config.projects.items()
        },
        pools={name: provider.concurrency for name, provider in config.providers.items()},
        shares={lane: scheduler.lanes[lane].share if lane in scheduler.lanes else 0.01 for lane in LANES},
        breaker=BreakerRule(scheduler.breaker.failures, scheduler.breaker.open_for, scheduler.breaker.max_open),
        max_worker_deaths=scheduler.max_worker_deaths,
        default_deadline=scheduler.default_deadline,
        experiments=plain(config.experiments),
    )


def plain(experiments: Mapping[str, Experiment]) -> dict[str, Experiment]:
    """As the contract has them, whatever else the configuration's own may be: so two of them can be compared."""
    return {name: Experiment.model_validate(written.model_dump()) for name, written in experiments.items()}


def _hedging(hedge: HedgeLike | None) -> HedgeRule | None:
    return None if hedge is None else HedgeRule(hedge.share, None if hedge.after == "p95" else hedge.after)


def _followed(
    listed: tuple[str, ...], known: Callable[[str], DeploymentRule], *, successors: bool
) -> tuple[tuple[str, ...], dict[str, tuple[str, date]]]:
    """A route's deployments, each followed by its successors, with whose place these take and from which day.

    Where the day is not known it is the last of all: they step in once the provider no longer has the model before
    them. One that the route names itself is its own man; nor is anybody followed by one that was there before.
    """
    every: dict[str, None] = {}
    since: dict[str, tuple[str, date]] = {}
    for name in listed:
        every[name] = None
        rule, day = known(name), None
        while successors and rule.successor:
            retires = rule.retires or date.max
            day = retires if day is None else max(day, retires)
            after = f"{rule.provider}/{rule.successor}"
            if after in every or after in listed:
                break
            every[after], since[after] = None, (rule.name, day)
            rule = known(after)
    return tuple(every), since


def _domain(name: str, provider: str, limits: LimitsLike) -> DomainRule:
    return DomainRule(name, provider, _metered(limits), limits.concurrency, limits.burst, limits.skew)


def _metered(limits: LimitsLike) -> tuple[Limit, ...]:
    metered: tuple[tuple[Unit, float | None], ...] = (
        ("requests", limits.rpm),
        ("input_tokens", limits.input_tpm),
        ("output_tokens", limits.output_tpm),
        ("tokens", limits.tpm),
    )
    # The settings say "per minute"; the window says over which stretch the provider enforces it.
    return tuple(
        Limit(unit, amount * limits.window / 60.0, limits.window, limits.burst, limits.skew)
        for unit, amount in metered
        if amount is not None
    )


def _deployment(name: str, provider: ProviderLike, row: ProviderRow | None) -> DeploymentRule:
    pool, _, model = name.partition("/")
    own = [key for key, domain in provider.domains.items() if any(fnmatchcase(model, glob) for glob in domain.models)]
    domain = f"{pool}:{own[0]}" if own else pool
    tier = tier_of(pool, provider, row)
    row = row if row is None else at_tier(row, tier)
    traits = traits_of(pool, provider, row, model)
    retires, successor = retirement(provider, row, model)
    rule = DeploymentRule(
        name,
        pool,
        domain,
        hosting=provider.hosting,
        region=traits.region,
        zero_retention=provider.zero_retention,
        quantisation=traits.quantisation,
        retires=retires,
        successor=successor,
        vendor=traits.vendor,
        also=traits.names,
        wait=None if tier is None else Wait(provider.tier, provider.turnaround or tier.turnaround, provider.spare),
    )
    if row is None:
        return rule
    facts = row.model(model)
    known = "capabilities" in facts.model_fields_set
    return replace(
        rule,
        window=facts.context_window,
        capabilities=frozenset(facts.capabilities) if known else None,
        cached_input_counts=row.cached_input_counts,
        prices=row.prices(model),
        max_output=facts.max_output,
    )
