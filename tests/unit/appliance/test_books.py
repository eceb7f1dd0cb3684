"""The tour's books: what counts, what is only estimated, and what does not agree."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from appliance.demo.books import Account, balanced, billed
from appliance.demo.staging import OVER, PRICES, SIMULATED
from catalogue.load import providers
from catalogue.prices import cost_of
from job_contracts.chat import Usage
from job_contracts.facts import AttemptFact
from simulator.settings import Price

NOW = datetime(2026, 11, 1, tzinfo=UTC)
RIGHT = Usage(input=10, output=20, reported=True)


def fact(attempt: str, usage: Usage = RIGHT, cost: str | None = "0.5", **over: Any) -> AttemptFact:
    told = {
        "attempt": attempt,
        "project": "demo",
        "route": "fast",
        "deployment": "alpha/m",
        "provider": "alpha",
        "model": "m",
        "started": 1.0,
        "seconds": 1.0,
        "usage": usage,
        "cost": None if cost is None else Decimal(cost),
        "reason": "user",
        "won": True,
    }
    return AttemptFact.model_validate({**told, **over})


def bill(attempt: str, cost: str = "0.50") -> dict[str, Any]:
    return {"request_id": attempt, "input_tokens": 10, "output_tokens": 20, "cost_usd": cost}


ONE = Account(1, 10, 20, Decimal("0.5"))


def test_what_was_reported_and_billed_alike_agrees_whatever_a_fact_was_told_twice() -> None:
    leaders = fact("demo.a.1", Usage(input=99, output=99, reported=False), told_by="leader", won=False)
    found = balanced([leaders, fact("demo.a.1"), fact("demo.a.1")], billed([bill("demo.a.1")]))
    assert found.facts == found.reported == found.metered == ONE
    assert (found.guesses, found.differing, found.unpriced) == ((), (), 0)


def test_an_estimate_is_listed_beside_what_was_billed() -> None:
    cut = fact("demo.a.1", Usage(input=10, output=3, reported=False), "0.1", failure="worker_lost")
    found = balanced([cut], billed([bill("demo.a.1")]))
    (guess,) = found.guesses
    assert (guess.why, guess.told.output, guess.billed) == ("worker_lost", 3, ONE)
    assert found.reported == found.metered == Account()


def test_a_difference_and_a_bill_that_no_fact_tells_of_are_named() -> None:
    found = balanced([fact("demo.a.1")], billed([bill("demo.a.1", "0.6"), bill("demo.b.1")]))
    assert found.differing == ("demo.a.1", "demo.b.1")


def test_a_call_that_was_refused_costs_nothing_on_either_side() -> None:
    refused = fact("demo.a.1", Usage(reported=True), "0")
    assert not balanced([refused], {}).differing
    assert not balanced([], {"demo.b.1": Account(1)}).differing


def test_a_fact_without_a_cost_is_counted() -> None:
    assert balanced([fact("demo.a.1", cost=None)], {}).unpriced == 1


def test_simulated_providers_charge_what_the_catalogue_says() -> None:
    usage = Usage(input=1_000, cache_read=300, cache_write=0, output=100)
    rows = providers()
    for provider, models in PRICES.items():
        for model in models:
            price = Price.model_validate(SIMULATED[provider]["models"][model]["price"])
            theirs = (price.input * 700 + price.cached_read * 300 + price.output * 100) / 1_000_000
            assert cost_of(usage, rows[provider].prices(model), at=NOW) == theirs, model


def test_every_model_of_the_tour_has_its_price() -> None:
    named = {deployment for route in OVER["routes"].values() for deployment in route["deployments"]}
    priced = {f"{provider}/{model}" for provider, models in PRICES.items() for model in models}
    assert {deployment.partition("+")[0] for deployment in named} == priced
