"""What each kind of failure leads to, as the table of what they permit says.

Caught here: a rate limit that counts as an attempt, a switch back to where it failed, an endless retry, a context that
overflows twice, a request too large for a domain sent to the same domain, a poison job that takes a third worker down.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from job_contracts.failures import PERMITS, Action, Bench, FailureKind, Scope
from job_contracts.jobs import JobState
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch, Finish
from scheduler.policy.facts import PoolSeen
from scheduler.policy.failover import ENDS, backoff
from scheduler.policy.rules import BreakerRule, Pace, Rules
from tests.unit.scheduler_policy import made

TWO = {"r": ("a/m", "b/m")}
DIFFERENT = {"a/m": {"window": 8_000}, "b/m": {"window": 100_000}}


def after(
    rules: Rules, kind: FailureKind, *, times: int = 1, now: float = 0.0, **over: object
) -> tuple[Board, Dispatch]:
    """A board where the newest attempt of job 1 has failed ``times`` times in that way."""
    board = made.board(rules)
    made.submit(board, made.job(1))
    dispatch: Dispatch | None = None
    for _ in range(times):
        (dispatch,) = made.dispatched(board, now)
        board.apply(made.ended(dispatch, kind, **over), now)  # type: ignore[arg-type]
    assert dispatch is not None
    return board, dispatch


@pytest.mark.parametrize("kind", [kind for kind, permits in PERMITS.items() if permits.action is Action.REPORT])
def test_what_is_to_be_reported_ends_the_job_with_that_failure(kind: FailureKind) -> None:
    board, _ = after(made.rules(TWO), kind)
    (finish,) = made.finishes(board.decide(0.0, 10))
    assert finish.failure.kind is kind
    assert finish.state is ENDS.get(kind, JobState.FAILED)
    assert finish.attempt == 1
    assert [record.deployment for record in finish.history] == ["a/m"]


@pytest.mark.parametrize("kind", [kind for kind, permits in PERMITS.items() if permits.action is Action.SWITCH])
def test_what_is_to_be_switched_goes_to_the_other_deployment_at_once(kind: FailureKind) -> None:
    board, _ = after(made.rules(TWO, facts=DIFFERENT), kind)
    (dispatch,) = made.dispatched(board)
    assert (dispatch.deployment, dispatch.attempt) == ("b/m", 2)
    assert (dispatch.switched_from, dispatch.switch_reason) == ("a/m", kind.value)
    assert [record.number for record in dispatch.history] == [1]


@pytest.mark.parametrize("kind", [kind for kind, permits in PERMITS.items() if permits.action is Action.WAIT])
def test_what_is_to_wait_is_requeued_and_a_closed_domain_is_passed_over(kind: FailureKind) -> None:
    board, _ = after(made.rules(TWO), kind, retry_after=20.0)
    (dispatch,) = made.dispatched(board)
    closed = PERMITS[kind].bench is Bench.BUCKET
    assert dispatch.deployment == ("b/m" if closed else "a/m")
    assert dispatch.attempt == 2


@pytest.mark.parametrize("kind", [kind for kind in PERMITS if PERMITS[kind].action is not Action.REPORT])
def test_only_what_counts_uses_up_the_attempts_of_a_route(kind: FailureKind) -> None:
    rules = made.rules({"r": ("a/m", "b/m", "c/m")}, max_attempts=2, max_worker_deaths=9)
    board = made.board(rules)
    made.submit(board, made.job(1))
    ends: list[Finish] = []
    attempts, now = 0, 0.0
    while attempts < 4 and not ends:
        decisions = board.decide(now, 10)
        ends = made.finishes(decisions)
        for dispatch in decisions:
            if isinstance(dispatch, Dispatch):
                attempts += 1
                board.stored([dispatch], now)
                board.apply(made.ended(dispatch, kind, retry_after=1.0), now)
        if not decisions:
            now = board.next_wake(now) or now
    if PERMITS[kind].counts:
        assert attempts <= 2
        assert ends[0].failure.kind in {FailureKind.RETRIES_EXHAUSTED, kind}
    else:
        assert attempts == 4
        assert ends == []


def test_giving_up_tells_the_last_failure() -> None:
    board, _ = after(
        made.rules(TWO, max_attempts=2), FailureKind.OVERLOADED, times=2, status=529, code="overloaded_error"
    )
    (finish,) = made.finishes(board.decide(0.0, 10))
    assert finish.state is JobState.FAILED
    assert finish.failure.kind is FailureKind.RETRIES_EXHAUSTED
    assert "overloaded" in finish.failure.message
    assert (finish.failure.status, finish.failure.code) == (529, "overloaded_error")
    assert [record.deployment for record in finish.history] == ["a/m", "b/m"]


def test_a_rate_limit_with_one_deployment_waits_as_long_as_the_provider_says() -> None:
    board, _ = after(made.rules(), FailureKind.RATE_LIMIT, retry_after=12.0)
    assert made.dispatched(board, 0.0) == []
    assert board.next_wake(0.0) == 12.0
    assert made.dispatched(board, 11.9) == []
    assert len(made.dispatched(board, 12.0)) == 1


def test_a_deployment_not_yet_tried_comes_before_one_that_failed() -> None:
    rules = made.rules({"r": ("a/m", "b/m", "c/m")})
    board = made.board(rules)
    made.submit(board, made.job(1))
    order: list[str] = []
    for _ in range(5):
        now = board.next_wake(0.0) or 0.0
        (dispatch,) = made.dispatched(board, max(now, 0.0) if order and len(order) % 3 == 0 else 0.0)
        order.append(dispatch.deployment)
        board.apply(made.ended(dispatch, FailureKind.SERVER_ERROR), 0.0)
    assert order == ["a/m", "b/m", "c/m", "a/m", "b/m"]


def test_back_at_the_only_deployment_each_pause_is_longer_and_spread() -> None:
    board = made.board(made.rules(max_attempts=9, breaker=BreakerRule(100, 5.0, 60.0)))
    made.submit(board, made.job(1))
    now, pauses = 0.0, list[float]()
    for _ in range(8):
        (dispatch,) = made.dispatched(board, now)
        board.apply(made.ended(dispatch, FailureKind.STALLED), now)
        wake = board.next_wake(now)
        assert wake is not None
        pauses.append(wake - now)
        now = wake
    pace = Pace()
    for times, pause in enumerate(pauses):
        full = min(pace.backoff * 2**times, pace.max_backoff)
        assert full / 2 <= pause <= full
    assert backoff("j-1", 3, pace) == backoff("j-1", 3, pace) != backoff("j-2", 3, pace)


def test_a_context_that_overflowed_goes_only_where_the_known_window_is_larger() -> None:
    facts = {"a/m": {"window": 8_000}, "b/m": {"window": 8_000}, "c/m": {}, "d/m": {"window": 200_000}}
    board, _ = after(made.rules({"r": ("a/m", "b/m", "c/m", "d/m")}, facts=facts), FailureKind.CONTEXT_OVERFLOW)
    (dispatch,) = made.dispatched(board)
    assert dispatch.deployment == "d/m"
    board.apply(made.ended(dispatch, FailureKind.CONTEXT_OVERFLOW), 0.0)
    (finish,) = made.finishes(board.decide(0.0, 10))
    assert finish.failure.kind is FailureKind.CONTEXT_OVERFLOW


def test_a_context_that_overflowed_an_unknown_window_goes_where_the_estimate_fits() -> None:
    facts = {"b/m": {"window": 90}, "c/m": {"window": 5_000}}
    board, _ = after(made.rules({"r": ("a/m", "b/m", "c/m")}, facts=facts), FailureKind.CONTEXT_OVERFLOW)
    assert [dispatch.deployment for dispatch in made.dispatched(board)] == ["c/m"]


def test_a_request_too_large_for_a_domain_never_goes_to_that_domain_again() -> None:
    rules = made.rules({"r": ("a/m", "a/n", "b/m")})
    board, _ = after(rules, FailureKind.REQUEST_EXCEEDS_LIMIT)
    (dispatch,) = made.dispatched(board)
    assert dispatch.deployment == "b/m"
    board.apply(made.ended(dispatch, FailureKind.REQUEST_EXCEEDS_LIMIT), 0.0)
    (finish,) = made.finishes(board.decide(0.0, 10))
    assert finish.failure.kind is FailureKind.REQUEST_EXCEEDS_LIMIT


def test_a_second_lost_worker_makes_a_job_poison() -> None:
    board, _ = after(made.rules(TWO), FailureKind.WORKER_LOST, times=2)
    (finish,) = made.finishes(board.decide(0.0, 10))
    assert (finish.state, finish.failure.kind) == (JobState.DEAD, FailureKind.POISON)
    assert "2 workers" in finish.failure.message


def test_when_all_others_are_benched_a_job_may_go_back_after_a_pause() -> None:
    rules = made.rules(TWO)
    board = made.board(rules)
    made.submit(board, made.job(1), made.job(2, route="r"))
    first, second = made.dispatched(board)
    board.apply(made.ended(first, FailureKind.OVERLOADED), 0.0)
    (moved,) = made.dispatched(board)
    assert moved.deployment == "b/m"
    board.apply(made.ended(second, FailureKind.STALLED), 0.0)
    (again,) = made.dispatched(board)
    assert again.deployment == "b/m"
    board.apply(made.ended(moved, FailureKind.AUTH), 0.0)  # b is in quarantine, a has failed once
    assert made.dispatched(board) == []
    wake = board.next_wake(0.0)
    assert wake is not None
    assert 0.1 < wake < 1.0
    assert [(d.job, d.deployment) for d in made.dispatched(board, wake)] == [("j-1", "a/m")]


def test_a_job_that_may_go_back_does_not_wait_for_a_pool_without_workers() -> None:
    rules = made.rules(TWO)
    board = made.board(rules)
    board.apply(PoolSeen("b", 0), 0.0)
    made.submit(board, made.job(1))
    (dispatch,) = made.dispatched(board)
    board.apply(made.ended(dispatch, FailureKind.RESET), 0.0)
    wake = board.next_wake(0.0)
    assert wake is not None
    assert [d.deployment for d in made.dispatched(board, wake)] == ["a/m"]


def test_a_storm_of_retries_at_one_place_is_held_to_the_budget_and_ends() -> None:
    rules = made.rules(max_attempts=50, breaker=BreakerRule(10_000, 5.0, 60.0))
    board, now, ended_at, first_minute = made.board(rules), 0.0, 0.0, 0
    made.submit(board, *[made.job(n) for n in range(100)])
    ends: list[Finish] = []
    while len(ends) < 100:
        decisions = board.decide(now, 1000)
        ends += made.finishes(decisions)
        ended_at = now
        for dispatch in decisions:
            if isinstance(dispatch, Dispatch):
                first_minute += now < 60.0
                board.stored([dispatch], now)
                board.apply(made.ended(dispatch, FailureKind.SERVER_ERROR), now)
        wake = board.next_wake(now)
        assert wake is not None
        now = wake
    assert first_minute <= 100 + 100 * 0.2 + 25  # the share, and what a minute of fading gives back
    assert {finish.failure.kind for finish in ends} == {FailureKind.RETRIES_EXHAUSTED}
    assert any("retries" in finish.failure.message for finish in ends)
    assert ended_at < 3600.0


def test_an_outage_with_another_provider_costs_no_job_however_many_were_under_way() -> None:
    board = made.board(made.rules(TWO))
    made.submit(board, *[made.job(n) for n in range(500)])
    under_way = made.dispatched(board)
    assert {dispatch.deployment for dispatch in under_way} == {"a/m"}
    for dispatch in under_way:
        board.apply(made.ended(dispatch, FailureKind.CONNECT), 1.0)
    again = made.dispatched(board, 1.0)
    assert len(again) == 500
    assert {dispatch.deployment for dispatch in again} == {"b/m"}


def test_quarantine_reaches_as_far_as_the_table_says() -> None:
    routes = {"r": ("a/m", "b/m"), "other": ("a/n", "b/m"), "third": ("c/m",)}
    for kind, permits in PERMITS.items():
        if permits.bench is not Bench.QUARANTINE:
            continue
        board, _ = after(made.rules(routes), kind)
        made.submit(board, made.job(2, route="other"), made.job(3, route="third"))
        where = {dispatch.job: dispatch.deployment for dispatch in made.dispatched(board)}
        everything = permits.scope is Scope.CREDENTIAL
        assert where == {"j-1": "b/m", "j-2": "b/m" if everything else "a/n", "j-3": "c/m"}
        assert set(board.counts().benched) == ({"a/m", "a/n"} if everything else {"a/m"})


@pytest.mark.parametrize(("reports", "kinds"), [(True, {FailureKind.SCHEMA_VIOLATION}), (False, set())])
def test_a_route_may_end_a_job_with_an_answer_that_its_schema_does_not_allow(
    reports: bool, kinds: set[FailureKind]
) -> None:
    rules = made.rules(TWO)
    routes = {name: replace(rule, reports_invalid=reports) for name, rule in rules.routes.items()}
    for kind in (FailureKind.SCHEMA_VIOLATION, FailureKind.SERVER_ERROR):
        board, _ = after(replace(rules, routes=routes), kind)
        decisions = board.decide(0.0, 10)
        assert {one.failure.kind for one in made.finishes(decisions)} == kinds & {kind}
