"""What a project's key may do: for those who hold one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from console.panels import Desks, Panel
from job_contracts.keys import Scope

if TYPE_CHECKING:
    from console.people import Person


async def _read(desks: Desks, person: Person, _: Mapping[str, str]) -> Mapping[str, Any]:
    rules = desks.config.projects.get(person.project or "")
    scope = person.scope or Scope()
    may = () if rules is None else desks.config.routes if rules.routes is None else rules.routes
    routes = [name for name in sorted(may) if scope.routes is None or name in scope.routes]
    lanes = [] if rules is None else [lane for lane in rules.lanes if scope.lanes is None or lane in scope.lanes]
    bounds = scope.model_dump(mode="json", exclude={"routes", "lanes", "expires", "budget"}, exclude_none=True)
    budgets = {"the project": None if rules is None else rules.budget, "this key": scope.budget}
    amounts = [
        (whose, window, amount)
        for whose, budget in budgets.items()
        if budget is not None
        for window, amount in budget.amounts()
    ]
    return {
        "person": person,
        "routes": routes,
        "lanes": lanes,
        "bounds": bounds,
        "amounts": amounts,
        "expires": scope.expires,
    }


PROJECT = Panel("project", "Your project", "o", _read, live=False, seen_by="projects")
