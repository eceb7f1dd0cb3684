"""What operators order of pools, deployments and limits, on the board alone."""

from __future__ import annotations

from typing import Any

import pytest

from job_contracts.failures import FailureKind
from job_contracts.operating import AskOrder, Audited, Overview, Rates, Standing, ToldLeader
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch
from scheduler.policy.facts import Ordered, PoolSeen
from scheduler.policy.orders import NOTHING, Orders, wish
from scheduler.policy.overview import Told
from scheduler.policy.rules import Limit
from tests.unit.scheduler_policy import made

LEADER = ToldLeader(owner="s1", term=7, since=1.0)


def board(*routes: tuple[str, ...], **further: Any) -> Board:
    """Live pools of every provider."""
    rules = made.rules({f"r{number}": places for number, places in enumerate(routes or (("a/m", "b/m"),))}, **further)
    found = Board(rules)
    for pool in {rule.provider for rule in rules.deployments.values()}:
        found.apply(PoolSeen(pool, made.PLENTY), 0.0)
    return found


def submit(of: Board, *numbers: int, route: str = "r0", now: float = 0.0, **over: Any) -> None:
    for number in numbers:
        of.apply(made.job(number, route=route, submitted=now, **over), now)


def went(of: Board, now: float) -> list[str]:
    """Where jobs go now."""
    found = [each for each in of.decide(now, 1000) if isinstance(each, Dispatch)]
    of.stored(found, now)
    return [each.deployment for each in found]


def seen(of: Board, now: float) -> Overview:
    return of.overview(Told(at=now, leader=LEADER), now)


@pytest.mark.parametrize("target", [("pool", "a"), ("deployment", "a/m")])
@pytest.mark.parametrize("state", ["paused", "draining"])
def test_nothing_new_goes_where_an_operator_forbids_it_and_what_waits_goes_there_again_afterwards(
    target: Any, state: Any
) -> None:
    one = board(("a/m",), ("a/m", "b/m"))
    submit(one, 0)
    assert went(one, 0.0) == ["a/m"]
    one.apply(Ordered(target[0], target[1], state, said="ann: a strange bill"), 1.0)
    submit(one, 1, now=1.0)
    submit(one, 2, route="r1", now=1.0)
    assert went(one, 1.0) == ["b/m"]
    told = one.status("p", "j-1", 1.0)
    assert told is not None
    assert told.waiting_for is not None
    assert "by ann: a strange bill" in told.waiting_for
    assert seen(one, 1.0).pools[0].in_flight == 1, "what is under way goes on"
    one.apply(Ordered(*target), 2.0)
    assert went(one, 2.0) == ["a/m"]


@pytest.mark.parametrize("target", [("pool", "a"), ("deployment", "a/m")])
@pytest.mark.parametrize(("state", "then"), [("paused", []), ("draining", ["b/m"])])
def test_a_job_that_failed_elsewhere_waits_for_a_pause_and_goes_back_from_what_is_emptied(
    target: Any, state: Any, then: list[str]
) -> None:
    one = board(("b/m", "a/m"))
    one.apply(Ordered(target[0], target[1], state, said="ann"), 0.0)
    submit(one, 0)
    (tried,) = made.dispatched(one)
    assert tried.deployment == "b/m"
    one.apply(made.ended(tried, FailureKind.SERVER_ERROR), 0.1)
    later = [place for now in range(1, 30) for place in went(one, float(now))]
    assert later[:1] == then
    one.apply(Ordered(*target), 40.0)
    if not then:
        assert went(one, 40.0) == ["a/m"]


def test_a_paused_pool_stays_paused_whatever_its_workers_say_and_others_are_not_held_up() -> None:
    one = board(("a/m",), ("b/m",))
    one.apply(Ordered("pool", "a", "paused", said="ann"), 0.0)
    one.apply(PoolSeen("a", 80), 0.0)
    submit(one, *range(5))
    submit(one, *range(5, 10), route="r1")
    assert went(one, 0.0) == ["b/m"] * 5
    assert (one.next_wake(0.0) or 1.0) > 0.0, "it must not spin"
    first = seen(one, 3.0).pools[0]
    assert (first.state, first.slots, first.queued, first.oldest) == ("paused", 80, {"std": 5}, 3.0)


def unit(of: Board, now: float, number: int = 0) -> Any:
    return seen(of, now).limits[0].units[number]


def test_an_override_holds_in_place_of_the_limit_until_it_is_taken_back() -> None:
    one = board(("a/m",), limits={"a": (Limit("requests", 600.0, 60.0, 0.1, 0.0),)})
    submit(one, *range(900))
    one.apply(Ordered("limit", "a", limits=Rates(rpm=60)), 0.0)
    assert went(one, 0.0) == [], "a lower limit begins empty"
    count = sum(len(went(one, now / 2)) for now in range(1, 121))
    assert 50 <= count <= 60
    assert (unit(one, 60.0).limit, unit(one, 60.0).configured) == (60.0, 600.0)
    one.apply(Ordered("limit", "a"), 60.0)
    count = sum(len(went(one, 60.0 + now / 2)) for now in range(1, 121))
    assert 480 <= count <= 600
    assert (unit(one, 120.0).limit, unit(one, 120.0).configured) == (600.0, 600.0)


