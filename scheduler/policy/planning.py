"""The order that depends on the job, made when it is queued: what it costs at each place, and where its cache is.

A ``Plan`` is part of the key of the job's group, so it holds no more than makes a difference to the order: the order
itself, or prices as steps of a scale.
"""

from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING, NamedTuple

from scheduler.policy.live import LiveGroup, Standing
from scheduler.policy.prompts import Prompts
from scheduler.policy.routes import STRATEGIES
from scheduler.policy.routes.strategy import Candidate
from scheduler.policy.speeds import Speed
from scheduler.policy.turns import Group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.policy.accounts import Accounts
    from scheduler.policy.estimates import Estimates
    from scheduler.policy.facts import Settled
    from scheduler.policy.jobs import Job
    from scheduler.policy.turns import Deployment, Route

FINE = 4
"""Steps in which a price doubles; by them prices of different jobs are held to be alike."""
DEAREST = 3 * FINE
"""Step of everything that costs eight times the least or more."""
UNKNOWN = -1
MANY = 512
"""Groups from which on those are dropped in which nobody waits."""


class Plan(NamedTuple):
    """What of a job makes a difference to its order."""

    order: tuple[int, ...] = ()
    """All places, where the strategy has put them in order once and for all."""
    steps: tuple[int, ...] = ()
    """What each costs, in steps above the least, where it weighs that at the moment."""
    home: int = -1
    """Where its session stays."""


class Sums(NamedTuple):
    """Whether a session stays where its prompt cache is. Money in picodollars, ``None`` where it is not known."""

    home: int
    cached: int
    """Tokens of the prompt that are likely to be read from the cache there."""
    worth: int | None
    """What that cache makes cheaper."""
    saves: int | None
    """What the cheapest other place would, against this one without its cache."""
    stays: bool


