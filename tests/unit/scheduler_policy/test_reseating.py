"""Many jobs wait when an experiment changes: they move in slices, and none goes to an arm that was stopped by then."""

from __future__ import annotations

from itertools import pairwise

from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch
from scheduler.policy.experiments.ramp import begun
from scheduler.policy.reseating import SLICE
from scheduler.policy.seats import Running
from tests.unit.scheduler_policy.test_seats import WHOLE, board, stopped, submit

MANY = 3 * SLICE


def waiting() -> Board:
    made = board()
    submit(made, range(MANY))
    return made


def at(made: Board, deployment: str) -> int:
    """Jobs that wait for it."""
    found = (made.choice("demo", f"j-{number}", 2.0) for number in range(MANY))
    return sum(one is not None and one.deployment == deployment for one in found)


def test_a_change_moves_a_slice_in_each_round_until_all_are_where_they_belong() -> None:
    made = waiting()
    before = at(made, "b/m")
    assert before > SLICE
    stopped(made)
    left = [before]
    while left[-1]:
        assert made.next_wake(2.0) == 2.0
        assert made.decide(2.0, 0) == []
        left.append(at(made, "b/m"))
    assert len(left) == 1 + MANY // SLICE
    assert all(0 < old - new <= SLICE for old, new in pairwise(left))


def test_nothing_goes_to_a_stopped_arm_although_not_all_have_moved() -> None:
    made = waiting()
    stopped(made)
    went: list[Dispatch] = []
    while len(went) < 500:
        went += [one for one in made.decide(2.0, 250) if isinstance(one, Dispatch)]
    assert {(one.route, one.deployment) for one in went} == {("r", "a/m")}


def test_a_change_during_a_change_begins_anew_and_the_last_one_holds() -> None:
    made = waiting()
    before = at(made, "b/m")
    stopped(made)
    made.decide(2.0, 0)
    made.place_trials({"exp": Running(WHOLE, begun(0.0))}, 2.0)
    for _ in range(MANY // SLICE):
        made.decide(2.0, 0)
    assert at(made, "b/m") == before


def test_the_same_calls_give_the_same_dispatches_in_the_middle_of_a_change() -> None:
    def told() -> list[tuple[str, str]]:
        made = waiting()
        stopped(made)
        rounds = [made.decide(2.0, 50) for _ in range(5)]
        return [(one.job, one.deployment) for each in rounds for one in each if isinstance(one, Dispatch)]

    assert told() == told()
