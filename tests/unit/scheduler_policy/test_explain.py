"""What a producer is told about a job that has no result yet."""

from __future__ import annotations

import pytest

from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from scheduler.policy.board import Board
from scheduler.policy.explain import Explanation
from scheduler.policy.facts import PoolSeen
from scheduler.policy.rules import BreakerRule, Limit, ProjectRule
from tests.unit.scheduler_policy import made

ONE_A_SECOND = {"a": (Limit("requests", 60),)}


def told(board: Board, job: str = "j-1", now: float = 0.0) -> Explanation:
    found = board.status("p", job, now)
    assert found is not None
    return found


def against(board: Board, job: str) -> dict[str, str]:
    found = board.choice("p", job, 0.0)
    assert found is not None
    return {each.deployment: each.against for each in found.weighed}


def test_an_unknown_job_and_a_settled_job_are_not_explained() -> None:
    board = made.board()
    assert board.status("p", "j-1", 0.0) is None
    assert board.status("nobody", "j-1", 0.0) is None
    made.submit(board, made.job(1))
    (dispatch,) = made.dispatched(board)
    board.apply(made.succeeded(dispatch), 0.0)
    assert board.status("p", "j-1", 0.0) is None


def test_a_job_under_way_says_where_and_for_the_how_manyeth_time() -> None:
    board = made.board(made.rules({"r": ("a/m", "b/m")}))
    made.submit(board, made.job(1, lane="batch"))
    (dispatch,) = made.dispatched(board)
    board.apply(made.ended(dispatch), 0.0)
    made.dispatched(board)
    now = told(board)
    assert (now.state, now.deployment, now.attempts, now.lane) == (JobState.DISPATCHED, "b/m", 2, "batch")
    assert now.waiting_for is None
    assert now.position is None
    assert (now.token, now.body_hash, now.route) == ("t1", "h1", "r")


def test_a_queued_job_says_what_limit_it_waits_for_and_for_how_long() -> None:
    board = made.board(made.rules(limits=ONE_A_SECOND))
    made.submit(board, *[made.job(n) for n in range(20)])
    gone = len(made.dispatched(board))
    last = told(board, "j-19")
    assert last.state is JobState.HELD
    assert "the limit of requests of a has room in" in (last.waiting_for or "")
    assert last.position == 19 - gone
    assert last.eta == pytest.approx((19 - gone) / ((60 - 1.2) / 61))
    assert against(board, "j-19") == {"a/m": (last.waiting_for or "").removeprefix("a/m: ")}


def test_the_position_counts_what_other_projects_and_weights_let_past() -> None:
    projects = {"p": ProjectRule("p"), "q": ProjectRule("q"), "big": ProjectRule("big", weight=3.0)}
    board = made.board(made.rules(limits={"a": (Limit("requests", 1),)}, projects=projects))
    made.submit(board, made.job(999, priority=0))
    made.dispatched(board)
    made.submit(board, *[made.job(n) for n in range(10)])
    made.submit(board, *[made.job(100 + n, project="q") for n in range(4)])
    made.submit(board, *[made.job(200 + n, project="big") for n in range(100)])
    assert told(board, "j-0").position == 0
    assert told(board, "j-5").position == 5 + 4 + 15


def test_the_position_says_how_many_are_really_served_before() -> None:
    projects = {"p": ProjectRule("p"), "q": ProjectRule("q")}
    board = made.board(made.rules(limits={"a": (Limit("requests", 600),)}, projects=projects))
    made.submit(board, *[made.job(n) for n in range(100)], *[made.job(1000 + n, project="q") for n in range(100)])
    order = [dispatch.job for dispatch in made.dispatched(board)]
    expected, now = told(board, "j-60").position, 0.0
    assert expected is not None
    before = 0
    while "j-60" not in order:
        now = board.next_wake(now) or now
        new = [dispatch.job for dispatch in made.dispatched(board, now)]
        order += new
        before += len([job for job in new if job != "j-60"])
    assert abs(before - expected) <= 3


def test_a_job_for_later_says_so() -> None:
    board = made.board()
    made.submit(board, made.job(1, not_before=30.0))
    assert told(board).waiting_for == "its not_before, in 30.0 s"
    assert told(board).state is JobState.HELD
    assert told(board, now=10.0).eta == 20.0


def test_a_job_that_pauses_before_a_retry_says_after_what() -> None:
    board = made.board()
    made.submit(board, made.job(1))
    (dispatch,) = made.dispatched(board)
    board.apply(made.ended(dispatch, FailureKind.MALFORMED_RESPONSE), 0.0)
    assert "before it is tried again after malformed_response" in (told(board).waiting_for or "")


def test_every_obstacle_has_its_own_words() -> None:
    rules = made.rules(
        {"r": ("a/m", "b/m", "c/m", "d/m", "e/m", "f/m")},
        concurrency={"d": 1},
        breaker=BreakerRule(1, 5.0, 60.0),
        facts={"f/m": {"capabilities": frozenset({"system"})}},
    )
    board = made.board(rules)
    board.apply(PoolSeen("b", 0), 0.0)
    board.apply(PoolSeen("e", 1), 0.0)
    made.submit(board, *[made.job(n, needs=("tools",)) for n in range(4)])
    for dispatch in made.dispatched(board):
        if dispatch.deployment == "a/m":
            board.apply(made.ended(dispatch, FailureKind.OVERLOADED), 0.0)
    for dispatch in made.dispatched(board):
        if dispatch.deployment == "c/m":
            board.apply(made.ended(dispatch, FailureKind.RATE_LIMIT, retry_after=9.0), 0.0)
            break
    for _ in range(4):
        made.dispatched(board)
    made.submit(board, made.job(50, needs=("tools",)))
    assert [dispatch.deployment for dispatch in made.dispatched(board)] == ["e/m"]
    made.submit(board, made.job(51, needs=("tools",)))
    reasons = against(board, "j-51")
    assert "left alone for 5.0 s after overloaded" in reasons["a/m"]
    assert reasons["b/m"] == "pool b has no live workers"
    assert "limits of c are closed for 9.0 s" in reasons["c/m"]
    assert "concurrency limit of d is reached (1)" in reasons["d/m"]
    assert reasons["e/m"] == "all 1 places of pool e are taken"
    assert reasons["f/m"] == "cannot do tools"


def test_numbers_for_operators_say_what_waits_runs_and_is_benched() -> None:
    board = made.board(made.rules(limits=ONE_A_SECOND))
    made.submit(board, *[made.job(n, lane="rt", submitted=1.0 * n) for n in range(5)], made.job(9, lane="bg"), now=10.0)
    gone = made.dispatched(board, 10.0)
    counts = board.counts(12.0)
    assert counts.queued == {("rt", "a"): 5 - len(gone), ("bg", "a"): 1}
    assert counts.in_flight == {"a/m": len(gone)}
    assert counts.oldest["rt"] == pytest.approx(12.0 - len(gone))
    assert counts.unfinished == {"p": 6}
    for _ in range(5):
        board.apply(made.ended(gone[0], FailureKind.AUTH), 12.0)
    assert board.counts(12.0).benched == {"a/m": "auth"}
