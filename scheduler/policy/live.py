"""Groups whose order changes with load: ranked anew after every grant, so that thousands of jobs do not herd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.policy.routes.strategy import Candidate
from scheduler.policy.turns import Group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.policy.planning import Plan, Planner
    from scheduler.policy.turns import Deployment, Route

DRIFT = 2.0
"""Turns that a place is behind or ahead of its weight at most: who comes back gets no burst to make up for it."""


class Standing:
    """Whose turn it was, on one route."""

    __slots__ = ("configured", "credit", "since", "weights")

    def __init__(self, weights: Sequence[float]) -> None:
        self.configured = tuple(weights)
        self.weights = list(weights)
        """As they are in force."""
        self.credit = [0.0] * len(self.weights)
        self.since = [0] * len(self.weights)

    def weigh(self, place: int, factor: float) -> None:
        """An operator says how many times its configured weight that place has from now on."""
        self.weights[place] = self.configured[place] * factor

    def went(self, chosen: int, able: Sequence[int]) -> None:
        """It went to ``chosen`` when it could have gone to any of ``able``: only those gain by it."""
        total = sum(self.weights[index] for index in able)
        for index in able:
            gained = self.weights[index] / total if total > 0 else 0.0
            self.credit[index] = min(self.credit[index] + gained, DRIFT)
            self.since[index] += 1
        self.credit[chosen] = max(self.credit[chosen] - 1.0, -DRIFT)
        self.since[chosen] = 0


class LiveGroup(Group):
    """Jobs that may go to the same places, in an order that is made each time one of them may go."""

    __slots__ = ("_planner", "_seen", "_standing", "able", "plan")

    def __init__(self, route: Route, barred: int, tried: int, plan: Plan, planner: Planner) -> None:
        super().__init__(route, barred, tried)
        self.plan = plan
        self._planner = planner
        self._standing = planner.standing
        self._seen = (-1, -1)
        self.able: list[int] = []
        """The places that could take a job when it last thought, in their order."""

    def choice(self) -> Deployment | None:
        """As the others', but a grant at any of its places, whoever got it, lets it think again."""
        deployments, version = self.route.deployments, self._moment.version
        seen = (version, sum([each.flying for each in deployments]))
        if seen != self._seen:
            self._seen = seen
            self._choice = self._choose(self._moment.now)
        return self._choice

    def _choose(self, now: float) -> Deployment | None:
        deployments = self.route.deployments
        able = [index for index in self.first if deployments[index].usable(now)]
        if not able and all(deployments[index].benched(now) for index in self.first):
            able = [index for index in self.then if deployments[index].usable(now)]
        self.able = self.ranked(able, now)
        return deployments[self.able[0]] if able else None

    def went(self, deployment: Deployment, now: float) -> None:
        """One of its jobs went there."""
        chosen = self.route.index(deployment.name)
        if chosen is not None:
            places = self.then if chosen in self.then else self.first
            able = [each for each in places if each == chosen or self.route.deployments[each].usable(now)]
            self._standing.went(chosen, able)

    def ranked(self, indexes: Sequence[int], now: float) -> list[int]:
        """These places in the order that is right now; where the session is at home first."""
        if len(indexes) < 2:
            return list(indexes)
        candidates = [self.candidate(index, now) for index in indexes]
        found = [candidate.index for candidate in self._planner.strategy.rank(candidates, self.route.rule)]
        home = self.plan.home
        return [home, *(each for each in found if each != home)] if home in found else found

    def candidate(self, index: int, now: float) -> Candidate:
        """What the strategy may know of a place."""
        return self._planner.candidate(index, now, self.plan)
