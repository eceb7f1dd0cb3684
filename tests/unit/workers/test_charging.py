"""What an attempt cost: stated, reckoned, free or unknown; and what all attempts of a job cost together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from timeit import timeit

import pytest

from catalogue.prices import Price
from catalogue.pricing import PriceBook, version_of
from catalogue.rows import ModelRow, ProviderRow
from job_contracts.chat import Usage
from job_contracts.failures import Failure, FailureKind
from job_contracts.results import cost_of_all
from tests.support import builders
from tests.support.upstream import Do, Upstream, completion, error, response, upstream
from tests.support.worker import Bench, bench
from workers.charging import charge_of
from workers.records import FREE, UNKNOWN, Charge

PRICE = Price(input=Decimal(2), output=Decimal(10))
ROW = ProviderRow(
    name="alpha",
    dialect="openai_chat",
    base_url="http://127.0.0.1:1",
    models=(ModelRow(name="m*", prices=(PRICE,)), ModelRow(name="own", prices=(Price(input=0, output=0),))),  # type: ignore[arg-type]
)
BOOK = PriceBook(ROW)
USED = Usage(input=1_000, output=100)


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream([response(completion())]) as server:
        yield server


@pytest.fixture
async def worker(provider: Upstream) -> AsyncIterator[Bench]:
    async with bench(provider.url, catalogue={"alpha": ROW}) as made:
        yield made


def test_what_the_provider_states_comes_before_any_price() -> None:
    assert charge_of(BOOK, "m", USED, at=0.0, stated=Decimal("0.5")) == Charge(Decimal("0.5"), stated=True)
    assert charge_of(BOOK, "m", USED, at=0.0) == Charge(Decimal("0.003"), price=version_of(PRICE))


def test_nothing_used_in_vain_is_free_an_unknown_price_is_unknown_and_what_says_free_is_free() -> None:
    assert charge_of(BOOK, "nobody", Usage(), at=0.0, failed=True) == FREE
    assert charge_of(BOOK, "nobody", USED, at=0.0, failed=True) == UNKNOWN
    own = charge_of(BOOK, "own", USED, at=0.0)
    assert own.cost == 0
    assert own.price is not None


def test_a_price_is_looked_up_in_microseconds() -> None:
    BOOK.cost("m", USED, 0.0)
    assert timeit(lambda: BOOK.cost("m", USED, 0.0), number=2_000) / 2_000 < 200e-6  # some ten on an idle core


def test_attempts_cost_what_they_do_together_and_one_unknown_makes_all_unknown() -> None:
    failed = Failure(kind=FailureKind.RESET, message="x")
    paid = builders.record(1, failure=failed, usage=USED, cost=Decimal("0.003"))
    old = builders.record(2, failure=failed)
    assert cost_of_all(()) == 0
    assert cost_of_all((paid, old, builders.record(3, cost=Decimal(1)))) == Decimal("1.003")
    assert cost_of_all((paid, builders.record(2))) is None
    assert cost_of_all((paid, builders.record(2, failure=failed, usage=USED))) is None
    assert cost_of_all((builders.record(2, failure=failed, usage=Usage(reported=False)),)) is None


async def test_a_result_costs_what_its_attempts_did_and_its_fact_what_this_one_did(worker: Bench) -> None:
    failure = Failure(kind=FailureKind.STREAM_TRUNCATED, message="x")
    before = builders.record(1, failure=failure, usage=USED, cost=Decimal("0.25"))
    given = await worker.hand(worker.assignment(attempt=2, history=(before,)))
    result = await worker.result(given)
    mine = Decimal("0.00005")  # 10 in, 3 out
    assert result.cost == Decimal("0.25") + mine
    assert [record.cost for record in result.attempts] == [Decimal("0.25"), mine]
    fact = worker.facts()[given.attempt_id]
    assert (fact.cost, fact.stated, fact.price) == (mine, False, version_of(PRICE))


async def test_what_a_provider_states_is_in_fact_and_record(worker: Bench, provider: Upstream) -> None:
    answer = completion()
    answer["usage"]["cost"] = 0.125
    provider.play([response(answer)])
    given = await worker.hand(worker.assignment())
    assert (await worker.result(given)).cost == Decimal("0.125")
    fact = worker.facts()[given.attempt_id]
    assert (fact.cost, fact.stated, fact.price) == (Decimal("0.125"), True, None)


@pytest.mark.parametrize(
    ("script", "cost"),
    [
        pytest.param([error(500)], Decimal(0), id="refused"),
        pytest.param([Do.CLOSE], Decimal("0.000024"), id="nobody can tell: the prompt, as reserved"),
    ],
)
async def test_a_failed_attempt_costs_what_it_used(
    worker: Bench, provider: Upstream, script: list[bytes | Do], cost: Decimal
) -> None:
    provider.play(script)
    given = await worker.hand(worker.assignment())
    outcome = await worker.outcome(given)
    assert outcome.record.cost == worker.facts()[given.attempt_id].cost == cost


async def test_an_attempt_that_never_called_has_no_fact_and_cost_nothing(worker: Bench) -> None:
    given = await worker.hand(worker.assignment(grant={"granted": 1.0, "valid_for": 1.0}))
    outcome = await worker.outcome(given)
    assert not outcome.called
    assert outcome.record.cost == 0
    assert worker.facts() == {}
