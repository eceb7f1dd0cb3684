"""Strategies alone: pure functions over candidates."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogue.prices import Price, Tier, cost_of
from job_contracts.chat import Usage
from scheduler.policy.costs import Tariff
from scheduler.policy.live import Standing
from scheduler.policy.routes import STRATEGIES
from scheduler.policy.routes.strategy import Candidate
from scheduler.policy.rules import Blend, DeploymentRule, RouteRule
from scheduler.policy.speeds import HALF, STEP, Spread
from tests.unit.scheduler_policy.made import board, dispatched, job, rules, submit

RULE = DeploymentRule("a/m", "a", "a")
ROUTE = RouteRule("r", ("a/m",))
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def candidate(index: int = 0, **over: float | None) -> Candidate:
    """A place of which nothing is known."""
    return Candidate(index, RULE, **over)  # type: ignore[arg-type]


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    """A few places in any state."""
    maybe = st.none() | st.floats(0, 1e12)
    number = st.floats(0, 1e6)
    return [
        candidate(
            index,
            weight=draw(number),
            cost=draw(maybe),
            in_flight=draw(st.integers(0, 10_000)),
            load=draw(st.floats(0, 10)),
            first_token=draw(maybe),
            total=draw(maybe),
            known=draw(number),
            usual=draw(number),
            credit=draw(st.floats(-2, 2)),
            since=draw(st.integers(0, 10_000)),
        )
        for index in range(draw(st.integers(1, 8)))
    ]


@pytest.mark.parametrize("name", STRATEGIES)
@given(some=candidates(), mix=st.tuples(*[st.floats(0, 100)] * 3))
def test_an_order_drops_and_adds_nobody(name: str, some: list[Candidate], mix: tuple[float, float, float]) -> None:
    """Whatever is known and whatever counts, each candidate is in it once."""
    found = STRATEGIES[name].rank(some, RouteRule("r", (), blend=Blend(*mix)))
    assert sorted(each.index for each in found) == [each.index for each in some]


rates = st.decimals(0, 50, places=4).map(lambda rate: rate.normalize())
prices = st.builds(
    Price,
    input=rates,
    output=rates,
    cache_read=st.none() | rates,
    requests=st.none() | rates,
    tiers=st.lists(
        st.builds(Tier, above=st.integers(1, 200_000), input=st.none() | rates, output=st.none() | rates),
        max_size=2,
        unique_by=lambda tier: tier.above,
    ).map(tuple),
)


@given(price=prices, tokens=st.integers(0, 300_000), share=st.floats(0, 1), output=st.integers(0, 100_000))
def test_what_a_job_is_expected_to_cost_is_what_the_library_says(
    price: Price, tokens: int, share: float, output: int
) -> None:
    """By the same rates, to the last picodollar."""
    read = int(tokens * share)
    usage = Usage(input=tokens, cache_read=read, output=output)
    found = Tariff((price,)).expected(tokens, read, output, NOON.timestamp())
    exact = cost_of(usage, (price,), NOON)
    assert exact is not None
    assert found == exact * 10**12


@given(
    all_prices=st.lists(prices, min_size=1, max_size=6), tokens=st.integers(1, 300_000), output=st.integers(1, 9_999)
)
def test_the_cheapest_place_is_the_minimum_of_the_librarys_own_prices(
    all_prices: list[Price], tokens: int, output: int
) -> None:
    """Through the whole board, for a job of that length."""
    names = tuple(f"p{index}/m" for index in range(len(all_prices)))
    facts = {name: {"prices": (price,)} for name, price in zip(names, all_prices, strict=True)}
    running = board(rules({"r": names}, facts=facts, expected_output=output, route={"strategy": "cheapest"}))
    submit(running, job(1, input_estimate=tokens))
    (went,) = dispatched(running)
    costs = [cost_of(Usage(input=tokens, output=output), (price,), NOON) for price in all_prices]
    known = [cost for cost in costs if cost is not None]
    assert costs[names.index(went.deployment)] == min(known)


def test_what_has_no_price_comes_last_at_the_cheapest() -> None:
    """It may cost anything."""
    found = STRATEGIES["cheapest"].rank([candidate(0), candidate(1, cost=9.0), candidate(2, cost=3.0)], ROUTE)
    assert [each.index for each in found] == [2, 1, 0]


@given(weights=st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_turns_by_weight_are_exact_over_a_cycle_and_never_far_off(weights: list[int]) -> None:
    """After as many turns as the weights add up to, each has had its own number of them."""
    standing, counts, total = Standing(weights), [0] * len(weights), sum(weights)
    every = list(range(len(weights)))
    for turn in range(1, total + 1):
        places = [candidate(index, weight=weights[index], credit=standing.credit[index]) for index in every]
        chosen = STRATEGIES["weighted"].rank(places, ROUTE)[0].index
        standing.went(chosen, every)
        counts[chosen] += 1
        assert all(abs(counts[index] - turn * weights[index] / total) < len(weights) for index in every)
    assert counts == weights


def test_who_was_away_gets_no_burst_when_it_is_back() -> None:
    """Only those that could take a turn gain by another's."""
    standing = Standing([1.0, 1.0])
    for _ in range(1_000):
        standing.went(0, [0])
    order = []
    for _ in range(10):
        places = [candidate(index, credit=standing.credit[index]) for index in (0, 1)]
        order.append(STRATEGIES["weighted"].rank(places, ROUTE)[0].index)
        standing.went(order[-1], [0, 1])
    assert order.count(1) == 5


