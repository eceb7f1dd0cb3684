"""What the simulated providers bill."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.meter import Meter, Outcome, Usage, key_id, tariff_of
from simulator.settings import Price

PRICE = Price(input=Decimal("0.15"), cached_read=Decimal("0.0125"), cache_write=Decimal("0.30"), output=Decimal("0.6"))
ROW = ("openai", "k", "gpt-4o")

counts = st.integers(0, 10_000)
usages = st.builds(Usage, counts, counts, counts, counts, counts)


def dollars(usage: Usage) -> Decimal:
    million = Decimal(1_000_000)
    return (
        usage.input * PRICE.input
        + usage.cached_read * PRICE.cached_read
        + usage.cache_write * PRICE.cache_write
        + (usage.output + usage.reasoning) * PRICE.output
    ) / million


@given(st.lists(usages, max_size=30))
def test_the_total_is_the_exact_sum_of_what_was_billed(billed: list[Usage]) -> None:
    meter = Meter()
    for index, usage in enumerate(billed):
        meter.record(("openai", str(index % 3), "gpt-4o"), "ok", usage, tariff_of(PRICE))
    total = meter.total()
    assert total.cost_usd == sum(map(dollars, billed), Decimal(0))
    assert total.requests == total.ok == len(billed)
    assert total.input == sum(usage.input for usage in billed)
    assert sum(one.cost for _, one in meter.rows()) == total.cost


@given(usages, st.integers(0, 30_000))
def test_what_was_produced_of_an_answer_is_never_more_than_the_answer(usage: Usage, tokens: int) -> None:
    produced = usage.produced(tokens)
    assert produced.all_output == min(tokens, usage.all_output)
    assert produced.all_input == usage.all_input
    assert produced.reasoning == min(tokens, usage.reasoning)


@pytest.mark.parametrize("outcome", ["ok", "rate_limited", "refused", "failed", "broken", "aborted"])
def test_every_outcome_has_a_count_of_its_own(outcome: Outcome) -> None:
    meter = Meter()
    meter.record(ROW, outcome)
    total = meter.total()
    assert getattr(total, outcome) == total.requests == 1
    assert total.cost == 0


def test_a_reset_meter_is_empty() -> None:
    meter = Meter()
    meter.record(ROW, "ok", Usage(1), tariff_of(PRICE))
    meter.reset()
    assert (list(meter.rows()), meter.total().requests) == ([], 0)


def test_a_keys_id_does_not_tell_the_key() -> None:
    assert key_id("sk-secret") == key_id("sk-secret") != key_id("sk-other")
    assert "secret" not in key_id("sk-secret")