def test_no_window_has_more_than_the_larger_of_two_limits_however_they_change() -> None:
    one = board(("a/m",), limits={"a": (Limit("requests", 120.0, 60.0, 0.3, 0.0),)})
    submit(one, *range(2000))
    at: list[float] = []
    for step in range(720):
        now = step / 2
        if step % 90 == 0:
            rate = (None, 60, 240, 30)[step // 90 % 4]
            one.apply(Ordered("limit", "a", limits=None if rate is None else Rates(rpm=rate)), now)
        at += [now] * len(went(one, now))
    for start in at:
        inside = sum(1 for time in at if start <= time < start + 60.0)
        steps = {int(moment // 45) % 4 for moment in (start, start + 15, start + 30, start + 45, start + 59.9)}
        assert inside <= max((120, 60, 240, 30)[step] for step in steps)


def test_a_limit_that_is_not_configured_comes_and_goes_with_the_order() -> None:
    one = board(("a/m",), concurrency={"a": 4})
    one.apply(Ordered("limit", "a", limits=Rates(tpm=6000, concurrency=2)), 0.0)
    submit(one, *range(9), input_estimate=10)
    assert went(one, 0.0) == []
    assert len(went(one, 20.0)) == 1, "a request is of 110 tokens, the bucket of a few more"
    assert [(each.unit, each.limit, each.configured) for each in seen(one, 20.0).limits[0].units] == [
        ("tokens", 6000.0, None),
        ("concurrency", 2.0, 4.0),
    ]
    tokens, places = seen(one, 20.0).limits[0].units
    assert (tokens.reserved, places.reserved, places.available) == (110, 1, 1)
    one.apply(Ordered("limit", "a"), 20.0)
    assert len(went(one, 20.0)) == 3
    assert [each.unit for each in seen(one, 20.0).limits[0].units] == ["concurrency"]


def test_what_a_successor_is_told_of_a_limit_that_is_overridden_lets_it_be_no_faster() -> None:
    rules = made.rules({"r0": ("a/m",)}, limits={"a": (Limit("requests", 60.0, 60.0, 0.1, 0.0),)})
    first, second = Board(rules), Board(rules)
    override = Ordered("limit", "a", limits=Rates(rpm=600))
    first.apply(override, 0.0)
    assert unit(first, 0.0).available <= unit(first, 0.0).size
    second.restore(first.levels(30.0), 0.0, 30.0)
    assert unit(second, 30.0).available <= unit(second, 30.0).size <= 30
    second.apply(override, 30.0)
    assert unit(second, 30.0).available <= unit(first, 30.0).available


def test_the_numbers_of_a_moment_agree_with_each_other() -> None:
    one = board(("a/m", "b/m"), limits={"a": (Limit("requests", 600.0, 60.0, 0.1, 0.0),)}, concurrency={"b": 7})
    submit(one, *range(100), lane="rt")
    submit(one, *range(100, 150), lane="bg")
    gone = len(went(one, 0.0))
    told = seen(one, 2.0)
    assert told.known == 150
    assert told.in_flight == gone == sum(pool.in_flight for pool in told.pools)
    queued = {lane.name: lane.queued for lane in told.lanes if lane.queued}
    assert sum(queued.values()) == 150 - gone
    assert queued == {lane: sum(pool.queued.get(lane, 0) for pool in told.pools) for lane in queued}
    metered = told.limits[0].units[0]
    assert metered.reserved == told.pools[0].in_flight
    assert metered.used == metered.size - metered.available


def test_targets_that_the_configuration_has_no_more_are_passed_over() -> None:
    one = board()
    for aim in ("pool", "deployment", "limit"):
        one.apply(Ordered(aim, "gone", "paused", Rates(rpm=1), "ann"), 0.0)
    submit(one, 0)
    assert went(one, 0.0) == ["a/m"]


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"name": "c"}, "name"),
        ({"aim": "deployment"}, "name"),
        ({"do": "override"}, "do"),
        ({"do": "pause", "aim": "limit"}, "do"),
        ({"do": "override", "aim": "limit", "lasts": 60}, "limits"),
        ({"do": "override", "aim": "limit", "lasts": 60, "limits": {}}, "limits"),
        ({"do": "override", "aim": "limit", "limits": {"rpm": 5}}, "lasts"),
        ({"do": "override", "aim": "limit", "limits": {"rpm": 5}, "lasts": 60}, ""),
        ({}, ""),
    ],
)
def test_an_order_that_cannot_be_carried_out_is_told_with_its_remedy(over: dict[str, Any], field: str) -> None:
    asked = AskOrder.model_validate({"do": "pause", "aim": "pool", "name": "a", "by": "ann", **over})
    problem = board().problem(asked)
    assert (problem or ("",))[0] == field
    assert problem is None or all(problem)


def test_the_last_order_of_a_target_is_in_force_until_it_ends() -> None:
    orders = Orders()
    asked = AskOrder(do="drain", aim="pool", name="a", by="ann", why="w", lasts=60)
    standing = wish(asked, 100.0)
    assert standing == Standing(state="draining", until=160.0)
    drained = Audited(at=100.0, by="ann", did="drain", on="pool", name="a", after=standing)
    orders.read(drained, "pool", "a", 5)
    orders.read(Audited(at=90.0, by="bob", did="resume", on="pool", name="a", after=NOTHING), "pool", "a", 4)
    assert [(target, order.by) for target, order in orders.in_force(159.9)] == [(("pool", "a"), "ann")]
    assert not [*orders.in_force(160.0)]
    orders.read(Audited(at=101.0, by="bob", did="resume", on="pool", name="a", after=NOTHING), "pool", "a", 9)
    assert orders.of(("pool", "a"), 110.0) is None
