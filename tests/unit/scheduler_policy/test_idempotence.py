"""Facts that come twice, too late, too early, or about nothing.

Caught here: a duplicate that runs twice, an old outcome that sends a job round again, a cancel that hits another
submission of the same id, a cancel before its job that is lost, a reservation released by somebody else's outcome.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job_contracts.attempts import LimitReading
from job_contracts.chat import Usage
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from runtime.bus.manifest import HOUR, SECOND, StreamLimits
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch
from scheduler.policy.facts import AttemptEnded, InFlight, LimitsRead, PoolSeen, Settled, Submitted
from scheduler.policy.rules import Limit, Pace, ProjectRule
from tests.unit.scheduler_policy import made

TWO = {"r": ("a/m", "b/m")}


def flying() -> tuple[Board, Dispatch]:
    board = made.board(made.rules(TWO))
    made.submit(board, made.job(1))
    (dispatch,) = made.dispatched(board)
    return board, dispatch


def nothing_reserved(board: Board) -> bool:
    return set(board.counts().reserved.values()) == {(0, 0, 0)}


def test_the_first_submission_of_an_id_wins() -> None:
    board = made.board()
    made.submit(board, made.job(1), made.job(2, job="j-1", token="other", priority=0))
    (dispatch,) = made.dispatched(board)
    assert dispatch.seq == 1
    made.submit(board, made.job(3, job="j-1"))
    assert board.decide(0.0, 10) == []


def test_an_outcome_told_twice_counts_once() -> None:
    board, dispatch = flying()
    fact = made.ended(dispatch)
    board.apply(fact, 0.0)
    board.apply(fact, 0.0)
    (second,) = made.dispatched(board)
    board.apply(fact, 0.0)
    assert second.attempt == 2
    assert len(second.history) == 1
    assert list(board.in_flight()) == [("p", "j-1", 2, "b/m")]


def test_a_late_outcome_of_an_older_attempt_changes_nothing() -> None:
    board, first = flying()
    board.apply(made.ended(first, FailureKind.WORKER_LOST), 0.0)
    (second,) = made.dispatched(board)
    before = board.levels(0.0), board.counts()
    board.apply(made.ended(first, FailureKind.BAD_REQUEST), 0.0)
    assert (board.levels(0.0), board.counts()) == before
    board.apply(made.succeeded(second), 0.0)
    assert nothing_reserved(board)


def test_the_result_of_an_older_attempt_ends_the_job_and_stops_the_newer_one() -> None:
    board, first = flying()
    board.apply(made.ended(first, FailureKind.WORKER_LOST), 0.0)
    (second,) = made.dispatched(board)
    board.apply(made.succeeded(first), 0.0)
    (abort,) = made.aborts(board.decide(0.0, 10))
    assert (abort.attempt, abort.deployment) == (second.attempt, second.deployment)
    assert nothing_reserved(board)
    board.apply(made.ended(second, FailureKind.CANCELLED), 1.0)
    assert board.decide(1.0, 10) == []
    assert board.status("p", "j-1", 1.0) is None


def test_a_result_found_before_the_dispatch_was_sent_gives_everything_back_and_teaches_nothing() -> None:
    board = made.board(made.rules(limits={"a": (Limit("requests", 600),)}, expected_output=77))
    made.submit(board, made.job(1))
    level = board.levels(0.0)
    board.decide(0.0, 10)
    board.apply(Settled("p", "j-1", JobState.SUCCEEDED, 1, None, Usage()), 0.0)
    assert board.levels(0.0) == level
    assert made.aborts(board.decide(0.0, 10)) == []
    made.submit(board, made.job(2))
    assert [dispatch.output_tokens for dispatch in made.dispatched(board)] == [77]


def test_rate_limits_from_before_a_take_over_close_the_domain_and_do_not_slow_it_down() -> None:
    rules = made.rules(limits={"a": (Limit("requests", 600),)})
    board = made.board(rules)
    for n in range(50):
        made.submit(board, made.job(n))
        told = Dispatch("p", f"j-{n}", n, 1, "r", "a/m", "a", 0, 0, ())
        board.apply(made.in_flight(told), 0.001 * n)
        board.apply(made.ended(told, FailureKind.RATE_LIMIT, retry_after=3.0), 0.001 * n)
    assert made.dispatched(board, 1.0) == []
    assert board.next_wake(1.0) == pytest.approx(3.049)
    assert len(made.dispatched(board, 4.0)) > 1
    assert board._world.gates["a"].domain.buckets["requests"].pace == 1.0


def test_an_outcome_after_the_result_is_of_no_interest() -> None:
    board, dispatch = flying()
    board.apply(made.succeeded(dispatch), 0.0)
    board.apply(made.ended(dispatch), 0.0)
    assert board.decide(0.0, 10) == []
    assert nothing_reserved(board)


def test_facts_about_nothing_known_change_nothing() -> None:
    board = made.board(made.rules(limits={"a": (Limit("requests", 60),)}))
    before = board.levels(0.0), board.counts()
    board.apply(Settled("p", "ghost", JobState.SUCCEEDED, 1, "a/m", Usage()), 0.0)
    board.apply(Settled("nobody", "ghost", JobState.SUCCEEDED, 1, None, Usage()), 0.0)
    board.apply(AttemptEnded("p", "ghost", 1, "a/m", made.failure(), None), 0.0)
    board.apply(InFlight("p", "ghost", 1, "a/m", 1, 1), 0.0)
    board.apply(LimitsRead("z/z", (LimitReading(unit="requests", remaining=0),)), 0.0)
    board.apply(PoolSeen("z", 3), 0.0)
    assert (board.levels(0.0), board.counts()) == before
    assert board.decide(0.0, 10) == []


def test_an_attempt_at_a_deployment_that_is_no_longer_configured_is_awaited_like_any_other() -> None:
    board = made.board()
    made.submit(board, made.job(1))
    gone = Dispatch("p", "j-1", 1, 1, "r", "old/model", "old", 1, 1, ())
    board.apply(made.in_flight(gone), 0.0)
    assert board.decide(0.0, 10) == []
    told = board.status("p", "j-1", 0.0)
    assert told is not None
    assert (told.state, told.deployment) == (JobState.DISPATCHED, "old/model")
    board.apply(made.ended(gone), 0.0)
    assert [d.deployment for d in made.dispatched(board, 1.0)] == ["a/m"]


def test_cancelling_a_queued_job_ends_it_before_any_call() -> None:
    board = made.board()
    fact = made.job(1)
    made.submit(board, fact)
    board.apply(made.cancel(fact), 0.0)
    (finish,) = board.decide(0.0, 10)
    assert made.finishes([finish])[0].state is JobState.CANCELLED
    assert made.finishes([finish])[0].failure.message == "changed my mind"
    board.apply(made.cancel(fact), 0.0)
    assert board.decide(0.0, 10) == []


@pytest.mark.parametrize("when", ["parked", "backing off"])
def test_cancelling_a_job_that_waits_for_a_time_ends_it_too(when: str) -> None:
    board = made.board()
    fact = made.job(1, not_before=100.0 if when == "parked" else None)
    made.submit(board, fact)
    for dispatch in made.dispatched(board):
        board.apply(made.ended(dispatch), 0.0)
    board.apply(made.cancel(fact), 0.0)
    assert [finish.state for finish in made.finishes(board.decide(0.0, 10))] == [JobState.CANCELLED]
    assert board.decide(200.0, 10) == []


def test_cancelling_a_job_under_way_stops_the_attempt_once_and_ends_the_job_when_it_has_stopped() -> None:
    board, dispatch = flying()
    for _ in range(3):
        board.apply(made.cancel(made.job(1)), 0.0)
    (abort,) = board.decide(0.0, 10)
    assert made.aborts([abort])[0].attempt == 1
    assert board.cancelling("p", "j-1")
    board.apply(made.ended(dispatch, FailureKind.SERVER_ERROR), 1.0)
    assert [finish.state for finish in made.finishes(board.decide(1.0, 10))] == [JobState.CANCELLED]


def test_a_result_that_was_faster_than_its_cancel_stands() -> None:
    board, dispatch = flying()
    board.apply(made.cancel(made.job(1)), 0.0)
    board.apply(made.succeeded(dispatch), 0.0)
    assert made.finishes(board.decide(0.0, 10)) == []


@pytest.mark.parametrize("token", ["t1", "other"])
def test_a_cancel_that_came_before_its_job_is_remembered_for_that_submission_alone(token: str) -> None:
    board = made.board()
    board.apply(made.cancel(made.job(1), token=token), 0.0)
    made.submit(board, made.job(1), now=3000.0)
    decisions = board.decide(3000.0, 10)
    assert isinstance(decisions[0], Dispatch) == (token == "other")
    assert len(decisions) == 1


def test_early_cancels_are_remembered_for_a_bounded_time_and_number() -> None:
    board = made.board(made.rules(pace=Pace(early_cancels=100, early_cancel_for=60.0)))
    for n in range(1000):
        board.apply(made.cancel(made.job(n)), float(n))
        assert len(board._backlog._early) <= 101
    board.apply(made.cancel(made.job(1000)), 1100.0)
    assert len(board._backlog._early) == 1


def test_a_mass_of_early_cancels_forgets_the_oldest_and_none_that_its_stream_still_has_room_for() -> None:
    most = 1_000
    board = made.board(made.rules(pace=Pace(early_cancels=most)))
    for n in range(5 * most):
        board.apply(made.cancel(made.job(n), reason="" if n % 2 else "because"), 1.0)
        board.apply(made.cancel(made.job(n), reason="" if n % 2 else "because"), 1.0)  # told again: still one
    for n in range(4 * most, 5 * most):
        made.submit(board, made.job(n), now=2.0)
    assert len(made.finishes(board.decide(2.0, 10_000))) == most


def test_the_table_of_early_cancels_holds_more_than_their_stream_can() -> None:
    smallest = len("penstock.v1.cancel.p.a.b") + len('{"job":"a-b","token":""}') + 30  # the broker's own, at least
    assert Pace().early_cancels * smallest > StreamLimits().control_bytes
    assert Pace().early_cancel_for * SECOND >= HOUR


def test_an_early_cancel_waits_for_its_own_submission_whatever_else_comes_under_that_id() -> None:
    board = made.board()
    board.apply(made.cancel(made.job(1), token="second"), 0.0)
    made.submit(board, made.job(1, token="first"))
    (dispatch,) = made.dispatched(board)
    board.apply(made.succeeded(dispatch), 1.0)
    made.submit(board, made.job(2, job="j-1", token="second"), now=2.0)
    assert [finish.state for finish in made.finishes(board.decide(2.0, 10))] == [JobState.CANCELLED]


def test_a_cancel_with_another_submissions_token_is_ignored() -> None:
    board, _ = flying()
    board.apply(made.cancel(made.job(1), token="someone else's"), 0.0)
    assert board.decide(0.0, 10) == []
    assert not board.cancelling("p", "j-1")


def test_a_cancel_between_the_decision_and_the_write_is_seen_and_the_refused_dispatch_ends_the_job() -> None:
    board = made.board(made.rules(limits={"a": (Limit("requests", 60),)}))
    made.submit(board, made.job(1))
    level = board.levels(0.0)
    (dispatch,) = board.decide(0.0, 10)
    board.apply(made.cancel(made.job(1)), 0.0)
    assert board.cancelling("p", "j-1")
    board.refused([dispatch], 0.0)  # type: ignore[list-item]
    assert [finish.state for finish in made.finishes(board.decide(0.0, 10))] == [JobState.CANCELLED]
    assert board.levels(0.0) == level


def test_acknowledgements_that_come_twice_or_for_what_has_ended_change_nothing() -> None:
    board = made.board(made.rules(limits={"a": (Limit("requests", 600),)}))
    made.submit(board, made.job(1), made.job(2))
    first, second = (d for d in board.decide(0.0, 10) if isinstance(d, Dispatch))
    board.apply(made.succeeded(first), 0.0)
    board.stored([first, second], 0.0)
    board.stored([first, second], 0.0)
    level = board.levels(0.0)
    board.refused([first, second], 0.0)
    assert board.levels(0.0) == level
    assert board.counts().reserved["a"][0] == 1
    assert board.decide(0.0, 10) == []


def test_an_end_that_nobody_was_told_of_is_taken_back_when_the_job_turns_out_to_be_under_way() -> None:
    board = made.board(made.rules(projects={"p": ProjectRule("p", lanes=("std",))}))
    made.submit(board, made.job(1, lane="rt"))
    gone = Dispatch("p", "j-1", 1, 1, "r", "a/m", "a", 10, 10, ())
    board.apply(made.in_flight(gone), 0.0)
    assert board.decide(0.0, 10) == []
    board.apply(made.succeeded(gone), 0.0)
    assert nothing_reserved(board)


def test_a_successor_knows_from_the_records_what_the_attempts_before_it_have_taught() -> None:
    rules = made.rules({"r": ("a/m", "b/m", "c/m")}, max_attempts=3)
    old = made.board(rules)
    made.submit(old, made.job(1))
    for _ in range(2):
        (dispatch,) = made.dispatched(old)
        old.apply(made.ended(dispatch, FailureKind.OVERLOADED), 0.0)
    (third,) = made.dispatched(old)
    new = made.board(rules, now=50.0)
    made.submit(new, made.job(1), now=50.0)
    new.apply(made.in_flight(third), 50.0)
    new.apply(made.ended(third, FailureKind.OVERLOADED), 50.0)
    (finish,) = made.finishes(new.decide(50.0, 10))
    assert finish.failure.kind is FailureKind.RETRIES_EXHAUSTED
    assert [record.deployment for record in finish.history] == ["a/m", "b/m", "c/m"]
    assert finish.attempt == 3


@settings(max_examples=50)
@given(data=st.data())
def test_any_fact_may_come_again_at_any_time(data: st.DataObject) -> None:
    plain, noisy = made.board(made.rules(TWO)), made.board(made.rules(TWO))
    told: list[object] = []
    for n in range(8):
        fact = made.job(n)
        for board in (plain, noisy):
            made.submit(board, fact)
        told.append(fact)
    for now in range(1, 12):
        decided = plain.decide(float(now), 3)
        assert noisy.decide(float(now), 3) == decided
        for dispatch in decided:
            if not isinstance(dispatch, Dispatch):
                continue
            ok = data.draw(st.booleans())
            fact = made.succeeded(dispatch) if ok else made.ended(dispatch, FailureKind.HANDED_BACK)  # type: ignore[assignment]
            for board in (plain, noisy):
                board.stored([dispatch], float(now))
                board.apply(fact, float(now))
            told.append(fact)
            settled = {f.job for f in told if isinstance(f, Settled)}
            again = [f for f in told if not (isinstance(f, Submitted) and f.job in settled)]
            noisy.apply(data.draw(st.sampled_from(again)), float(now))  # type: ignore[arg-type]


def test_a_cancel_read_before_its_submission_stops_the_attempt_that_is_found_under_way_and_any_further_one() -> None:
    board = made.board(made.rules(TWO))
    submitted = made.job(1)
    board.apply(made.cancel(submitted), 0.0)
    made.submit(board, submitted)
    running = Dispatch("p", "j-1", 1, 1, "r", "a/m", "a", 1, 1, ())
    board.apply(made.in_flight(running), 0.0)
    (abort,) = board.decide(0.0, 10)
    assert made.aborts([abort])
    board.apply(made.ended(running), 0.0)
    (finish,) = made.finishes(board.decide(0.0, 10))
    assert finish.state is JobState.CANCELLED
    assert nothing_reserved(board)
