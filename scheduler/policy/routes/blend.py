"""Money, time and load together, by the weights of the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.policy.routes.fastest import ENOUGH, EXPLORE, TRIALS, expected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.policy.routes.strategy import Candidate
    from scheduler.policy.rules import RouteRule


WORST = 8.0
"""Times the best that anything counts for at most: what is worse is only worse."""


def blend(candidates: Sequence[Candidate], route: RouteRule) -> Sequence[Candidate]:
    """By the weighted sum of how many times the best each costs and takes, and of its load.

    An unknown price counts as the worst, an unknown time as none at all while it is being tried out. Where time counts,
    a place that has not had a turn for long comes first.
    """
    mix = route.blend
    streamed = all(each.first_token is not None for each in candidates if each.known >= ENOUGH)
    costs = _times([each.cost for each in candidates])
    times = _times([expected(each, streamed=streamed) for each in candidates])
    scores: dict[int, float] = {}
    for each, cost, time in zip(candidates, costs, times, strict=True):
        untried = 0.0 if each.in_flight < TRIALS else WORST
        scores[each.index] = (
            mix.cost * (WORST if cost is None else cost)
            + mix.speed * (untried if time is None else time)
            + mix.load * (1.0 + each.load)
        )

    def key(each: Candidate) -> tuple[bool, float, int, int]:
        due = mix.speed > 0 and each.since >= EXPLORE and each.in_flight < TRIALS
        return not due, scores[each.index], each.in_flight, each.index

    return sorted(candidates, key=key)


def _times(values: Sequence[float | None]) -> list[float | None]:
    """Each as a multiple of the smallest."""
    known = [value for value in values if value is not None]
    least = min(known, default=0.0)
    if least <= 0:
        # Something is free: by how much the others are dearer cannot be said, only that they are.
        return [None if value is None else 1.0 if value <= 0 else WORST for value in values]
    return [None if value is None else min(value / least, WORST) for value in values]
