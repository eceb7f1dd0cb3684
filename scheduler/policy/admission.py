"""Which deployments of a route a job may go to by its constraints and by the calendar, and why not to the others.

Both change with time: prices have their hours, models retire. So the answer is kept for a minute only, and asked again
when a job is about to go.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from job_contracts.constraints import joined, unmet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

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

    __slots__ = ("_masks", "_minute", "_rules", "_stand_ins", "_wall", "dated")

    def __init__(self, route: RouteRule, rules: Sequence[DeploymentRule], wall: Callable[[], float]) -> None:
        self._rules = rules
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
        minute = int(self._wall() // MINUTE)
        if minute != self._minute or len(self._masks) >= ROOM:
            self._minute = minute
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

    def _by_calendar(self, rule: DeploymentRule, wall: float) -> str | None:
        if not self.dated:
            return None
        today = datetime.fromtimestamp(wall, UTC).date()
        if rule.retires is not None and rule.retires <= today:
            instead = f", its successor is {rule.successor!r}" if rule.successor else ""
            return f"its provider has retired the model on {rule.retires.isoformat()}{instead}"
        since = self._stand_ins.get(rule.name)
        if since is not None and today < since:
            return f"it stands in from {since.isoformat()} on, when the model before it is retired"
        return None
