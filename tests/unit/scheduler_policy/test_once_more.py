"""When a job goes back to where it has just failed, before another place is tried.

Caught here: a second chance at a place that is down, or for a failure that repeats itself; two of them for one job;
one beyond the deadline or the retry budget; a switch away from a session's cache for one broken connection.
"""

from __future__ import annotations

from typing import Any

import pytest

from job_contracts.chat import Usage
from job_contracts.failures import PERMITS, Action, FailureKind
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch
from scheduler.policy.facts import InFlight
from scheduler.policy.once_more import CHANCE, LATER
from scheduler.policy.rules import BreakerRule, OnceMore, ProjectRule, Rules
from tests.unit.scheduler_policy import made
from tests.unit.scheduler_policy.trial import Ends, Trial

K = FailureKind
TWO = {"r": ("a/m", "b/m")}
ALWAYS = {"once_more": OnceMore("always")}
NEVER = {"once_more": OnceMore("never")}


def well(rules: Rules, *, now: float = 0.0) -> Board:
    """A board whose first deployments have served a few jobs."""
    board = made.board(rules)
    made.submit(board, *[made.job(n) for n in range(100, 104)])
    for dispatch in made.dispatched(board, now):
        board.apply(made.succeeded(dispatch), now)
    return board


def failed(board: Board, kind: FailureKind, *, seq: int = 1, now: float = 0.0, **over: Any) -> Dispatch:
    """The attempt of a new job that has failed in that way."""
    made.submit(board, made.job(seq), now=now)
    (dispatch,) = made.dispatched(board, now)
    board.apply(made.ended(dispatch, kind, **over), now)
    return dispatch


@pytest.mark.parametrize("kind", sorted(CHANCE))
def test_by_default_another_deployment_that_is_well_comes_first(kind: FailureKind) -> None:
    board = well(made.rules(TWO))
    failed(board, kind)
    assert [each.deployment for each in made.dispatched(board)] == ["b/m"]


@pytest.mark.parametrize("kind", sorted(CHANCE))
def test_where_nobody_else_is_free_a_single_failure_goes_back_at_once(kind: FailureKind) -> None:
    board = well(made.rules())
    failed(board, kind)
    assert [(each.deployment, each.attempt) for each in made.dispatched(board)] == [("a/m", 2)]


def test_it_goes_back_once_and_then_as_ever() -> None:
    board = well(made.rules(TWO, route=ALWAYS))
    failed(board, K.RESET)
    (again,) = made.dispatched(board)
    assert (again.deployment, again.switch_reason) == ("a/m", "reset")
    board.apply(made.ended(again, K.RESET), 0.0)
    assert [each.deployment for each in made.dispatched(board)] == ["b/m"]


@pytest.mark.parametrize("kind", [kind for kind, row in PERMITS.items() if row.action is Action.SWITCH])
def test_only_what_may_be_chance_goes_back_before_another_is_tried(kind: FailureKind) -> None:
    facts = {"a/m": {"window": 8_000}, "b/m": {"window": 100_000}}
    board = well(made.rules(TWO, route=ALWAYS, facts=facts))
    failed(board, kind)
    assert [each.deployment for each in made.dispatched(board)] == ["a/m" if kind in CHANCE else "b/m"]


def test_a_place_that_has_not_served_lately_gets_no_second_chance() -> None:
    board = made.board(made.rules(TWO, route=ALWAYS))
    failed(board, K.RESET)
    assert [each.deployment for each in made.dispatched(board)] == ["b/m"]


def test_of_many_that_fail_together_one_goes_back_and_the_others_switch() -> None:
    board = well(made.rules(TWO, route=ALWAYS))
    made.submit(board, *[made.job(n) for n in range(40)])
    for dispatch in made.dispatched(board):
        board.apply(made.ended(dispatch, K.SERVER_ERROR), 0.0)
    assert sorted(each.deployment for each in made.dispatched(board)).count("a/m") <= 1


def test_who_says_never_gets_the_pause_of_before() -> None:
    board = well(made.rules(route=NEVER))
    failed(board, K.RESET)
    assert made.dispatched(board) == []
    wake = board.next_wake(0.0)
    assert wake is not None
    assert 0.1 < wake <= 0.25


