"""The operator's own order: the first that can take the job now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.policy.routes.strategy import Candidate
    from scheduler.policy.rules import RouteRule


def ordered(candidates: Sequence[Candidate], _: RouteRule) -> Sequence[Candidate]:
    """As they stand in the configuration."""
    return candidates
