"""What a call costs: figures computed by hand, and the price library's own."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
from pydantic import ValidationError

from catalogue.load import providers
from catalogue.prices import Price, Tier, cost_of, price_at
from job_contracts.chat import Usage

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def D(text: str) -> Decimal:  # noqa: N802  # short, for tables
    return Decimal(text)


SONNET = Price(
    input=D("3"),
    output=D("15"),
    cache_read=D("0.3"),
    cache_write=D("3.75"),
    cache_write_1h=D("6"),
    searches=D("10"),
    tiers=(Tier(above=200_000, input=D("6"), output=D("22.5"), cache_read=D("0.6")),),
)


@pytest.mark.parametrize(
    ("usage", "searches", "dollars"),
    [
        (Usage(input=1_000_000), 0, "6"),
        (Usage(input=100_000, output=1_000), 0, "0.315"),
        # 10,000 plain 0.03 + 50,000 read 0.015 + 30,000 for minutes 0.1125 + 10,000 for an hour 0.06 + 2,000 out 0.03
        (
            Usage(input=100_000, cache_read=50_000, cache_write=40_000, cache_write_1h=10_000, output=2_000),
            0,
            "0.2475",
        ),
        (Usage(input=200_000), 0, "0.6"),
        # The whole prompt goes by the dearer rate, and what that tier does not name by the cheaper tier's.
        (Usage(input=200_001), 0, "1.200006"),
        (Usage(input=300_000, cache_read=100_000, cache_write=100_000, output=1_000), 0, "1.0575"),
        (Usage(input=1_000, output=1_000, reasoning=900), 3, "0.048"),
        (Usage(), 0, "0"),
    ],
)
def test_costs_computed_by_hand(usage: Usage, searches: int, dollars: str) -> None:
    assert SONNET.cost(usage, searches=searches) == D(dollars)


def test_reasoning_with_a_rate_of_its_own_is_not_charged_twice() -> None:
    price = Price(input=D("2"), output=D("8"), reasoning=D("3"), requests=D("5"))
    # 1,000 in 0.002 + 100 written 0.0008 + 400 thought 0.0012 + one request of 5 a thousand
    assert price.cost(Usage(input=1_000, output=500, reasoning=400)) == D("0.009")


@pytest.mark.parametrize(
    ("price", "usage", "searches"),
    [
        (Price(), Usage(input=1), 0),
        (Price(), Usage(), 0),
        (Price(input=D("1")), Usage(input=1, output=1), 0),
        (Price(output=D("1")), Usage(input=1, output=1), 0),
        (Price(requests=D("5")), Usage(), 0),
        (Price(input=D("1"), output=D("1")), Usage(input=1), 1),
    ],
)
def test_what_has_no_price_is_unknown_and_never_free(price: Price, usage: Usage, searches: int) -> None:
    assert price.cost(usage, searches=searches) is None


def test_an_embedding_model_needs_no_price_of_output() -> None:
    assert Price(input=D("0.02")).cost(Usage(input=1_000_000)) == D("0.02")


def test_free_is_what_says_so() -> None:
    assert Price(input=D("0"), output=D("0")).cost(Usage(input=5, output=7)) == 0
    row = providers()["vllm"]
    assert cost_of(Usage(input=10, output=10), row.prices("whatever"), NOON) == 0


def test_figures_that_do_not_add_up_give_no_credit() -> None:
    price = Price(input=D("1"), output=D("1"), cache_read=D("0.5"))
    assert price.cost(Usage(input=10, cache_read=100)) == D("0.00005")


def test_prices_change_with_the_date_and_the_hour() -> None:
    usual = Price(input=D("1"))
    dearer = Price(input=D("2"), since=date(2026, 3, 13))
    night = Price(input=D("0.5"), hours=(time(22), time(6)))
    prices = (usual, dearer, night)
    moments = {
        datetime(2026, 3, 12, 12, tzinfo=UTC): usual,
        datetime(2026, 3, 13, 12, tzinfo=UTC): dearer,
        datetime(2026, 3, 13, 22, tzinfo=UTC): night,
        datetime(2026, 3, 13, 5, 59, 59, tzinfo=UTC): night,
        datetime(2026, 3, 13, 6, tzinfo=UTC): dearer,
        # One in the morning of the thirteenth, five hours ahead of UTC, is still the twelfth.
        datetime(2026, 3, 13, 1, tzinfo=timezone(timedelta(hours=5))): usual,
        datetime(2026, 3, 13, 12): dearer,  # noqa: DTZ001  # without a zone it is UTC
    }
    assert {moment: price_at(prices, moment) for moment in moments} == moments
    assert price_at((dearer,), datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert cost_of(Usage(input=5), (dearer,), datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert cost_of(Usage(input=5), (), NOON) is None


def test_tiers_may_stand_in_any_order() -> None:
    price = Price(input=D("1"), tiers=(Tier(above=200, input=D("3")), Tier(above=100, input=D("2"))))
    assert [price.rate("input", prompt) for prompt in (100, 101, 201)] == [1, 2, 3]


@pytest.mark.parametrize("value", ["-1", "NaN", "Infinity"])
def test_a_rate_is_a_number_of_dollars(value: str) -> None:
    with pytest.raises(ValidationError):
        Price(input=D(value))


def test_figures_are_exact() -> None:
    price = Price.model_validate({"input": 0.1, "output": 0.2})
    assert price.cost(Usage(input=3, output=3)) == D("0.0000009")
