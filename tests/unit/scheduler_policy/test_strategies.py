"""Strategies through the whole board: bursts, sessions, days with outages and other prices, records, replays."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from catalogue.prices import Price
from job_contracts.chat import Usage
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from scheduler.policy.board import Board
from scheduler.policy.decisions import Dispatch
from scheduler.policy.facts import PoolSeen, Settled, Submitted
from scheduler.policy.rules import Blend, Rules
from tests.unit.scheduler_policy import made
from tests.unit.scheduler_policy.trial import Ends, Trial

DAY = 86_400.0
LIVE = ("weighted", "fastest", "least_loaded", "blend")
ALL = (*LIVE, "cheapest")
THREE = ("a/m", "b/m", "c/m")
CHEAP = Price(input=Decimal(1), output=Decimal(2), cache_read=Decimal("0.1"))
DEAR = Price(input=Decimal(3), output=Decimal(6), cache_read=Decimal("0.3"))


def three(strategy: str, route: dict[str, Any] | None = None, **over: Any) -> Rules:
    """A route over three places at three providers."""
    facts = {"a/m": {"prices": (CHEAP,)}, "b/m": {"prices": (DEAR,)}, "c/m": {"prices": (DEAR,)}}
    return made.rules({"r": THREE}, **({"route": {"strategy": strategy, **(route or {})}, "facts": facts} | over))


def where(dispatches: list[Dispatch]) -> Counter[str]:
    """How many went where."""
    return Counter(each.deployment for each in dispatches)


def answered(board: Board, dispatch: Dispatch, now: float, **usage: int) -> None:
    """It got its answer, as it was expected or with such a usage."""
    used = Usage.model_validate({"input": dispatch.input_tokens, "output": dispatch.output_tokens, **usage})
    board.apply(made.succeeded(dispatch, used), now)


def warmed(board: Board) -> None:
    """Some answers of every place: a tenth of a second at the first, twice that at the others."""
    for number in range(60):
        made.submit(board, made.job(10_000 + number), now=float(number))
        for each in made.dispatched(board, float(number)):
            seconds = 0.1 if each.deployment == "a/m" else 0.2
            board.apply(made.succeeded(each, seconds=seconds), number + seconds)


@pytest.mark.parametrize("strategy", LIVE)
def test_two_thousand_jobs_at_once_do_not_run_to_one_place(strategy: str) -> None:
    """A choice made once for all would send all to whoever was best before the first had gone.

    Money does not change with what is under way: where it counts in a blend, the cheap place gets more.
    """
    board = made.board(three(strategy, {"blend": Blend(cost=0.0)}))
    warmed(board)
    made.submit(board, *[made.job(seq) for seq in range(1, 2_001)], now=100.0)
    found = where(made.dispatched(board, 100.0, room=5_000))
    assert sum(found.values()) == 2_000
    assert min(found[name] for name in THREE) > 300


def test_a_burst_is_spread_by_the_operators_weights() -> None:
    """To the job."""
    board = made.board(three("weighted", {"weights": {"a/m": 6.0, "b/m": 3.0}}))
    made.submit(board, *[made.job(seq) for seq in range(1, 2_001)])
    assert where(made.dispatched(board, room=5_000)) == {"a/m": 1_200, "b/m": 600, "c/m": 200}


def test_the_least_loaded_place_is_the_one_with_most_room() -> None:
    """Slots of ten, thirty and sixty are filled in proportion."""
    board = made.board(three("least_loaded", concurrency={"a": 10, "b": 30, "c": 60}))
    made.submit(board, *[made.job(seq) for seq in range(1, 51)])
    assert where(made.dispatched(board)) == {"a/m": 5, "b/m": 15, "c/m": 30}


def test_the_fastest_place_gets_what_is_no_burst() -> None:
    """One job after the other: nearly all to it, and now and then one elsewhere to see."""
    board = made.board(three("fastest"))
    warmed(board)
    found: Counter[str] = Counter()
    for number in range(400):
        made.submit(board, made.job(number + 1), now=100.0 + number)
        for each in made.dispatched(board, 100.0 + number):
            found[each.deployment] += 1
            board.apply(made.succeeded(each, seconds=0.1 if each.deployment == "a/m" else 0.2), 100.5 + number)
    assert found["a/m"] > 370
    assert 1 < found["b/m"] < 15
    assert 1 < found["c/m"] < 15


def test_a_place_that_became_slow_is_left() -> None:
    """The percentile follows what comes in, and a timeout says as much as an answer."""
    board = made.board(three("fastest"))
    warmed(board)
    went: list[str] = []
    for number in range(60):
        made.submit(board, made.job(number + 1), now=100.0 + number)
        for each in made.dispatched(board, 100.0 + number):
            went.append(each.deployment)
            board.apply(made.succeeded(each, seconds=5.0 if each.deployment == "a/m" else 0.2), 100.9 + number)
    assert went[0] == "a/m"
    assert "a/m" not in went[-15:]


def test_jobs_of_different_shape_go_where_each_is_cheapest() -> None:
    """One place is cheap to read, another one to write; both orders wait side by side in one round."""
    facts = {
        "a/m": {"prices": (Price(input=Decimal(1), output=Decimal(20)),)},
        "b/m": {"prices": (Price(input=Decimal(4), output=Decimal(4)),)},
    }
    board = made.board(made.rules({"r": ("a/m", "b/m")}, facts=facts, route={"strategy": "cheapest"}))
    long = [made.job(seq, input_estimate=10_000, max_output=10) for seq in range(1, 6)]
    short = [made.job(seq, input_estimate=10, max_output=100) for seq in range(6, 11)]
    made.submit(board, *long, *short)
    found = {each.job: each.deployment for each in made.dispatched(board)}
    assert {found[each.job] for each in long} == {"a/m"}
    assert {found[each.job] for each in short} == {"b/m"}


def test_where_the_cheapest_is_full_the_next_cheapest_takes_the_rest() -> None:
    """As with the operator's own order."""
    board = made.board(three("cheapest", concurrency={"a": 3}))
    made.submit(board, *[made.job(seq) for seq in range(1, 8)])
    assert where(made.dispatched(board)) == {"a/m": 3, "b/m": 4}


