"""Turns by weight: whoever is farthest behind its share comes first, so that the shares hold over any few turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.policy.routes.strategy import Candidate
    from scheduler.policy.rules import RouteRule


def weighted(candidates: Sequence[Candidate], _: RouteRule) -> Sequence[Candidate]:
    """By smooth weighted round robin; one of weight 0 only where nobody else is."""
    total = sum(candidate.weight for candidate in candidates) or 1.0
    return sorted(candidates, key=lambda each: (each.weight <= 0, -(each.credit + each.weight / total), each.index))
