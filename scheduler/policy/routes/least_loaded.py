"""The most room: the smallest share of its limits taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.policy.routes.strategy import Candidate
    from scheduler.policy.rules import RouteRule


def least_loaded(candidates: Sequence[Candidate], _: RouteRule) -> Sequence[Candidate]:
    """By load; of equal ones the one with fewer attempts under way."""
    return sorted(candidates, key=lambda each: (each.load, each.in_flight, each.index))
