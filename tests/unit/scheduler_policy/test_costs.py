"""The worst case is a bound: no usage within its limits costs more, at any price that holds about then."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from catalogue.prices import Price, Tier, cost_of
from job_contracts.chat import Usage
from job_contracts.money import picodollars
from scheduler.policy.costs import Tariff, input_bound, output_bound, usd
from scheduler.policy.rules import DeploymentRule

RATE = st.decimals(0, 100, places=4)
PERHAPS = st.none() | RATE
TIERS = st.builds(Tier, above=st.integers(1, 5_000), input=PERHAPS, output=PERHAPS, cache_write=PERHAPS)
HOURS = st.none() | st.tuples(st.sampled_from([time(0), time(9, 30), time(16)]), st.sampled_from([time(8), time(23)]))
PRICES = st.builds(
    Price,
    input=RATE,
    output=RATE,
    cache_read=PERHAPS,
    cache_write=PERHAPS,
    cache_write_1h=PERHAPS,
    reasoning=PERHAPS,
    requests=PERHAPS,
    hours=HOURS,
    tiers=st.lists(TIERS, max_size=2).map(tuple),
)
NOW = 1_700_000_000.0


@given(
    prices=st.lists(PRICES, min_size=1, max_size=3).map(tuple),
    most=st.tuples(st.integers(1, 10_000), st.integers(1, 10_000)),
    shares=st.tuples(*[st.floats(0, 1)] * 5),
    wall=st.floats(NOW, NOW + 86_400),
    late=st.floats(-1_800, 3_600),
)
def test_no_usage_within_the_bounds_costs_more_than_the_worst_case(
    prices: tuple[Price, ...],
    most: tuple[int, int],
    shares: tuple[float, float, float, float, float],
    wall: float,
    late: float,
) -> None:
    tokens_in, tokens_out = int(most[0] * shares[0]), int(most[1] * shares[1])
    read = int(tokens_in * shares[2])
    written = int((tokens_in - read) * shares[3])
    usage = Usage(
        input=tokens_in,
        output=tokens_out,
        cache_read=read,
        cache_write=written,
        cache_write_1h=int(written * shares[4]),
        reasoning=int(tokens_out * shares[4]),
    )
    worst = Tariff(prices).worst(*most, wall)
    cost = cost_of(usage, prices, datetime.fromtimestamp(wall + late, UTC))
    if worst is not None and cost is not None:
        assert picodollars(cost) <= worst
    likely = Tariff(prices).likely(*most, wall)
    assert worst is None or likely is None or likely <= worst


def test_what_is_not_known_makes_the_worst_case_unknown() -> None:
    assert Tariff(()).worst(1, 1, NOW) is None
    assert Tariff((Price(input=Decimal(1)),)).worst(10, 10, NOW) is None
    assert Tariff((Price(input=Decimal(1)),)).worst(10, 0, NOW) == 10_000_000
    assert Tariff((Price(input=Decimal(1), output=Decimal(1)),)).worst(None, 1, NOW) is None
    later = Price(input=Decimal(1), output=Decimal(1), since=datetime(2030, 1, 1, tzinfo=UTC).date())
    assert Tariff((later,)).worst(1, 1, NOW) is None


def test_bounds_of_lengths_are_the_least_that_is_known() -> None:
    known = DeploymentRule("a/m", "a", "a", window=1_000, max_output=200)
    unknown = DeploymentRule("a/m", "a", "a")
    assert [input_bound(known, (), 50, size) for size in (0, 300, 3_000)] == [1_000, 300, 1_000]
    assert input_bound(known, ("images",), 100, 300) == 600
    assert input_bound(known, ("embeddings",), 50, 3_000) == 3_000
    assert input_bound(unknown, (), 50, 0) is None
    assert [output_bound(known, (), most) for most in (None, 50, 500)] == [200, 50, 200]
    assert output_bound(unknown, (), None) is None
    assert output_bound(known, ("embeddings",), None) == 0


def test_amounts_are_written_exactly() -> None:
    assert [usd(0), usd(10**12), usd(15 * 10**9), usd(1)] == ["$0", "$1", "$0.015", "$0.000000000001"]