class Planner:
    """Makes the orders of one route whose strategy is not the operator's own order."""

    __slots__ = ("_accounts", "_estimates", "_groups", "_limit", "prompts", "route", "standing", "strategy")

    def __init__(self, route: Route, accounts: Accounts, estimates: Estimates) -> None:
        self.route = route
        self.strategy = STRATEGIES[route.rule.strategy]
        weights = route.rule.weights
        self.standing = Standing([weights.get(each.name, 1.0) for each in route.deployments])
        self.prompts = Prompts()
        self._accounts = accounts
        self._estimates = estimates
        self._groups: dict[tuple[int, int, Plan], Group] = {}
        self._limit = MANY
        for deployment in route.deployments if self.strategy.timed else ():
            deployment.speed = deployment.speed or Speed()

    @property
    def groups(self) -> Sequence[Group]:
        """All groups that are kept."""
        return tuple(self._groups.values())

    def group(self, job: Job, barred: int, tried: int) -> Group:
        """The group of this job, as prices and its session stand."""
        plan = self.plan(job, barred)
        group = self._groups.get((barred, tried, plan))
        if group is None:
            self._sweep()
            group = self._groups[(barred, tried, plan)] = self._made(plan, barred, tried)
        return group

    def imagined(self, job: Job, barred: int, tried: int) -> Group:
        """The group that a job would be in which is not queued; it is not kept."""
        return self._made(self.plan(job, barred), barred, tried)

    def _made(self, plan: Plan, barred: int, tried: int) -> Group:
        if self.strategy.live:
            return LiveGroup(self.route, barred, tried, plan, self)
        return Group(self.route, barred, tried, plan.order)

    def plan(self, job: Job, barred: int) -> Plan:
        """What of this job makes a difference."""
        sums = self.sums(job, barred)
        home = sums.home if sums is not None and sums.stays else -1
        if not self.strategy.priced:
            return Plan(home=home)
        costs = self.costs(job)
        if self.strategy.live:
            return Plan(steps=_steps(costs, barred), home=home)
        rules = self.route.rules
        candidates = [Candidate(index, rules[index], cost=cost) for index, cost in enumerate(costs)]
        order = [each.index for each in self.strategy.rank(candidates, self.route.rule)]
        return Plan(order=tuple(order if home < 0 else [home, *(each for each in order if each != home)]))

    def candidate(self, index: int, now: float, plan: Plan) -> Candidate:
        """A place as it is at this moment."""
        deployment, step = self.route.deployments[index], plan.steps[index] if plan.steps else UNKNOWN
        speed = deployment.speed
        return Candidate(
            index,
            deployment.rule,
            weight=self.standing.weights[index],
            cost=None if step == UNKNOWN else 2.0 ** (step / FINE),
            in_flight=deployment.flying,
            load=deployment.load,
            first_token=None if speed is None else speed.first_token.most,
            total=None if speed is None else speed.total.most,
            known=0.0 if speed is None else speed.total.known(now),
            usual=0.0 if speed is None else speed.usual.value,
            credit=self.standing.credit[index],
            since=self.standing.since[index],
        )

    # ---------------------------------------------------------------------------------------------------------- money

    def costs(self, job: Job) -> list[int | None]:
        """Picodollars that it is likely to cost at each place, its part from the cache at the price of that."""
        home = self.prompts.home(job, self._accounts.now)
        return [
            self._cost(job, index, None if home is None else home.cached if home.place == index else 0)
            for index in range(len(self.route.deployments))
        ]

    def _cost(self, job: Job, index: int, cached: int | None) -> int | None:
        deployment, project = self.route.deployments[index], job.tenant.name
        tokens = self.prompts.tokens(project, index, self.route.counted(job, deployment.rule))
        read = self.prompts.read(project, index, tokens) if cached is None else min(cached, tokens)
        output = 0
        if "embeddings" not in job.needs:
            output = self._estimates.output(project, self.route.name, job.max_output)
        return deployment.tariff.expected(tokens, read, output, self._accounts.wall(self._accounts.now))

    def sums(self, job: Job, barred: int) -> Sums | None:
        """Whether its session stays where it was; ``None`` if it was nowhere lately, or cannot go there."""
        now = self._accounts.now
        home = self.prompts.home(job, now)
        if home is None or barred >> home.place & 1:
            return None
        costs = self.costs(job)
        others = [
            cost
            for index, cost in enumerate(costs)
            if cost is not None
            and index != home.place
            and not barred >> index & 1
            and not self.route.deployments[index].benched(now)
        ]
        mine, plain = costs[home.place], self._cost(job, home.place, 0)
        if mine is None or plain is None:
            # No price says what the cache is worth; where money is not what counts, it saves time.
            return Sums(home.place, home.cached, None, None, not self.strategy.priced)
        saves = None if not others else max(0, plain - min(others))
        return Sums(home.place, home.cached, plain - mine, saves, not others or mine <= min(others))

    # ------------------------------------------------------------------------------------------------------- learning

    def learn(self, job: Job, deployment: Deployment, fact: Settled, now: float) -> None:
        """An attempt of it succeeded there."""
        index = self.route.index(deployment.name)
        if index is not None and fact.usage.reported and fact.usage.total > 0:
            self.prompts.learn(job, index, self.route.counted(job, deployment.rule), fact.usage, now)

    def _sweep(self) -> None:
        if len(self._groups) >= self._limit:
            self._groups = {key: group for key, group in self._groups.items() if not group.idle}
            self._limit = max(MANY, 2 * len(self._groups))


def _steps(costs: Sequence[int | None], barred: int) -> tuple[int, ...]:
    """Each cost in steps above the least of those that count."""
    known = [cost for index, cost in enumerate(costs) if cost is not None and not barred >> index & 1]
    least = min(known, default=0)
    return tuple(_step(cost, least) for cost in costs)


def _step(cost: int | None, least: int) -> int:
    if cost is None:
        return UNKNOWN
    if cost <= least:
        return 0
    return DEAREST if least <= 0 else min(round(FINE * log2(cost / least)), DEAREST)
