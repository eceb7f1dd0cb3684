"""What a strategy is and what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.policy.rules import DeploymentRule, RouteRule

Rank = Callable[[Sequence["Candidate"], "RouteRule"], Sequence["Candidate"]]


@dataclass(slots=True, frozen=True)
class Candidate:
    """A deployment as a strategy sees it. ``index`` is its place in its route; ``None`` is what is not known."""

    index: int
    rule: DeploymentRule
    weight: float = 1.0
    """The operator's."""
    cost: float | None = None
    """What the job is likely to cost there: in picodollars, or as a multiple of the least; the same for all."""
    in_flight: int = 0
    load: float = 0.0
    """Share of its limits that would be taken with one more attempt; above 1 where that is too much."""
    first_token: float | None = None
    """Seconds until the first token that nine of ten answers kept to, lately."""
    total: float | None = None
    """Seconds of the whole answer, likewise."""
    known: float = 0.0
    """Answers those are known from; old ones count less."""
    usual: float = 0.0
    """Attempts that were under way there when those answers were timed."""
    credit: float = 0.0
    """Share of one turn that it is behind (or, negative, ahead) of its weight."""
    since: int = 0
    """Turns of the route since its last one."""


@dataclass(slots=True, frozen=True)
class Strategy:
    """Puts candidates into the order in which they are to be tried; it drops and adds none."""

    rank: Rank
    fixed: bool = False
    """Its order never changes while the rules do not: it is asked once."""
    priced: bool = False
    """It looks at what the job costs, so the job's group depends on that."""
    live: bool = False
    """It looks at what changes with load: it is asked again after each grant."""
    timed: bool = False
    """It looks at how fast answers came lately."""
