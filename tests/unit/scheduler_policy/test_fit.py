"""Conversations that are too long for a window: refused at once with the numbers, or left to the workers to trim."""

from __future__ import annotations

from typing import Any

import pytest

from job_contracts.chat import Usage
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch, Finish
from scheduler.policy.rules import Limit
from tests.unit.scheduler_policy import made

TWO = {"r": ("a/m", "b/m")}
WINDOWS: dict[str, dict[str, Any]] = {"a/m": {"window": 8_000}, "b/m": {"window": 32_000}}
OVERFLOW = FailureKind.CONTEXT_OVERFLOW


def finish(board: Board) -> Finish:
    (found,) = made.finishes(board.decide(0.0, 10))
    return found


def taught(board: Board, ratio: float, *, times: int = 6, project: str = "p", first: int = 100) -> None:
    """Long jobs whose provider reports ``ratio`` times what their producer counted."""
    for n in range(first, first + times):
        made.submit(board, made.job(n, project=project, input_estimate=4_000))
        (dispatch,) = made.dispatched(board)
        board.apply(made.succeeded(dispatch, Usage(input=round(4_000 * ratio), output=10)), 0.0)


def offered(board: Board, estimate: int, seq: int = 1, **over: Any) -> Dispatch | Finish:
    made.submit(board, made.job(seq, input_estimate=estimate, **over))
    (found,) = board.decide(0.0, 10)
    assert isinstance(found, Dispatch | Finish)
    return found


def test_what_fits_no_model_is_refused_with_its_size_and_every_window() -> None:
    board = made.board(made.rules(TWO, facts=WINDOWS))
    made.submit(board, made.job(1, input_estimate=50_000))
    end = finish(board)
    assert (end.state, end.attempt, end.failure.kind) == (JobState.FAILED, 0, OVERFLOW)
    assert end.failure.field == "conversation.messages"
    for word in ("a/m: its context window of 8000", "b/m: its context window of 32000", "about 50000"):
        assert word in end.failure.message
    assert "fit: trim" in (end.failure.remedy or "")


def test_under_a_route_that_trims_no_window_is_too_small() -> None:
    board = made.board(made.rules(TWO, facts=WINDOWS, fit="trim"))
    found = offered(board, 900_000)
    assert isinstance(found, Dispatch)
    assert found.deployment == "a/m"


def test_what_it_cannot_do_is_still_a_reason_under_a_route_that_trims() -> None:
    facts = {"a/m": {"window": 8_000, "capabilities": frozenset({"system"})}}
    board = made.board(made.rules(facts=facts, fit="trim"))
    found = offered(board, 900_000, needs=("tools",))
    assert isinstance(found, Finish)
    assert found.failure.kind is FailureKind.NO_DEPLOYMENT


def test_for_what_will_be_trimmed_no_more_is_reserved_than_the_window_holds() -> None:
    limits = {"a": (Limit("input_tokens", 10_000.0, burst=1.0, skew=0.0),)}
    board = made.board(made.rules(facts=WINDOWS, limits=limits, fit="trim"))
    found = offered(board, 900_000)
    assert isinstance(found, Dispatch)
    assert found.input_tokens == 8_000


def test_a_trimmed_job_does_not_make_the_projects_counts_look_too_high() -> None:
    board = made.board(made.rules(facts=WINDOWS, fit="trim"))
    for n in range(20):
        found = offered(board, 900_000, seq=n)
        assert isinstance(found, Dispatch)
        board.apply(made.succeeded(found, Usage(input=8_000, output=10)), 0.0)
    found = offered(board, 1_000, seq=99)
    assert isinstance(found, Dispatch)
    assert found.input_tokens == 1_000


# -- what was learned of the producer's counts


