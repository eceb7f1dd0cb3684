"""What limits did to jobs, as the board tells it for telemetry: when one began to hold, and for how long it held."""

from __future__ import annotations

from job_contracts.failures import FailureKind
from scheduler.policy.board import Board
from scheduler.policy.felt import Bound, Waited
from scheduler.policy.rules import Limit
from tests.unit.scheduler_policy import made
from tests.unit.scheduler_policy.test_orders import board, submit, went

SLOW = (Limit("requests", 60.0, 60.0, 0.02, 0.0),)


def waits(of: Board) -> list[float]:
    return [round(each.seconds, 3) for each in of.felt() if isinstance(each, Waited)]


def test_nothing_is_told_while_no_limit_binds() -> None:
    one = board(("a/m",), limits={"a": (Limit("requests", 6e6, 60.0, 0.1, 0.0),)})
    submit(one, *range(50))
    assert len(went(one, 0.0)) == 50
    assert one.felt() == []


def test_what_a_bucket_held_is_told_from_when_it_began_or_the_job_came() -> None:
    one = board(("a/m",), limits={"a": SLOW})
    submit(one, 0, 1, 2)
    assert went(one, 10.0) == ["a/m"]
    assert one.felt() == [Bound("a", "a", "requests")], "who went at once has waited for nothing"
    submit(one, 3, now=11.5)
    for step in range(21, 60):
        went(one, step / 2)
    assert waits(one) == [1.0, 2.0, 1.5], "the last one came a second and a half later"
    assert one.felt() == [], "it is told once"
    submit(one, 4, now=40.0)
    assert went(one, 40.0) == ["a/m"]
    assert waits(one) == [], "the limit has not held anybody for long"


def test_a_limit_of_calls_at_once_binds_while_somebody_waits_for_a_place() -> None:
    one = board(("a/m",), concurrency={"a": 1})
    submit(one, 0)
    (first,) = made.dispatched(one)
    assert one.felt() == [], "nobody waits"
    submit(one, 1, 2, now=2.0)
    assert went(one, 2.0) == []
    assert one.felt() == [Bound("a", "a", "concurrency")]
    one.apply(made.succeeded(first), 5.0)
    assert went(one, 5.0) == ["a/m"]
    assert one.felt() == [Waited("a", "a", 3.0)]


def test_a_provider_that_refuses_closes_its_limit_and_a_second_attempt_is_not_counted() -> None:
    one = board(("a/m",))
    submit(one, 0)
    (first,) = made.dispatched(one)
    one.apply(made.ended(first, FailureKind.RATE_LIMIT), 1.0)
    submit(one, 1, now=1.0)
    went(one, 1.0)
    assert one.felt() == [Bound("a", "a", "closed")]
    went(one, 30.0)
    assert waits(one) == [], "it has gone a second time"
    assert went(one, 60.0) == ["a/m"]
    assert waits(one) == [59.0]


def test_busy_workers_are_no_limit() -> None:
    rules = made.rules({"r0": ("a/m",)})
    one = made.board(rules, slots=1)
    submit(one, 0, 1)
    assert went(one, 0.0) == ["a/m"]
    went(one, 1.0)
    assert one.felt() == []


def test_what_the_other_place_of_a_route_takes_has_not_waited() -> None:
    one = board(("a/m", "b/m"), limits={"a": SLOW})
    submit(one, *range(10))
    assert len(went(one, 0.0)) == 10
    assert one.felt() == [Bound("a", "a", "requests")]


def test_nobody_has_to_ask() -> None:
    one = board(("a/m",), concurrency={"a": 1})
    for number in range(10_100):
        submit(one, number, now=float(number))
        submit(one, 20_000 + number, now=float(number))
        for each in made.dispatched(one, float(number)):
            one.apply(made.succeeded(each), number + 0.5)
    assert len(one.felt()) <= 10_000
