"""What the same traffic would have cost elsewhere, and what is told of where that is not exact."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from catalogue.prices import Price, Tier
from job_contracts.chat import Usage
from job_contracts.spend import Sums
from ledger.comparison import Other, compared, repriced

AT = datetime(2026, 11, 25, tzinfo=UTC).timestamp()
SEEN = Sums(attempts=2, input=3_000_000, cache_read=1_000_000, output=1_000_000, reasoning=500_000, cost=Decimal(9))


def test_each_kind_of_token_has_its_rate() -> None:
    price = Price(
        input=Decimal(1), cache_read=Decimal("0.1"), output=Decimal(4), reasoning=Decimal(8), requests=Decimal(1)
    )
    (row,) = compared([SEEN], [Other("a/b", (price,))], AT)
    assert row.cost == Decimal("2.0") + Decimal("0.1") + Decimal("2.0") + Decimal("4.0") + Decimal("0.002")
    assert row.difference == row.cost - 9
    assert row.notes == ()


def test_the_cheapest_comes_first_and_the_unknown_last() -> None:
    others = [Other("x/none"), Other("b/dear", (Price(input=Decimal(9), output=Decimal(9)),))]
    others.append(Other("a/cheap", (Price(input=Decimal(1), output=Decimal(1)),)))
    rows = compared([SEEN], [*others, Other("y/half", (Price(output=Decimal(1)),))], AT)
    assert [row.deployment for row in rows] == ["a/cheap", "b/dear", "x/none", "y/half"]
    assert [row.cost is None for row in rows] == [False, False, True, True]
    assert "not known" in rows[2].notes[0]
    assert "not known" in rows[3].notes[0]


def test_what_is_approximated_is_said() -> None:
    tiers = (Tier(above=200_000, input=Decimal(2), output=Decimal(2)),)
    plain = Price(input=Decimal(1), output=Decimal(1), tiers=tiers)
    night = Price(input=Decimal(0), output=Decimal(0), hours=(time(1), time(5)))
    (row,) = compared([SEEN], [Other("a/b", (plain, night), window=1_000)], AT)
    assert row.cost == 8  # the average prompt has 1.5 million tokens
    words = "\n".join(row.notes)
    assert all(one in words for one in ("cached tokens", "200000", "hours of the day", "do not fit into its window"))


def test_prices_are_those_of_the_moment() -> None:
    prices = (
        Price(input=Decimal(1), output=Decimal(1)),
        Price(since=date(2027, 1, 1), input=Decimal(5), output=Decimal(5)),
    )
    (before,) = compared([SEEN], [Other("a/b", prices)], AT)
    (behind,) = compared([SEEN], [Other("a/b", prices)], datetime(2027, 1, 1, tzinfo=UTC).timestamp())
    assert (before.cost, behind.cost) == (Decimal(4), Decimal(20))


counts = st.integers(0, 10**7)


@given(fresh=counts, read=counts, written=counts, said=counts, thought=counts, above=st.integers(1, 10**6))
def test_one_attempt_costs_what_its_price_says(
    *, fresh: int, read: int, written: int, said: int, thought: int, above: int
) -> None:
    usage = Usage(
        input=fresh + read + written, cache_read=read, cache_write=written, output=said + thought, reasoning=thought
    )
    price = Price(
        input=Decimal("0.15"),
        output=Decimal("0.6"),
        cache_read=Decimal("0.075"),
        tiers=(Tier(above=above, input=Decimal("0.3"), output=Decimal("1.2")),),
    )
    kept = usage.model_dump(exclude={"cache_write_1h", "reported"})
    assert repriced(Sums(attempts=1, **kept), price) == price.cost(usage)