def test_the_fastest_is_by_its_first_token_too_and_unknown_places_are_tried_out() -> None:
    """A place that nobody has heard of gets two attempts at once, not all of them."""
    slow = candidate(0, total=2.0, first_token=1.5, known=50.0, usual=5.0)
    quick = candidate(1, total=2.0, first_token=0.2, known=50.0, usual=5.0)
    new, tried = candidate(2), candidate(2, in_flight=2)
    rank = STRATEGIES["fastest"].rank
    assert [each.index for each in rank([slow, quick, new], ROUTE)] == [2, 1, 0]
    assert [each.index for each in rank([slow, quick, tried], ROUTE)] == [1, 0, 2]


def test_a_blend_goes_by_what_the_operator_weighs() -> None:
    """The same places, other weights, another first."""
    dear = candidate(0, cost=4.0, total=1.0, known=50.0, load=0.1)
    slow = candidate(1, cost=1.0, total=4.0, known=50.0, load=0.1)
    for mix, first in ((Blend(1, 0, 0), 1), (Blend(0, 1, 0), 0), (Blend(1, 3, 0), 0), (Blend(3, 1, 0), 1)):
        assert STRATEGIES["blend"].rank([dear, slow], RouteRule("r", (), blend=mix))[0].index == first


@given(seen=st.lists(st.floats(0.02, 900), min_size=1, max_size=60))
def test_a_percentile_is_right_to_within_its_step(seen: list[float]) -> None:
    """Against the exact one."""
    spread = Spread()
    for seconds in seen:
        spread.see(seconds, 0.0)
    exact = sorted(seen)[math.ceil(0.9 * len(seen) - 1e-9) - 1]
    assert spread.most is not None
    assert exact / STEP <= spread.most <= exact * STEP


def test_what_was_measured_fades() -> None:
    """An hour later the new ones count."""
    spread = Spread()
    for _ in range(1_000):
        spread.see(30.0, 0.0)
    assert spread.known(HALF) == pytest.approx(500)
    for _ in range(10):
        spread.see(1.0, 12 * HALF)
    assert spread.most == pytest.approx(1.0, rel=0.25)


def test_no_price_at_all_is_no_cost() -> None:
    """Unknown is not free."""
    assert Tariff(()).expected(10, 0, 10, 0.0) is None
    assert Tariff((Price(input=Decimal(0), output=Decimal(0)),)).expected(10, 0, 10, 0.0) == 0
