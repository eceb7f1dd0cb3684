"""When an attempt of a route is late, and how much its second attempts may still spend: a share of all it spends."""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING

from job_contracts.failures import FailureKind
from scheduler.policy.speeds import Speed

if TYPE_CHECKING:
    from scheduler.policy.accounts import Accounts
    from scheduler.policy.decisions import Lateness
    from scheduler.policy.domains import Tokens
    from scheduler.policy.jobs import Job
    from scheduler.policy.rules import HedgeRule
    from scheduler.policy.speeds import Spread
    from scheduler.policy.turns import Deployment, Route

MOST = 0.95
"""Of the answers keep to what is held to be usual."""
ENOUGH = 20.0
"""Observations, faded, from which on that is believed."""
HALF = 600.0
"""Seconds after which what was spent counts half."""
LANES_HEDGED = 2
"""Lanes whose jobs somebody waits for: ``rt`` and ``std``."""


class Allowance:
    """What was spent lately, in all and on second attempts.

    Both fade alike, and a second attempt is only made if it fits into the share of what has been spent by then. So the
    share holds for the sums of all times as well, not only for those that have not faded yet.
    """

    __slots__ = ("_at", "hedged", "total")

    def __init__(self) -> None:
        self._at = 0.0
        self.total = 0.0
        self.hedged = 0.0

    def _fade(self, now: float) -> None:
        if now > self._at:
            left = exp(-log(2.0) * (now - self._at) / HALF)
            self.total *= left
            self.hedged *= left
            self._at = now

    def note(self, amount: float, now: float) -> None:
        """An ordinary attempt."""
        self._fade(now)
        self.total += amount

    def take(self, amount: float, share: float, now: float) -> bool:
        """A second attempt, if it keeps to its share."""
        self._fade(now)
        if self.hedged + amount > share * (self.total + amount):
            return False
        self.total += amount
        self.hedged += amount
        return True

    def back(self, amount: float) -> None:
        """That second attempt was not made after all."""
        self.total = max(0.0, self.total - amount)
        self.hedged = max(0.0, self.hedged - amount)


class Hedging:
    """One route's."""

    __slots__ = ("_accounts", "_priced", "allowance", "rule")

    def __init__(self, route: Route, rule: HedgeRule, accounts: Accounts) -> None:
        self.rule = rule
        self.allowance = Allowance()
        self._accounts = accounts
        # In money where all prices are known, else in tokens: the two cannot be added.
        self._priced = all(each.rule.prices for each in route.deployments)
        for deployment in route.deployments:
            deployment.speed = deployment.speed or Speed()

    def late(self, job: Job, deployment: Deployment, now: float) -> Lateness | None:
        """When an attempt there is late, ``None`` for a job that nobody makes a second attempt of."""
        if job.lane >= LANES_HEDGED or shown(job):
            return None
        if self.rule.after is not None:
            return self.rule.after, self.rule.after
        speed = deployment.speed
        if speed is None:
            return None, None
        return _usual(speed.first_token, now), _usual(speed.total, now)

    def amount(self, deployment: Deployment, tokens: Tokens, now: float) -> float:
        """What such an attempt is likely to cost: picodollars or tokens."""
        if not self._priced:
            return float(tokens[0] + tokens[1])
        return float(deployment.tariff.likely(tokens[0], tokens[1], self._accounts.wall(now)) or 0)


def shown(job: Job) -> bool:
    """Whether tokens of an attempt before may have been shown: what is shown of the next one is its worker's to say,
    who would otherwise take them for those of a second attempt.
    """
    failures = (record.failure for record in (() if job.story is None else job.story.history))
    return any(each is not None and (each.produced or each.kind is FailureKind.WORKER_LOST) for each in failures)


def _usual(spread: Spread, now: float) -> float | None:
    return spread.within(MOST) if spread.known(now) >= ENOUGH else None
