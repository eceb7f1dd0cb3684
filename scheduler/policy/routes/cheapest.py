"""The least money for this very job: its estimated tokens, by kind, at the prices of now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.policy.routes.strategy import Candidate
    from scheduler.policy.rules import RouteRule


def cheapest(candidates: Sequence[Candidate], _: RouteRule) -> Sequence[Candidate]:
    """By cost, equal ones as they stand; what has no known price comes last, because it may be anything."""
    return sorted(candidates, key=lambda each: (each.cost is None, each.cost or 0.0, each.index))