# ------------------------------------------------------------------------------------------------------------- sessions


def turn(seq: int, tokens: int, session: str | None = "s") -> Submitted:
    """One more turn of a conversation."""
    return made.job(seq, session=session, input_estimate=tokens, max_output=10)


def test_a_session_stays_while_its_cache_is_worth_more_than_moving_saves() -> None:
    """It began where there was room; the cheaper place is free again, and the sums decide, and are told."""
    board = made.board(three("cheapest", concurrency={"a": 1}))
    made.submit(board, made.job(1), turn(2, 10_000))
    first, second = made.dispatched(board)
    assert (first.deployment, second.deployment) == ("a/m", "b/m")
    answered(board, first, 1.0)
    answered(board, second, 1.0, input=10_000, cache_write=10_000)
    made.submit(board, turn(3, 10_100), now=2.0)
    (stayed,) = made.dispatched(board, 2.0)
    assert stayed.deployment == "b/m"
    assert stayed.decision is not None
    sums = stayed.decision.session
    assert sums is not None
    # 10,000 tokens at 0.30 instead of 3.00 dollars a million; moving saves 2.00 a million of 10,100, and 4.00 of 10.
    assert (sums.home, sums.cached, sums.stays) == ("b/m", 10_000, True)
    assert sums.worth == Decimal("0.027")
    assert sums.saves == Decimal("0.02024")
    answered(board, stayed, 3.0, input=10_100, cache_read=10_000)
    made.submit(board, turn(4, 60_000), now=4.0)
    (moved,) = made.dispatched(board, 4.0)
    assert moved.deployment == "a/m"
    assert moved.decision is not None
    assert moved.decision.session is not None
    assert not moved.decision.session.stays


def test_a_session_is_not_held_where_its_cache_has_gone() -> None:
    """After five minutes it goes where it is cheapest."""
    board = made.board(three("cheapest", concurrency={"a": 1}))
    made.submit(board, made.job(1), turn(2, 10_000))
    for each in made.dispatched(board):
        answered(board, each, 1.0)
    made.submit(board, turn(3, 10_100), now=400.0)
    assert where(made.dispatched(board, 400.0)) == {"a/m": 1}


