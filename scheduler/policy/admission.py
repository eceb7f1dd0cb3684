"""Which deployments of a route a job may go to by its constraints and by the calendar, and why not to the others.

Both change with time: prices have their hours, models retire. So the answer is kept for a minute only, and asked again
when a job is about to go.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from job_contracts.constraints import joined, unmet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from job_contracts.constraints import Constraints
    from scheduler.policy.rules import DeploymentRule, RouteRule

MINUTE = 60.0
ROOM = 4_096
"""Different sets of constraints that are remembered at once."""


class Demands:
    """What jobs ask of a deployment, one object for all that ask the same: a million jobs share it."""

    __slots__ = ("constraints",)

    def __init__(self, constraints: tuple[Constraints, ...]) -> None:
        self.constraints = constraints


class Asking:
    """Finds the ``Demands`` of a project's and a job's own constraints."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[Constraints, ...], Demands] = {}

    def of(self, *each: Constraints | None) -> Demands | None:
        """``None`` where nothing is asked for."""
        constraints = joined(*each)
        if not constraints:
            return None
        found = self._known.get(constraints)
        if found is None:
            if len(self._known) >= ROOM:
                self._known.clear()
            found = self._known[constraints] = Demands(constraints)
        return found


class Admission:
    """One route's answers."""

    __slots__ = ("_before", "_gone", "_masks", "_minute", "_rules", "_stand_ins", "_stepped", "_wall", "dated")

    def __init__(
        self,
        route: RouteRule,
        rules: Sequence[DeploymentRule],
        wall: Callable[[], float],
        gone: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._rules = rules
        self._before = route.before
        self._gone = gone
        """Whether a deployment's provider says that it does not have the model."""
        self._stepped = 0
        self._stand_ins: Mapping[str, date] = route.stand_ins
        self._wall = wall
        """UTC seconds now."""
        self.dated = bool(route.stand_ins) or any(rule.retires is not None for rule in rules)
        """Whether the calendar alone decides anything here."""
        self._minute = -1
        self._masks: dict[Demands | None, int] = {}

    def barred(self, demands: Demands | None) -> int:
        """Mask of the deployments that such a job may not go to now."""
        if demands is None and not self.dated:
            return 0
        minute, stepped = int(self._wall() // MINUTE), self._stepping_in()
        if minute != self._minute or stepped != self._stepped or len(self._masks) >= ROOM:
            self._minute, self._stepped = minute, stepped
            self._masks.clear()
        mask = self._masks.get(demands)
        if mask is None:
            closed = [index for index in range(len(self._rules)) if self.reason(index, demands) is not None]
            mask = self._masks[demands] = sum(1 << index for index in closed)
        return mask

    def reason(self, index: int, demands: Demands | None) -> str | None:
        """Why such a job may not go there now, ``None`` if it may."""
        rule, wall = self._rules[index], self._wall()
        return self._by_calendar(rule, wall) or (None if demands is None else unmet(demands.constraints, rule.at(wall)))

    def by_constraint(self, index: int, demands: Demands | None) -> bool:
        """Whether it is the constraints that keep it from there."""
        return demands is not None and unmet(demands.constraints, self._rules[index].at(self._wall())) is not None

    def _stepping_in(self) -> int:
        """Mask of the successors whose time has come because the model before them is not there any more."""
        if not self._before:
            return 0
        return sum(1 << index for index, rule in enumerate(self._rules) if self._succeeds(rule.name))

    def _succeeds(self, name: str) -> bool:
        before = self._before.get(name)
        return before is not None and self._gone(before)

    def _by_calendar(self, rule: DeploymentRule, wall: float) -> str | None:
        if not self.dated:
            return None
        today = datetime.fromtimestamp(wall, UTC).date()
        if rule.retires is not None and rule.retires <= today:
            instead = f", its successor is {rule.successor!r}" if rule.successor else ""
            return f"its provider has retired the model on {rule.retires.isoformat()}{instead}"
        since = self._stand_ins.get(rule.name)
        if since is not None and today < since and not self._succeeds(rule.name):
            when = "once" if since == date.max else f"from {since.isoformat()} on, when"
            return f"it stands in {when} the model before it is retired"
        return None
