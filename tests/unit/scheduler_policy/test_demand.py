"""What a pool is asked for at one moment: what is under way, and of what waits as much as limits let go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from job_contracts.failures import FailureKind
from job_contracts.operating import State
from scheduler.policy.board import Board
from scheduler.policy.demand import FILLED, PATIENCE, SLACK, UNKNOWN, Demand
from scheduler.policy.facts import Ordered, PoolSeen
from scheduler.policy.rules import Limit, ProjectRule
from tests.unit.scheduler_policy import made

STD = PATIENCE["std"]


def known(board: Board, seconds: float, *, first: int = 900_000) -> None:
    """One job was served, so it is known how long a call takes; all of them are served by the first deployment."""
    made.submit(board, made.job(first))
    (dispatch,) = made.dispatched(board, room=1)
    board.apply(made.succeeded(dispatch, seconds=seconds), 0.0)


def waits(count: int, **over: Any) -> list[Any]:
    return [made.job(number + 1, **over) for number in range(count)]


def asked(board: Board, now: float = 0.0) -> Mapping[str, Demand]:
    return board.demands(now)


def test_nothing_to_do_asks_for_nothing() -> None:
    assert asked(made.board())["a"] == Demand(seconds=UNKNOWN)


def test_what_is_under_way_leaves_room_for_what_comes() -> None:
    board = made.board()
    made.submit(board, *waits(8))
    assert len(made.dispatched(board)) == 8
    assert asked(board)["a"].wanted == pytest.approx(8 / FILLED)


def test_short_calls_follow_one_another_in_the_same_place() -> None:
    board = made.board()
    known(board, STD / 10)
    made.submit(board, *waits(100))
    assert asked(board)["a"].wanted == pytest.approx(10)
    assert asked(board)["a"].waiting == 100


def test_long_calls_need_a_place_each() -> None:
    board = made.board()
    known(board, 10 * STD)
    made.submit(board, *waits(100))
    assert asked(board)["a"].wanted == pytest.approx(100)


def test_lanes_that_can_wait_ask_for_less() -> None:
    wanted = []
    for lane in ("rt", "std", "batch", "bg"):
        board = made.board()
        known(board, 5.0)
        made.submit(board, *waits(900, lane=lane))
        wanted.append(asked(board)["a"].wanted)
    assert wanted == pytest.approx([900 * 5.0 / PATIENCE[lane] for lane in ("rt", "std", "batch", "bg")])


def test_what_has_waited_for_long_asks_for_twice_as_much_at_most() -> None:
    board = made.board()
    known(board, 3.0)
    made.submit(board, *waits(100))
    fresh = asked(board)["a"].wanted
    assert asked(board, STD / 4)["a"].wanted == pytest.approx(fresh / 0.75)
    assert asked(board, 100 * STD)["a"].wanted == pytest.approx(2 * fresh)


@pytest.mark.parametrize(
    ("limit", "rate"),
    [(Limit("requests", 600.0), 1.0), (Limit("tokens", 120_000.0), 1.0), (Limit("input_tokens", 60_000.0), 1.0)],
)
def test_a_rate_limit_bounds_it_by_rate_times_seconds(limit: Limit, rate: float) -> None:
    board = made.board(made.rules(limits={"a": (limit,)}))
    known(board, 4.0)
    made.submit(board, *waits(5_000))
    # About 10 a second of 100 + 100 tokens each, less what is kept back for bursts and skew.
    assert 0.9 * 40 * SLACK * rate <= asked(board)["a"].wanted <= 40 * SLACK * rate
    assert asked(board)["a"].held_back > 4_000


def test_a_limit_of_calls_at_once_bounds_it() -> None:
    board = made.board(made.rules(concurrency={"a": 7}))
    made.submit(board, *waits(500))
    assert asked(board)["a"].wanted == 7
    assert len(made.dispatched(board)) == 7
    assert asked(board)["a"].wanted == 7


def test_what_the_operator_allows_a_pool_bounds_it() -> None:
    board = made.board(made.rules(pools={"a": 3}))
    made.submit(board, *waits(500))
    assert asked(board)["a"].wanted == 3


def test_a_refusal_of_the_provider_asks_for_nothing_more_while_it_lasts() -> None:
    board = made.board()
    made.submit(board, *waits(50))
    dispatches = made.dispatched(board, room=10)
    board.apply(made.ended(dispatches[0], FailureKind.RATE_LIMIT, retry_after=60.0), 1.0)
    assert asked(board, 2.0)["a"].wanted == 9
    assert asked(board, 2.0)["a"].held_back == 41


def test_what_would_go_elsewhere_meanwhile_asks_there() -> None:
    board = made.board(made.rules({"r": ("a/m", "b/m")}, concurrency={"a": 2}))
    known(board, STD)
    made.submit(board, *waits(10))
    found = asked(board)
    assert (found["a"].wanted, found["b"].wanted) == pytest.approx((2, 8 * UNKNOWN / STD))
    assert (found["a"].waiting, found["b"].waiting) == (10, 0)


def test_the_places_of_the_first_provider_are_for_the_lanes_that_cannot_wait() -> None:
    board = made.board(made.rules({"r": ("a/m", "b/m")}, concurrency={"a": 5}))
    known(board, STD)
    made.submit(board, *waits(100, lane="bg"), *(made.job(number, lane="rt") for number in range(200, 205)))
    found = asked(board)
    assert (found["a"].wanted, found["b"].wanted) == pytest.approx((5, 100 * UNKNOWN / PATIENCE["bg"]))


def test_a_pool_without_workers_is_asked_and_so_is_the_next_one_while_it_has_none() -> None:
    board = made.board(made.rules({"r": ("a/m", "b/m")}))
    known(board, STD)
    board.apply(PoolSeen("a", 0), 0.0)
    made.submit(board, *waits(10))
    found = asked(board)
    assert (found["a"].wanted, found["b"].wanted) == pytest.approx((10, 10 * UNKNOWN / STD))
    assert found["a"].held_back == 0


def test_an_open_breaker_sends_the_demand_on_and_a_probe_needs_one_place() -> None:
    board = made.board(made.rules({"r": ("a/m", "b/m")}))
    made.submit(board, *waits(5))
    for dispatch in made.dispatched(board):
        board.apply(made.ended(dispatch, FailureKind.SERVER_ERROR), 1.0)
    board.apply(PoolSeen("b", 0), 1.0)
    made.submit(board, *waits(20, project="q"), now=1.0)
    assert asked(board, 2.0)["a"].wanted == 0
    assert asked(board, 2.0)["b"].wanted > 1
    assert asked(board, 3_600.0)["a"].wanted == 1


@pytest.mark.parametrize("state", ["paused", "draining"])
def test_a_pool_that_an_operator_has_stopped_is_asked_for_what_it_still_does(state: State) -> None:
    board = made.board(made.rules({"r": ("a/m", "b/m"), "only": ("a/m",)}, concurrency={"a": 2}))
    made.submit(board, *waits(2, route="only"))
    assert len(made.dispatched(board)) == 2
    board.apply(Ordered("pool", "a", state, said="ann"), 1.0)
    made.submit(board, *waits(20, project="q"), *(made.job(number, route="only") for number in range(50, 60)), now=1.0)
    found = asked(board, 1.0)
    assert (found["a"].wanted, found["a"].held_back) == (2, 10)
    assert found["b"].wanted == pytest.approx(20 * UNKNOWN / (STD - 1.0))
    board.apply(PoolSeen("a", 0), 1.0)
    assert asked(board, 1.0)["a"].wanted == 2


def test_a_stopped_pool_without_workers_gets_none_before_it_may_work_again() -> None:
    board = made.board()
    board.apply(PoolSeen("a", 0), 0.0)
    made.submit(board, *waits(20))
    board.apply(Ordered("pool", "a", "paused", said="ann"), 0.0)
    assert asked(board)["a"].wanted == 0
    board.apply(Ordered("pool", "a", "running"), 0.0)
    assert asked(board)["a"].wanted >= 1


def test_where_nobody_is_well_one_worker_is_asked_for_to_find_out() -> None:
    board = made.board()
    made.submit(board, *waits(5))
    for dispatch in made.dispatched(board):
        board.apply(made.ended(dispatch, FailureKind.SERVER_ERROR), 1.0)
    made.submit(board, *waits(20, project="q"), now=1.0)
    assert asked(board, 2.0)["a"].wanted == 1
    assert asked(board, 2.0)["a"].held_back == 20


def test_what_a_project_may_not_have_in_flight_asks_for_nobody() -> None:
    projects = {"p": ProjectRule("p", max_in_flight=3), "q": ProjectRule("q")}
    board = made.board(made.rules(projects=projects))
    known(board, STD, first=1)
    made.submit(board, *(made.job(number) for number in range(2, 102)))
    assert asked(board)["a"].wanted == 3
    assert asked(board)["a"].held_back == 97


def test_what_waits_for_room_of_its_project_asks_for_nobody() -> None:
    projects = {"p": ProjectRule("p", limits=(Limit("requests", 60.0),)), "q": ProjectRule("q")}
    board = made.board(made.rules(projects=projects))
    made.submit(board, *waits(100))
    begun = len(made.dispatched(board))
    assert begun < 10
    assert asked(board)["a"].waiting <= 1
    assert asked(board)["a"].wanted <= begun / FILLED + 1


def test_a_live_order_spreads_what_waits() -> None:
    board = made.board(made.rules({"r": ("a/m", "b/m")}, route={"strategy": "least_loaded"}))
    made.submit(board, *waits(100))
    found = asked(board)
    assert found["a"].wanted == pytest.approx(found["b"].wanted)
    assert found["a"].wanted + found["b"].wanted == pytest.approx(100 * UNKNOWN / STD)
