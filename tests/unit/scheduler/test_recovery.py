"""What a successor makes of the assignments it finds in WORK.

Caught here: an attempt taken for a remnant because a hedge runs beside it, a remnant taken for one that runs.
"""

from __future__ import annotations

import pytest

from scheduler.recovery import Remnant, sorted_out
from tests.support import builders

FIRST, HEDGE, SECOND, THIRD = (1, False), (2, True), (2, False), (3, False)


@pytest.mark.parametrize(
    ("lies_there", "means"),
    [
        ([FIRST], [(1, False)]),
        ([FIRST, HEDGE], [(1, False), (2, False)]),
        ([HEDGE, FIRST], [(1, False), (2, False)]),
        ([HEDGE], [(2, False)]),
        ([FIRST, SECOND], [(2, False), (1, True)]),
        ([SECOND, FIRST], [(2, False), (1, True)]),
        ([FIRST, HEDGE, THIRD], [(3, False), (1, True), (2, True)]),
        ([HEDGE, THIRD], [(3, False), (2, True)]),
        ([FIRST, (3, True)], [(3, False), (1, True)]),
    ],
)
def test_a_hedge_runs_beside_the_attempt_before_it_and_everything_older_is_superseded(
    lies_there: list[tuple[int, bool]], means: list[tuple[int, bool]]
) -> None:
    job = builders.job("stem-1")
    orders = [builders.assignment(job, attempt=attempt, hedge=hedge) for attempt, hedge in lies_there]
    found = sorted_out(Remnant(order, seq) for seq, order in enumerate(orders, start=1))
    assert [(each.assignment.attempt, each.superseded) for each in found] == means


def test_jobs_are_told_apart_and_every_attempt_comes_before_any_hedge() -> None:
    orders = [
        builders.assignment(builders.job(name), attempt=attempt, hedge=attempt == 2)
        for name in ("stem-1", "stem-2")
        for attempt in (2, 1)
    ]
    found = sorted_out(Remnant(order, seq) for seq, order in enumerate(orders, start=1))
    told = [(each.assignment.job_id, each.assignment.attempt) for each in found]
    assert told == [("stem-1", 1), ("stem-2", 1), ("stem-1", 2), ("stem-2", 2)]
