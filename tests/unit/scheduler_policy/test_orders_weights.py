"""What operators order of weights and of projects' limits, on the board alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from job_contracts.operating import AskOrder, Rates, Standing
from scheduler.policy.board import Board
from scheduler.policy.facts import Ordered, PoolSeen
from scheduler.policy.orders import wish
from scheduler.policy.rules import Limit, ProjectRule
from tests.unit.scheduler_policy import made
from tests.unit.scheduler_policy.test_orders import board, seen, submit, went

WEIGHTS = {"a/m": 3.0, "b/m": 1.0}
MINUTE = (Limit("requests", 600.0, 60.0, 0.1, 0.0),)


def weighted(**over: Any) -> Board:
    return board(("a/m", "b/m"), route={"strategy": "weighted", "weights": WEIGHTS}, **over)


def shares(of: Board, first: int, now: float) -> Counter[str]:
    """Where the next forty go."""
    submit(of, *range(first, first + 40), now=now)
    return Counter(went(of, now))


def test_a_weight_that_is_ordered_is_in_force_with_the_next_decision_until_it_is_taken_back() -> None:
    one = weighted()
    assert shares(one, 0, 0.0) == {"a/m": 30, "b/m": 10}
    one.apply(Ordered("weight", "a/m", factor=1 / 9), 1.0)
    told = shares(one, 100, 1.0)
    assert abs(told["a/m"] - 10) <= 1, told
    one.apply(Ordered("weight", "a/m", factor=0.0), 2.0)
    assert shares(one, 200, 2.0) == {"b/m": 40}
    one.apply(Ordered("weight", "a/m"), 3.0)
    told = shares(one, 300, 3.0)
    assert abs(told["a/m"] - 30) <= 2, told


def test_what_waits_goes_by_the_weight_of_the_moment_at_which_it_goes() -> None:
    one = weighted(concurrency={"a": 1, "b": 1})
    submit(one, *range(20))
    assert sorted(went(one, 0.0)) == ["a/m", "b/m"]
    one.apply(Ordered("weight", "a/m", factor=0.0), 1.0)
    for pool in ("a", "b"):
        one.apply(PoolSeen(pool, made.PLENTY), 1.0)
    one.apply(Ordered("limit", "a", limits=Rates(concurrency=9)), 1.0)
    one.apply(Ordered("limit", "b", limits=Rates(concurrency=9)), 1.0)
    assert Counter(went(one, 1.0)) == {"b/m": 8, "a/m": 8}, "0 is for what no other place can take"


def test_a_weight_and_a_pause_of_one_deployment_take_nothing_of_each_other_back() -> None:
    one = weighted()
    one.apply(Ordered("weight", "b/m", factor=3.0), 0.0)
    one.apply(Ordered("deployment", "b/m", "paused", said="ann"), 0.0)
    assert shares(one, 0, 0.0) == {"a/m": 40}
    one.apply(Ordered("deployment", "b/m"), 1.0)
    told = shares(one, 100, 1.0)
    assert abs(told["a/m"] - 20) <= 2, told


def test_the_overview_says_the_weights_in_force_by_route() -> None:
    one = weighted()
    one.apply(Ordered("weight", "a/m", factor=0.5), 0.0)
    told = {each.name: each.weights for pool in seen(one, 0.0).pools for each in pool.deployments}
    assert told == {"a/m": {"r0": 1.5}, "b/m": {"r0": 1.0}}
    plain = seen(board(("a/m",)), 0.0)
    assert plain.pools[0].deployments[0].weights == {}


def test_the_overview_says_each_weight_once_by_each_route_that_goes_by_weights() -> None:
    rules = made.rules(
        {"r0": ("a/m", "b/m"), "r1": ("b/m", "a/n", "a/m"), "r2": ("a/m",)},
        route={"strategy": "weighted", "weights": {"a/m": 3.0, "b/m": 2.0, "a/n": 5.0}},
    )
    plain = replace(rules.routes["r2"], strategy="ordered")
    one = Board(replace(rules, routes={**rules.routes, "r2": plain}))
    told = {pool.name: {each.name: each.weights for each in pool.deployments} for pool in seen(one, 0.0).pools}
    assert told == {
        "a": {"a/m": {"r0": 3.0, "r1": 3.0}, "a/n": {"r1": 5.0}},
        "b": {"b/m": {"r0": 2.0, "r1": 2.0}},
    }


def project(**over: Any) -> Board:
    rules = {"p": ProjectRule("p", **over), "q": ProjectRule("q")}
    return board(("a/m",), projects=rules)


def test_a_project_is_held_to_less_and_to_what_is_configured_again_and_nobody_else_is() -> None:
    one = project(limits=MINUTE)
    submit(one, *range(900))
    one.apply(Ordered("limit", "project:p", limits=Rates(rpm=60)), 0.0)
    assert went(one, 0.0) == [], "a lower limit begins empty"
    submit(one, *range(1000, 1010), project="q")
    assert len(went(one, 0.0)) == 10
    count = sum(len(went(one, now / 2)) for now in range(1, 121))
    assert 50 <= count <= 60
    (told,) = seen(one, 60.0).projects
    assert (told.name, told.pool, told.units[0].limit, told.units[0].configured) == ("project:p", "", 60.0, 600.0)
    one.apply(Ordered("limit", "project:p"), 60.0)
    count = sum(len(went(one, 60.0 + now / 2)) for now in range(1, 121))
    assert 480 <= count <= 600


def test_who_waits_for_a_place_of_its_project_goes_as_soon_as_more_are_ordered() -> None:
    one = project(concurrency=2)
    submit(one, *range(9))
    assert len(went(one, 0.0)) == 2
    one.apply(Ordered("limit", "project:p", limits=Rates(concurrency=6)), 1.0)
    assert one.next_wake(1.0) == 1.0
    assert len(went(one, 1.0)) == 4
    one.apply(Ordered("limit", "project:p", limits=Rates(concurrency=6, rpm=6000)), 2.0)
    assert [each.unit for each in seen(one, 2.0).projects[0].units] == ["requests", "concurrency"]
    one.apply(Ordered("limit", "project:p"), 3.0)
    assert [(each.unit, each.limit, each.reserved) for each in seen(one, 3.0).projects[0].units] == [
        ("concurrency", 2, 6)
    ]
    assert went(one, 3.0) == [], "what is under way goes on, nothing new comes"


def test_a_successor_of_a_project_that_is_overridden_is_no_faster() -> None:
    first = project(limits=MINUTE)
    override = Ordered("limit", "project:p", limits=Rates(rpm=60))
    first.apply(override, 0.0)
    submit(first, *range(100))
    assert went(first, 3.0)
    for order_first in (True, False):
        second = project(limits=MINUTE)
        if order_first:
            second.apply(override, 3.0)
        second.restore(first.levels(3.0), 0.0, 3.0)
        if not order_first:
            second.apply(override, 3.0)
        mine, theirs = seen(first, 3.0).projects[0].units[0], seen(second, 3.0).projects[0].units[0]
        assert theirs.available <= mine.available


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"do": "weigh", "factor": 0.5, "lasts": 60}, ""),
        ({"do": "weigh", "factor": 0.0, "lasts": 60}, ""),
        ({"do": "weigh", "lasts": 60}, "factor"),
        ({"do": "weigh", "factor": 0.5}, "lasts"),
        ({"do": "restore"}, ""),
        ({"do": "resume"}, "do"),
        ({"do": "restore", "name": "c/m"}, "name"),
        ({"do": "restore", "name": "nowhere"}, "name"),
        ({"do": "weigh", "aim": "deployment", "factor": 0.5, "lasts": 60}, "do"),
        ({"do": "restore", "aim": "limit", "name": "project:p"}, ""),
        ({"do": "restore", "aim": "limit", "name": "project:q"}, "name"),
        ({"do": "pause", "aim": "limit", "name": "project:p"}, "do"),
    ],
)
def test_an_order_that_cannot_be_carried_out_is_told_with_its_remedy(over: dict[str, Any], field: str) -> None:
    asked = AskOrder.model_validate({"aim": "weight", "name": "a/m", "by": "ann", **over})
    one = weighted(projects={"p": ProjectRule("p", limits=MINUTE), "q": ProjectRule("q")})
    problem = one.problem(asked)
    assert (problem or ("",))[0] == field
    assert problem is None or all(problem)


def test_without_a_route_that_goes_by_weights_nothing_can_be_weighed() -> None:
    asked = AskOrder(do="weigh", aim="weight", name="a/m", by="ann", factor=0.5, lasts=60)
    problem = board().problem(asked)
    assert problem is not None
    assert (problem[0], "weighted" in problem[2]) == ("name", True)
    assert wish(asked, 100.0) == Standing(factor=0.5, until=160.0)
