"""What operators order: who may get work, and which limits hold meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from job_contracts.operating import InForce, Standing
from scheduler.policy.rules import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from job_contracts.operating import Aim, AskOrder, Audited, Rates
    from scheduler.policy.facts import Ordered
    from scheduler.policy.pools import Pool
    from scheduler.policy.rules import DomainRule, Unit
    from scheduler.policy.turns import Deployment
    from scheduler.policy.world import World

WINDOW = 60.0
"""Seconds, where the configuration has no window because it has no limit."""
Target = tuple["Aim", str]
NOTHING = Standing()


def carry_out(world: World, fact: Ordered, now: float) -> None:
    """Let it hold from now on. What the rules do not name, as after a change of them, is no matter."""
    match fact.aim:
        case "pool":
            pool = world.pools.get(fact.name)
            if pool is not None:
                pool.order(fact.state, fact.said)
        case "deployment":
            deployment = world.deployments.get(fact.name)
            if deployment is not None:
                deployment.state, deployment.said = fact.state, fact.said
                deployment.held = fact.state != "running"
        case "limit":
            gate, rule = world.gates.get(fact.name), world.rules.domains.get(fact.name)
            if gate is not None and rule is not None:
                gate.domain.hold_to(rule if fact.limits is None else overridden(rule, fact.limits), now)


def overridden(rule: DomainRule, rates: Rates) -> DomainRule:
    """The configured limits with those in their place that are ordered."""
    window = rule.limits[0].window if rule.limits else WINDOW
    told: tuple[tuple[Unit, float | None], ...] = (
        ("requests", rates.rpm),
        ("input_tokens", rates.input_tpm),
        ("output_tokens", rates.output_tpm),
        ("tokens", rates.tpm),
    )
    limits = {limit.unit: limit for limit in rule.limits}
    for unit, rate in told:
        if rate is not None:
            limits[unit] = Limit(unit, rate * window / 60.0, window, rule.burst, rule.skew)
    concurrency = rule.concurrency if rates.concurrency is None else rates.concurrency
    return replace(rule, limits=tuple(limits.values()), concurrency=concurrency)


def paused(deployment: Deployment, pool: Pool) -> str:
    """In words why nothing new goes there."""
    what, state, said = f"pool {pool.name}", pool.state, pool.said
    if deployment.held:
        what, state, said = deployment.name, deployment.state, deployment.said
    return f"{what} is {'being emptied' if state == 'draining' else 'paused'} by {said}"


def problem(world: World, asked: AskOrder) -> tuple[str, str, str] | None:
    """Field, what is wrong with an order and what would be right; ``None`` if it can be carried out."""
    aims: dict[Aim, Mapping[str, object]] = {
        "pool": world.pools,
        "deployment": world.deployments,
        "limit": world.gates,
    }
    known = aims[asked.aim]
    if asked.name not in known:
        return "name", f"there is no {asked.aim} {asked.name!r}", f"use one of: {', '.join(sorted(known))}"
    if (asked.do in {"override", "restore"}) != (asked.aim == "limit"):
        right = "override or restore" if asked.aim == "limit" else "pause, drain or resume"
        return "do", f"a {asked.aim} cannot be told to {asked.do}", f"use {right}"
    if asked.do != "override":
        return None
    if not asked.limits:
        return "limits", "an override must say what holds instead", "add one of rpm, input_tpm, output_tpm, tpm, …"
    if asked.lasts is None:
        return "lasts", "an override must say when it ends", "add the seconds that it lasts"
    return None


def wish(asked: AskOrder, wall: float) -> Standing:
    """How the target stands once the order is carried out."""
    until = None if asked.lasts is None else wall + asked.lasts
    match asked.do:
        case "pause":
            return Standing(state="paused", until=until)
        case "drain":
            return Standing(state="draining", until=until)
        case "override":
            return Standing(limits=asked.limits, until=until)
        case "resume" | "restore":
            return NOTHING


@dataclass(slots=True)
class Orders:
    """The last order of each target, as it was read."""

    last: dict[Target, InForce] = field(default_factory=dict)

    def read(self, entry: Audited, aim: Aim, name: str, seq: int) -> None:
        """One more order; one that was read already, or is older, is passed over."""
        known = self.last.get((aim, name))
        if known is None or known.seq < seq:
            standing = entry.after or NOTHING
            self.last[aim, name] = InForce(standing=standing, by=entry.by, why=entry.why, at=entry.at, seq=seq)

    def of(self, target: Target, wall: float) -> InForce | None:
        """The order that is in force of a target."""
        known = self.last.get(target)
        if known is None or known.standing == NOTHING or ended(known.standing, wall):
            return None
        return known

    def in_force(self, wall: float) -> Iterator[tuple[Target, InForce]]:
        """All that are."""
        for target in self.last:
            order = self.of(target, wall)
            if order is not None:
                yield target, order


def ended(standing: Standing, wall: float) -> bool:
    """Whether it has ended by itself."""
    return standing.until is not None and standing.until <= wall
