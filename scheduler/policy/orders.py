"""What operators order: who may get work, and which limits hold meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from job_contracts.operating import DOINGS, OF_PROJECT, InForce, Standing
from scheduler.policy.rules import Limit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from job_contracts.operating import Aim, AskOrder, Audited, Rates
    from scheduler.policy.facts import Ordered
    from scheduler.policy.live import Standing as Turns
    from scheduler.policy.payers import Payer
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
            _limit(world, fact, now)
        case "weight":
            for turns, place in weights(world, fact.name).values():
                turns.weigh(place, 1.0 if fact.factor is None else fact.factor)


def _limit(world: World, fact: Ordered, now: float) -> None:
    gate, payer = world.gates.get(fact.name), held(world).get(fact.name)
    if gate is not None:
        domain, rule = gate.domain, world.rules.domains[fact.name]
    elif payer is not None and payer.quota is not None:
        domain, rule = payer.quota.domain, payer.quota.configured
        payer.stir()  # there may be room for who waits
    else:
        return
    domain.hold_to(rule if fact.limits is None else overridden(rule, fact.limits), now)


def held(world: World) -> dict[str, Payer]:
    """Projects that have limits of their own, by ``project:NAME``."""
    named = world.accounts.payers.named.items()
    return {name: payer for name, payer in named if payer.quota is not None and name.startswith(OF_PROJECT)}


def weights(world: World, deployment: str) -> dict[str, tuple[Turns, int]]:
    """By ``weighted`` route that has the deployment: where the turns are kept, and its place there."""
    found: dict[str, tuple[Turns, int]] = {}
    for name, route in world.routes.items():
        place = route.index(deployment) if route.rule.strategy == "weighted" else None
        if place is not None and route.planner is not None:
            found[name] = route.planner.standing, place
    return found


def overridden(rule: DomainRule, rates: Rates) -> DomainRule:
    """The configured limits with those in their place that are ordered."""
    like = rule.limits[0] if rule.limits else Limit("requests", 0.0, WINDOW, rule.burst, rule.skew)
    told: tuple[tuple[Unit, float | None], ...] = (
        ("requests", rates.rpm),
        ("input_tokens", rates.input_tpm),
        ("output_tokens", rates.output_tpm),
        ("tokens", rates.tpm),
    )
    limits = {limit.unit: limit for limit in rule.limits}
    for unit, rate in told:
        if rate is not None:
            limits[unit] = replace(like, unit=unit, amount=rate * like.window / 60.0)
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
    return _nowhere(world, asked) or _unsaid(asked)


def _nowhere(world: World, asked: AskOrder) -> tuple[str, str, str] | None:
    weighted = [route.deployments for route in world.rules.routes.values() if route.strategy == "weighted"]
    aims: dict[Aim, Collection[str]] = {
        "pool": world.pools,
        "deployment": world.deployments,
        "limit": {**world.gates, **held(world)},
        "weight": {each for deployments in weighted for each in deployments},
    }
    known = aims[asked.aim]
    if asked.name in known:
        return None
    if asked.aim == "weight":
        remedy = f"use one of: {', '.join(sorted(known))}" if known else "give a route the strategy weighted"
        return "name", f"there is no deployment {asked.name!r} in a route that goes by weights", remedy
    if asked.aim == "limit" and asked.name.removeprefix(OF_PROJECT) in world.rules.projects:
        remedy = "give it limits in the configuration, however high: those can be overridden"
        return "name", f"{asked.name.removeprefix(OF_PROJECT)!r} is a project without limits of its own", remedy
    return "name", f"there is no {asked.aim} {asked.name!r}", f"use one of: {', '.join(sorted(known))}"


def _unsaid(asked: AskOrder) -> tuple[str, str, str] | None:
    able = DOINGS[asked.aim]
    if asked.do not in able:
        return "do", f"a {asked.aim} cannot be told to {asked.do}", f"use {', '.join(able[:-1])} or {able[-1]}"
    if asked.do == "override" and not asked.limits:
        return "limits", "an override must say what holds instead", "add one of rpm, input_tpm, output_tpm, tpm, …"
    if asked.do == "weigh" and asked.factor is None:
        return "factor", "to weigh is to say how many times the configured weight", "add a factor, such as 0.1"
    if asked.do in {"override", "weigh"} and asked.lasts is None:
        return "lasts", f"what is ordered by {asked.do} must say when it ends", "add the seconds that it lasts"
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
        case "weigh":
            return Standing(factor=asked.factor, until=until)
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