@pytest.mark.parametrize("strategy", LIVE)
def test_sessions_stay_together_and_spread_over_the_places(strategy: str) -> None:
    """Each of fifty keeps its place over ten turns, unless affinity is off."""
    free = {"facts": {name: {"prices": (CHEAP,)} for name in THREE}}
    for affinity in (True, False):
        board = made.board(three(strategy, {"affinity": affinity}, **free))
        places: dict[str, set[str]] = {}
        seq = 0
        for number in range(10):
            now = 10.0 * number
            for session in range(50):
                seq += 1
                made.submit(board, turn(seq, 5_000, f"s{session}"), now=now)
                for each in made.dispatched(board, now):
                    places.setdefault(f"s{session}", set()).add(each.deployment)
                    answered(board, each, now + 1.0, input=5_000, cache_read=5_000 if number else 0)
        if affinity:
            assert all(len(found) == 1 for found in places.values())
        elif strategy == "weighted":
            assert any(len(found) > 1 for found in places.values())


def test_a_session_leaves_a_place_that_fails_and_is_home_where_it_went() -> None:
    """Nobody waits for a cache."""
    board = made.board(three("weighted"))
    made.submit(board, turn(1, 5_000))
    (one,) = made.dispatched(board)
    answered(board, one, 1.0)
    made.submit(board, turn(2, 5_000), now=2.0)
    (two,) = made.dispatched(board, 2.0)
    assert two.deployment == one.deployment
    board.apply(made.ended(two, FailureKind.SERVER_ERROR), 3.0)
    (three_,) = made.dispatched(board, 10.0)
    assert three_.deployment != one.deployment
    answered(board, three_, 11.0)
    made.submit(board, turn(3, 5_000), now=12.0)
    assert made.dispatched(board, 12.0)[0].deployment == three_.deployment


# -------------------------------------------------------------------------------------------------------------- records


def test_a_decision_tells_what_counted_and_why_the_others_were_passed_over() -> None:
    """Of a place that is full, of one that cannot, of one that is dearer."""
    facts = {
        "a/m": {"prices": (CHEAP,)},
        "b/m": {"prices": (CHEAP,), "capabilities": frozenset({"reasoning"})},
        "c/m": {"prices": (DEAR,)},
    }
    board = made.board(three("cheapest", facts=facts, concurrency={"a": 1}))
    made.submit(board, made.job(1, needs=("tools",)), made.job(2, needs=("tools",)), made.job(3, needs=("tools",)))
    _, second, _ = made.dispatched(board)
    told = second.decision
    assert told is not None
    assert (told.strategy, told.deployment) == ("cheapest", "c/m")
    against = {each.deployment: each.against for each in told.weighed}
    assert against["a/m"].startswith("the concurrency limit of a is reached")
    assert against["b/m"] == "cannot do tools"
    assert against["c/m"] == ""
    assert {each.deployment: each.cost for each in told.weighed}["c/m"] == Decimal("0.0009")


def test_a_waiting_job_is_told_what_would_be_decided_whatever_its_strategy() -> None:
    """And to ask changes nothing; an attempt of a route that is ordered carries no record."""
    for strategy in ("ordered", *ALL):
        board = made.board(three(strategy))
        for pool in "abc":
            board.apply(PoolSeen(pool, 0), 0.0)
        made.submit(board, made.job(1))
        assert made.dispatched(board) == []
        told = board.choice("p", "j-1", 1.0)
        assert told is not None
        assert told.deployment is None
        assert all("no live workers" in each.against for each in told.weighed)
        for pool in "abc":
            board.apply(PoolSeen(pool, 9), 2.0)
        now = board.choice("p", "j-1", 2.0)
        (went,) = made.dispatched(board, 2.0)
        assert now is not None
        assert went.deployment == now.deployment
        assert (went.decision is None) == (strategy == "ordered")
        assert board.choice("p", "j-1", 3.0) == went.decision, "of an attempt under way, why it went there"


