"""Prices against the price library's own answers, over random usages and moments; and the versions of prices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache

from genai_prices.data import providers as theirs
from genai_prices.types import ModelInfo
from genai_prices.types import Provider as TheirProvider
from genai_prices.types import Usage as TheirUsage
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue.library import Library
from catalogue.load import providers
from catalogue.prices import Price, Tier, cost_of
from catalogue.pricing import PriceBook, Priced, prices_of, version_of
from catalogue.rows import ModelRow, ProviderRow
from job_contracts.chat import Usage


@cache
def models() -> tuple[tuple[TheirProvider, ModelInfo, tuple[Price, ...]], ...]:
    """Every model of the library whose price we know, with our form of it."""
    found = []
    for provider in theirs:
        book = Library((provider.id,), {})
        found += [(provider, model, prices) for model in provider.models if (prices := book.prices(model.id))]
    return tuple(found)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Figures that add up, near thresholds of tiers too."""
    most = draw(st.sampled_from([50, 5_000, 32_769, 128_001, 200_000, 200_001, 272_001, 1_000_000]))
    prompt = draw(st.integers(0, most) | st.just(most))
    read = draw(st.integers(0, prompt))
    wrote = draw(st.integers(0, prompt - read))
    output = draw(st.integers(0, 100_000))
    return Usage(
        input=prompt,
        output=output,
        cache_read=read,
        cache_write=wrote,
        cache_write_1h=draw(st.integers(0, wrote)),
        reasoning=draw(st.integers(0, output)),
    )


moments = st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - as wanted


@settings(max_examples=25, deadline=None)
@given(usage=usages(), at=moments)
def test_any_usage_at_any_moment_costs_what_the_library_says_for_every_model(usage: Usage, at: datetime) -> None:
    said = TheirUsage(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_reasoning_tokens=usage.reasoning,
    )
    compared, wrong = 0, []
    for provider, model, prices in models():
        ours = cost_of(usage, prices, at)
        if ours is None:
            continue  # a rate is missing: theirs counts it as nothing
        their = model.calc_price(said, provider, genai_request_timestamp=at).total_price
        compared += 1
        if their != ours:
            wrong.append(f"{provider.id}/{model.id}: {their} is not {ours}")
    assert not wrong, "\n".join(wrong[:20])
    assert compared > 1_000


def test_the_same_rates_have_the_same_version_and_others_another() -> None:
    price = Price(input=Decimal(3), output=Decimal(15), tiers=(Tier(above=200_000, input=Decimal(6)),))
    same = Price.model_validate({"input": "3.00", "output": "15.0", "tiers": [{"above": 200_000, "input": "6.000"}]})
    assert version_of(price) == version_of(same)
    assert version_of(price).startswith("-/")
    others = (
        price.model_copy(update={"input": Decimal("3.01")}),
        price.model_copy(update={"tiers": ()}),
        price.model_copy(update={"since": datetime(2026, 3, 1, tzinfo=UTC).date()}),
        price.model_copy(update={"requests": Decimal(1)}),
        Price(output=Decimal(3), input=Decimal(15), tiers=price.tiers),
    )
    assert len({version_of(one) for one in (price, *others)}) == 6
    assert version_of(others[2]).startswith("2026-03-01/")
    assert all(len(version_of(one)) <= 32 for _, _, prices in models() for one in prices)


def test_a_book_gives_the_price_of_the_moment_and_its_version() -> None:
    march = datetime(2026, 3, 13, tzinfo=UTC)
    old, new = Price(input=Decimal(1)), Price(input=Decimal(2), since=march.date())
    row = ProviderRow(
        name="p", dialect="openai_chat", base_url="http://x", models=(ModelRow(name="m", prices=(old, new)),)
    )
    book, usage = PriceBook(row), Usage(input=1_000_000)
    before, after = (march - timedelta(seconds=1)).timestamp(), march.timestamp()
    assert [book.cost("m", usage, at) for at in (before, after, before)] == [
        Priced(Decimal(1), version_of(old)),
        Priced(Decimal(2), version_of(new)),
        Priced(Decimal(1), version_of(old)),
    ]
    assert book.cost("unknown", usage, after) == (None, None)
    assert book.cost("m", Usage(output=1), after) == (None, None), "a rate that is missing"


def test_a_deployments_prices_are_its_rows_and_the_librarys() -> None:
    row = providers()["anthropic"]
    assert row.model("claude-sonnet-4-5").prices == ()
    assert prices_of(row, "claude-sonnet-4-5") == row.prices("claude-sonnet-4-5") != ()