def test_it_is_paid_from_the_retry_budget_and_where_that_is_used_up_another_place_is_as_good() -> None:
    patient = BreakerRule(10_000, 5.0, 60.0)
    board = well(made.rules(TWO, route=ALWAYS, projects={"p": ProjectRule("p", retry_share=0.001)}, breaker=patient))
    went = []
    for seq in range(1, 16):
        failed(board, K.RESET, seq=seq)
        (next_,) = made.dispatched(board)
        went.append(next_.deployment)
        board.apply(made.succeeded(next_), 0.0)
        made.submit(board, *[made.job(1000 * seq + n) for n in range(3)])
        for dispatch in made.dispatched(board):
            board.apply(made.succeeded(dispatch), 0.0)
    assert went == ["a/m"] * 10 + ["b/m"] * 5


@pytest.mark.parametrize(
    ("told", "when", "deadline", "then"),
    [
        (1.5, "always", None, (1.5, "a/m")),
        (1.5, "session", None, (0.0, "b/m")),  # no session: the other one is free
        (2.5, "always", None, (0.0, "b/m")),  # too long to wait
        (None, "always", None, (0.0, "b/m")),  # nobody knows how long
        (1.5, "always", 1.9, (0.0, "b/m")),  # it would be there, but not be answered in time
    ],
)
@pytest.mark.parametrize("kind", sorted(LATER))
def test_a_short_retry_after_is_waited_for_where_that_is_wished_and_the_deadline_allows_it(
    kind: FailureKind, told: float | None, when: Any, deadline: float | None, then: tuple[float, str]
) -> None:
    board = well(made.rules(TWO, route={"once_more": OnceMore(when)}))
    made.submit(board, made.job(1, deadline=deadline))
    (dispatch,) = made.dispatched(board)
    board.apply(made.ended(dispatch, kind, retry_after=told), 0.0)
    at, where = then
    if at:
        assert made.dispatched(board, at - 0.01) == []
    assert [each.deployment for each in made.dispatched(board, at)] == [where]


def chat(board: Board, seq: int, at: float) -> Dispatch:
    """The next turn of a long conversation is under way."""
    made.submit(board, made.job(seq, session="s", input_estimate=20_000, submitted=at), now=at)
    (dispatch,) = made.dispatched(board, at)
    return dispatch


def test_a_session_goes_back_to_its_cache_for_one_broken_connection_and_a_stranger_does_not() -> None:
    rules = made.rules(TWO, route={"strategy": "weighted"})
    board, at, home = made.board(rules), 0.0, ""
    for seq in range(1, 9):
        dispatch = chat(board, seq, at)
        usage = Usage(input=20_000, output=100, cache_read=18_000)
        board.apply(made.succeeded(dispatch, usage), at)
        home, at = dispatch.deployment, at + 1.0
    dispatch = chat(board, 9, at)
    assert dispatch.deployment == home
    board.apply(made.ended(dispatch, K.RESET), at)
    (again,) = made.dispatched(board, at)
    assert again.deployment == home
    board.apply(made.succeeded(again, Usage(input=20_000, output=100, cache_read=18_000)), at)
    dispatch = chat(board, 10, at)
    board.apply(made.ended(dispatch, K.RATE_LIMIT, retry_after=1.0), at)
    assert made.dispatched(board, at + 0.99) == []
    assert [each.deployment for each in made.dispatched(board, at + 1.0)] == [home]


def test_a_leader_that_takes_over_knows_that_the_second_chance_is_used_up() -> None:
    board = well(made.rules(TWO, route=ALWAYS))
    failed(board, K.RESET)
    (again,) = made.dispatched(board)
    successor = well(made.rules(TWO, route=ALWAYS))
    made.submit(successor, made.job(1))
    told = InFlight("p", "j-1", again.attempt, "a/m", again.input_tokens, again.output_tokens, again.history)
    successor.apply(told, 0.0)
    successor.apply(made.ended(again, K.RESET), 0.0)
    assert [each.deployment for each in made.dispatched(successor)] == ["b/m"]


def test_a_place_that_fails_at_times_serves_alone_without_a_pause() -> None:
    """Every seventh call breaks: each is repeated once, at once, and the time of all stays that of the calls."""
    calls = 0

    def ends(_: object, __: object, ___: float) -> Ends:
        nonlocal calls
        calls += 1
        return Ends(0.2, K.RESET if calls % 7 == 0 else None)

    rules = made.rules(concurrency={"a": 1}, projects={"p": ProjectRule("p", retry_share=1.0)})
    trial = Trial(made.board(rules), ends)
    trial.submit(*[made.job(n) for n in range(100)])
    trial.run()
    assert set(trial.results.values()) == {"succeeded"}
    assert max(commit.at for commit in trial.commits) <= 0.2 * calls + 0.3