def test_to_ask_where_a_parked_job_would_go_makes_no_group_that_is_kept() -> None:
    """Groups take their turns in the order they came up: a question must not be one of them."""
    for strategy in ("ordered", *ALL):
        board = made.board(three(strategy))
        made.submit(board, made.job(1, not_before=50.0))
        made.dispatched(board)
        (route,) = board._world.routes.values()
        before = route.groups
        assert board.choice("p", "j-1", 1.0) is not None
        assert route.groups == before


# ----------------------------------------------------------------------------------------------------------- simulation


OUTAGE = (6 * 3_600.0, 9 * 3_600.0)
CHANGE = 18 * 3_600.0


@pytest.mark.parametrize("strategy", ALL)
def test_a_day_with_an_outage_and_new_prices_is_served_whole(strategy: str) -> None:
    """Every job is answered; the place that is down gets probes alone; who goes by money follows the new prices."""
    dearer = Price(input=Decimal(9), output=Decimal(9), since=date(2026, 3, 2))
    facts = {"a/m": {"prices": (CHEAP, dearer)}, "b/m": {"prices": (DEAR,)}, "c/m": {"prices": (DEAR,)}}
    rules = three(strategy, facts=facts, concurrency={"a": 50, "b": 50, "c": 50})
    # The day begins at six in the morning, so that midnight, when the new price holds, is in it.
    begin = datetime(2026, 3, 1, 6, tzinfo=UTC).timestamp()
    board = Board(rules, now=0.0, wall=begin)
    for pool in "abc":
        board.apply(PoolSeen(pool, made.PLENTY), 0.0)

    def behave(dispatch: Dispatch, chance: Random, now: float) -> Ends:
        if dispatch.deployment == "a/m" and OUTAGE[0] <= now < OUTAGE[1]:
            return Ends(0.2, FailureKind.SERVER_ERROR)
        return Ends(chance.uniform(0.5, 1.5) * (1.0 if dispatch.deployment == "a/m" else 2.0))

    trial = Trial(board, behave, seed=1)
    random = Random(2)
    trial.submit(*[made.job(seq, submitted=random.uniform(0, DAY)) for seq in range(1, 2_001)])
    trial.run()
    assert Counter(trial.results.values()) == {"succeeded": 2_000}
    down = [each for each in trial.commits if OUTAGE[0] + 300 <= each.at < OUTAGE[1]]
    assert sum(1 for each in down if each.dispatch.deployment == "a/m") <= (OUTAGE[1] - OUTAGE[0]) / 100
    if strategy == "cheapest":
        for commit in trial.commits:
            calm = commit.dispatch.attempt == 1 and not OUTAGE[0] <= commit.at < OUTAGE[1] + 200
            if calm:
                assert commit.dispatch.deployment == ("a/m" if commit.at < CHANGE else "b/m")


def test_a_settled_job_of_another_leader_teaches_where_its_session_is() -> None:
    """Whoever takes over knows it."""
    board = made.board(three("weighted"))
    made.submit(board, turn(1, 5_000))
    used = Usage(input=5_000, output=10)
    board.apply(Settled("p", "j-1", JobState.SUCCEEDED, 1, "c/m", used, 0.5), 1.0)
    made.submit(board, turn(2, 5_000), now=2.0)
    assert made.dispatched(board, 2.0)[0].deployment == "c/m"


@pytest.mark.parametrize("strategy", ["fastest", "blend"])
def test_a_timeout_says_how_slow_a_place_is_unless_nobody_knows_since_when(strategy: str) -> None:
    """An earlier leader's attempt teaches nothing, and harms nothing."""
    board, successor = made.board(three(strategy)), made.board(three(strategy))
    for each in (board, successor):
        made.submit(each, made.job(1))
    (went,) = made.dispatched(board)
    successor.apply(made.in_flight(went), 0.0)
    late = made.ended(went, FailureKind.FIRST_TOKEN_TIMEOUT)
    for each, seconds in ((board, pytest.approx(60.0, rel=0.25)), (successor, None)):
        each.apply(late, 60.0)
        made.submit(each, made.job(2), now=60.0)
        told = each.choice("p", "j-2", 60.0)
        assert told is not None
        assert next(one.seconds for one in told.weighed if one.deployment == went.deployment) == seconds
