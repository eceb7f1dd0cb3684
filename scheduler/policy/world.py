"""Everything the rules name, as running state: pools, domains, gates, deployments, routes, projects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from job_contracts.followups import follows
from scheduler.policy.accounts import Accounts
from scheduler.policy.admission import Asking
from scheduler.policy.domains import Domain
from scheduler.policy.estimates import Estimates
from scheduler.policy.fairness import Shares
from scheduler.policy.followups import follower, following, judged_by
from scheduler.policy.gates import Gate
from scheduler.policy.hedging import Hedging
from scheduler.policy.places import Places
from scheduler.policy.planning import Planner
from scheduler.policy.pools import Pool
from scheduler.policy.routes import STRATEGIES
from scheduler.policy.seats import Trials
from scheduler.policy.tenants import Tenant
from scheduler.policy.turns import Deployment, Moment, Route
from scheduler.policy.waits import Waits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scheduler.policy.admission import Demands
    from scheduler.policy.facts import Submitted
    from scheduler.policy.jobs import Job
    from scheduler.policy.payers import Wallet
    from scheduler.policy.rules import Rules
    from scheduler.policy.seats import Running


class World:
    """Built once from the rules; the board and its rooms change it."""

    __slots__ = (
        "accounts",
        "asking",
        "deployments",
        "estimates",
        "gates",
        "moment",
        "places",
        "pools",
        "routes",
        "rules",
        "tenants",
        "trials",
    )

    def __init__(self, rules: Rules, now: float = 0.0, wall: float = 0.0) -> None:
        self.rules = rules
        self.moment = Moment()
        self.places = Places()
        self.estimates = Estimates(rules.routes)
        providers = {rule.provider: None for rule in rules.domains.values()}
        self.pools = {name: Pool(name, rules.pools.get(name)) for name in providers}
        self.gates = {
            name: Gate(Domain(rule, self.pools[rule.provider], rules.pace), Shares(rules.shares))
            for name, rule in rules.domains.items()
        }
        self.deployments = {
            name: Deployment(rule, self.gates[rule.domain], rules) for name, rule in rules.deployments.items()
        }
        for each in self.deployments.values():
            each.beside = [other for other in self.siblings(each) if other is not each]
        self.accounts = Accounts(rules, now, wall)
        self.routes = {
            name: Route(
                rule, [self.deployments[each] for each in rule.deployments], self.moment, self.estimates, self.wall
            )
            for name, rule in rules.routes.items()
        }
        for route in self.routes.values():
            if not STRATEGIES[route.rule.strategy].fixed:
                route.planner = Planner(route, self.accounts, self.estimates)
            route.waits = Waits(route.rules, lambda: self.accounts.now) or None
            route.timed = route.timed or route.waits is not None
            if route.rule.hedge is not None and route.rule.stages is None:
                route.hedging = Hedging(route, route.rule.hedge, self.accounts)
        self.asking = Asking()
        self.trials = Trials(rules.experiments)
        self.place_trials(self.trials.running)
        self.tenants = {name: Tenant(name, rule) for name, rule in rules.projects.items()}

    def place_trials(self, running: Mapping[str, Running]) -> None:
        """Experiments stand so from now on, and so do the budgets of their judges."""
        self.trials.place(running)
        judged = judged_by({name: each.settings for name, each in running.items()})
        self.accounts.payers.hold_judges({route: judge.budget for route, judge in judged.items()})

    def tenant(self, project: str, job: str = "") -> Tenant:
        """The project's state; one the rules do not name gets an empty one, so that its jobs can be refused."""
        if follows(job):
            return self._follower(project)
        found = self.tenants.get(project)
        if found is None:
            found = self.tenants[project] = Tenant(project, None)
        return found

    def _follower(self, project: str) -> Tenant:
        """What a project's follow-ups have, apart from its own jobs."""
        key = following(project)
        found = self.tenants.get(key)
        if found is None:
            found = self.tenants[key] = follower(project, self.rules.projects.get(project))
        return found

    def wall(self) -> float:
        """UTC seconds at the newest moment that is known."""
        return self.accounts.wall(self.accounts.now)

    def demands(self, tenant: Tenant, fact: Submitted) -> Demands | None:
        """What a job and its project ask of a deployment, ``None`` if nothing."""
        own = None if tenant.rule is None else tenant.rule.constraints
        return None if own is None and fact.constraints is None else self.asking.of(own, fact.constraints)

    def wallet(self, tenant: Tenant, fact: Submitted, now: float, route: str | None = None) -> Wallet | None:
        """Who pays for a job where that ``route`` serves it; ``None`` if nobody has to be asked."""
        if follows(fact.job):
            return self.accounts.payers.own_purse(fact.job, fact.tags)
        served_by = route or fact.route
        if fact.key is None and tenant.name not in self.accounts.payers.paying:
            return None
        if tenant.rule is None or served_by not in self.routes:
            return None
        return self.accounts.payers.wallet(tenant.rule, served_by, fact.key, fact.bounds, fact.tags, now)

    def job(self, project: str, job: str) -> Job | None:
        """The job, if it is known."""
        tenant = self.tenants.get(following(project) if follows(job) else project)
        return None if tenant is None else tenant.jobs.get(job)

    def siblings(self, deployment: Deployment) -> list[Deployment]:
        """All deployments of the same provider, that one among them."""
        provider = deployment.rule.provider
        return [each for each in self.deployments.values() if each.rule.provider == provider]