@pytest.mark.parametrize(("ratio", "goes"), [(1.0, True), (1.8, False), (0.6, True)])
def test_a_producer_that_counts_too_low_is_known_by_its_earlier_jobs(ratio: float, goes: bool) -> None:
    board = made.board(made.rules(facts=WINDOWS))
    taught(board, ratio)
    assert isinstance(offered(board, 8_000), Dispatch) is goes


def test_a_producer_that_counts_too_high_is_not_refused_for_it() -> None:
    board = made.board(made.rules(facts=WINDOWS))
    assert isinstance(offered(board, 13_000), Finish)
    taught(board, 0.6)
    assert isinstance(offered(board, 13_000, seq=2), Dispatch)


def test_short_jobs_with_much_around_them_say_nothing_of_long_ones() -> None:
    board = made.board(made.rules(facts=WINDOWS))
    for n in range(100, 130):
        made.submit(board, made.job(n, input_estimate=50))
        (dispatch,) = made.dispatched(board)
        board.apply(made.succeeded(dispatch, Usage(input=600, output=10)), 0.0)
    assert isinstance(offered(board, 7_000), Dispatch)


def test_what_another_project_counts_is_held_against_nobody_else() -> None:
    board = made.board(made.rules(facts=WINDOWS))
    taught(board, 2.0, project="q")
    assert isinstance(offered(board, 8_000), Dispatch)
    assert isinstance(offered(board, 8_000, seq=2, project="q"), Finish)


def test_few_jobs_and_wild_reports_are_not_believed() -> None:
    board = made.board(made.rules(facts=WINDOWS))
    taught(board, 20.0, times=4)
    assert isinstance(offered(board, 9_000), Dispatch)
    taught(board, 20.0, times=10, first=300)
    assert isinstance(offered(board, 4_900, seq=2), Dispatch), "twice as many at most"


# -- after an overflow


def overflowed(board: Board, dispatch: Dispatch, *, called: bool) -> None:
    board.apply(made.ended(dispatch, OVERFLOW, called=called), 0.0)


def test_what_a_worker_refuses_uncalled_goes_to_a_larger_window() -> None:
    board = made.board(made.rules(TWO, facts=WINDOWS))
    first = offered(board, 8_500)
    assert isinstance(first, Dispatch)
    overflowed(board, first, called=False)
    (second,) = made.dispatched(board)
    assert (first.deployment, second.deployment) == ("a/m", "b/m")


def test_a_trimming_route_comes_back_to_the_only_model_after_it_has_overflowed_and_not_for_ever() -> None:
    board = made.board(made.rules(facts=WINDOWS, fit="trim", max_attempts=3))
    made.submit(board, made.job(1, input_estimate=20_000))
    now = 0.0
    for attempt in (1, 2, 3):
        (dispatch,) = made.dispatched(board, now)
        assert (dispatch.deployment, dispatch.attempt) == ("a/m", attempt)
        board.apply(made.ended(dispatch, OVERFLOW), now)
        now += 60.0
    (end,) = made.finishes(board.decide(now, 10))
    assert end.failure.kind is FailureKind.RETRIES_EXHAUSTED


def test_a_trimming_route_tries_its_other_models_first_even_one_with_a_smaller_window() -> None:
    facts = {"a/m": {"window": 32_000}, "b/m": {"window": 8_000}}
    board = made.board(made.rules(TWO, facts=facts, fit="trim"))
    first = offered(board, 50_000)
    assert isinstance(first, Dispatch)
    overflowed(board, first, called=True)
    (second,) = made.dispatched(board)
    assert (first.deployment, second.deployment) == ("a/m", "b/m")


def test_where_a_worker_could_not_even_trim_it_no_smaller_window_is_tried() -> None:
    facts = {"a/m": {"window": 32_000}, "b/m": {"window": 8_000}}
    board = made.board(made.rules(TWO, facts=facts, fit="trim"))
    first = offered(board, 50_000)
    assert isinstance(first, Dispatch)
    overflowed(board, first, called=False)
    end = finish(board)
    assert end.failure.kind is OVERFLOW
