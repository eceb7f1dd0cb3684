"""The rules of a checked configuration, with what the catalogue knows of its providers."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from catalogue.tiers import at_tier, tier_of
from catalogue.traits import retirement, traits_of
from job_contracts.constraints import joined
from job_contracts.experiments import Experiment
from job_contracts.jobs import LANES
from scheduler.policy.followups import followed_by
from scheduler.policy.rules import (
    Blend,
    BreakerRule,
    DeploymentRule,
    DomainRule,
    HedgeRule,
    Limit,
    OnceMore,
    ProjectRule,
    RouteRule,
    Rules,
    Wait,
)
from scheduler.policy.stages import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from catalogue.rows import ProviderRow
    from scheduler.policy.configured import Configured, HedgeLike, LimitsLike, ProviderLike
    from scheduler.policy.rules import Unit


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
