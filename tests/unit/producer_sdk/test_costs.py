"""What jobs cost, told beforehand, bounded, and for which key: on the producer's side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from job_contracts.desk import MAX_ASKED, Estimate, Planned
from job_contracts.failures import FailureKind
from job_contracts.jobs import Bounds
from job_contracts.money import Budget
from producer_sdk import BudgetExceeded, InvalidRequest, JobFailed, Producer, Progress
from producer_sdk.batch import Item
from producer_sdk.options import Behalf
from producer_sdk.purse import AMPLE
from producer_sdk.testing import FakeGateway, fails, says
from tests.support.eventually import eventually

CENT = Decimal("0.01")
BOUNDS = Bounds(concurrency=2, budget=Budget(day=Decimal(5)))


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with FakeGateway() as fake:
        yield fake


@pytest.fixture
async def producer(gateway: FakeGateway) -> Producer:
    return gateway.producer(timeout=10)


def asking(*texts: str) -> list[dict[str, Any]]:
    return [{"model": "fast", "messages": text} for text in texts]


async def all_of(items: AsyncIterator[Item]) -> list[Item]:
    return [item async for item in items]


def worst(amount: str | None, expected: str | None = None) -> Estimate:
    return Estimate(
        deployment="fake/fake-1",
        expected=Decimal(expected) if expected else None,
        worst=Decimal(amount) if amount else None,
    )


# -- estimates


async def test_an_estimate_asks_the_desk_and_submits_nothing(gateway: FakeGateway, producer: Producer) -> None:
    asked: list[Planned] = []

    def price(planned: Planned) -> Estimate:
        asked.append(planned)
        return worst("0.02", "0.01")

    gateway.prices(price)
    told = await producer.estimate(model="fast", messages="Hello there", max_tokens=50, lane="batch")
    assert (told.expected, told.worst) == (CENT, 2 * CENT)
    assert (await producer.estimate(model="fast", inputs=["some text"])).worst == 2 * CENT
    assert [(one.route, one.max_output, one.needs) for one in asked] == [
        ("fast", 50, ()),
        ("fast", 1, ("embeddings",)),
    ]
    assert all(one.size > one.input_estimate > 0 for one in asked)
    assert gateway.jobs == []


async def test_questions_of_the_same_moment_travel_together(gateway: FakeGateway, producer: Producer) -> None:
    await producer.estimate(model="fast", messages="x")
    before = gateway.questions.count("estimate")
    gateway.prices(lambda planned: worst(f"0.{planned.max_output}"))
    told = await asyncio.gather(
        *(producer.estimate(model="fast", messages="x", max_tokens=number + 1) for number in range(MAX_ASKED + 1))
    )
    assert [one.worst for one in told] == [Decimal(f"0.{number + 1}") for number in range(MAX_ASKED + 1)]
    assert gateway.questions.count("estimate") == before + 2


async def test_an_estimate_says_why_a_job_would_be_refused(gateway: FakeGateway) -> None:
    gateway.stage().routes = ("fast",)
    told = await gateway.producer().estimate(model="slow", messages="x")
    assert told.refused is not None
    assert told.refused.kind is FailureKind.UNKNOWN_ROUTE


async def test_an_estimate_is_of_messages_or_of_inputs(producer: Producer) -> None:
    for wrong in ({}, {"messages": "x", "inputs": ["x"]}):
        with pytest.raises(InvalidRequest) as caught:
            await producer.estimate(model="fast", **wrong)  # type: ignore[arg-type]
        assert caught.value.field == "messages"


def test_the_blocking_producer_estimates_as_well() -> None:
    with FakeGateway() as gateway:
        gateway.prices(worst("0.5"))
        with gateway.sync_producer() as producer:
            assert producer.estimate(model="fast", messages="x").worst == Decimal("0.5")


# -- receipts


async def test_a_receipt_tells_what_the_job_may_cost(gateway: FakeGateway, producer: Producer) -> None:
    gateway.prices(worst("0.02", "0.01"))
    gateway.hold()
    job = await producer.submit(model="fast", messages="x")
    assert "status" not in gateway.questions  # nobody asks for a receipt that nobody wants
    receipt = await job.receipt()
    assert (receipt.position, receipt.estimated_cost, receipt.worst_cost) == (0, CENT, 2 * CENT)


async def test_a_stream_that_waits_is_told_what_it_may_cost(gateway: FakeGateway, producer: Producer) -> None:
    gateway.prices(worst("0.02", "0.01"))
    gateway.hold()
    async with producer.stream(model="fast", messages="x") as events:
        await anext(events)
        forecast = await anext(events)
    assert forecast.type == "queued"
    assert (forecast.position, forecast.estimated_cost, forecast.worst_cost) == (0, CENT, 2 * CENT)


# -- budgets


async def test_a_job_that_could_not_be_paid_for_any_further_tells_what_it_has_cost(
    gateway: FakeGateway, producer: Producer
) -> None:
    gateway.script(fails("budget", cost=CENT))
    with pytest.raises(JobFailed) as caught:
        await producer.complete(model="fast", messages="x")
    assert (caught.value.kind, caught.value.result.cost) == (FailureKind.BUDGET, CENT)


# -- what the ticket tells


async def test_a_ticket_tells_the_tags_that_a_budget_can_be_of(gateway: FakeGateway, producer: Producer) -> None:
    await producer.complete(model="fast", messages="x", tags={"team": "search", "essay": "x" * 500})
    await producer.embed(model="fast", inputs=["x"], tags={"team": "search"})
    await all_of(producer.map([{"model": "fast", "messages": "x", "tags": {"team": "search"}}]))
    await producer.complete(model="fast", messages="x")
    assert [one.ticket.tags for one in gateway.jobs] == [{"team": "search"}] * 3 + [{}]
    assert gateway.jobs[0].job.tags["essay"] == "x" * 500


async def test_whatever_is_asked_for_a_key_says_which_and_what_bounds_it(
    gateway: FakeGateway, producer: Producer
) -> None:
    behalf = Behalf("0123456789ab", BOUNDS)
    assert (await producer.complete(model="fast", messages="a", behalf=behalf)).text == "a"
    assert (await producer.stream(model="fast", messages="b", behalf=behalf).text()) == "b"
    await (await producer.submit(model="fast", messages="c", behalf=behalf)).result()
    await producer.embed(model="fast", inputs=["d", "e"], batch_size=1, behalf=behalf)
    assert [(one.ticket.key, one.ticket.bounds) for one in gateway.jobs] == [("0123456789ab", BOUNDS)] * 5


async def test_a_key_changes_nothing_of_which_job_an_idempotency_key_names(
    gateway: FakeGateway, producer: Producer
) -> None:
    first = await producer.complete(model="fast", messages="a", idempotency_key="once")
    behalf = Behalf("0123456789ab", BOUNDS)
    again = await producer.complete(model="fast", messages="a", idempotency_key="once", behalf=behalf)
    assert first.job == again.job
    assert len(gateway.jobs) == 1


# -- what a run may cost


async def test_a_run_stops_before_what_is_under_way_could_cost_too_much(
    gateway: FakeGateway, producer: Producer
) -> None:
    gateway.prices(worst("0.04"))
    gateway.hold()
    gateway.always(says("x", cost=Decimal("0.04")))
    run = asyncio.ensure_future(all_of(producer.map(asking(*"abcdefgh"), concurrency=8, max_cost="0.10")))
    await eventually(lambda: len(gateway.jobs) == 2)
    gateway.release()
    items = await run
    assert len(gateway.jobs) == 2
    assert sum(item.ok for item in items) == 2
    assert [item.left_out for item in items].count(True) == 6
    assert all(isinstance(item.error, BudgetExceeded) and item.error.field == "max_cost" for item in items[2:])


async def test_what_is_set_aside_and_not_spent_is_there_for_the_next(gateway: FakeGateway, producer: Producer) -> None:
    gateway.prices(worst("0.05"))
    gateway.always(says("x", cost=CENT))
    told: list[Progress] = []
    items = await all_of(producer.map(asking(*"abcdefgh"), concurrency=4, max_cost="0.10", progress=told.append))
    assert sum(item.ok for item in items) == 6  # after the sixth 0.04 are left, and the next may cost 0.05
    assert (told[-1].cost, told[-1].left_out) == (6 * CENT, 2)


async def test_failures_cost_what_they_cost_and_what_is_unknown_counts_as_the_worst(
    gateway: FakeGateway, producer: Producer
) -> None:
    gateway.prices(worst("0.04"))
    gateway.script(fails("bad_request", cost=Decimal("0.04")), says("x"))
    items = await all_of(producer.map(asking(*"abc"), concurrency=1, max_cost="0.10"))
    assert [(item.ok, item.left_out) for item in items] == [(False, False), (True, False), (False, True)]
    assert isinstance(items[0].error, JobFailed)


async def test_without_a_price_nothing_is_submitted_that_must_stay_within_an_amount(
    gateway: FakeGateway, producer: Producer
) -> None:
    gateway.prices(lambda planned: worst(None if planned.max_output == 1 else "0.01"))
    requests = [{**one, "max_tokens": number} for number, one in enumerate(asking("a", "b"), 1)]
    items = await all_of(producer.map(requests, concurrency=1, max_cost=1))
    assert [(item.ok, item.left_out) for item in items] == [(False, True), (True, False)]


async def test_what_was_left_out_is_taken_up_by_the_next_run(
    gateway: FakeGateway, producer: Producer, tmp_path: Path
) -> None:
    gateway.prices(worst("0.5"))
    gateway.always(says("x", cost=Decimal("0.5")))
    file = tmp_path / "run.sqlite"

    def runs() -> Iterator[tuple[int, int, int]]:
        yield 2, 0, 2
        yield 4, 2, 0

    for ok, resumed, left_out in runs():
        items = await all_of(producer.map(asking(*"abcd"), concurrency=1, checkpoint=file, max_cost=1))
        assert sum(item.ok for item in items) == ok
        assert sum(item.resumed for item in items) == resumed
        assert sum(item.left_out for item in items) == left_out
    assert len(gateway.jobs) == 4


async def test_a_job_without_an_attempt_that_a_budget_refused_is_another_one_in_the_next_run(
    gateway: FakeGateway, producer: Producer, tmp_path: Path
) -> None:
    file = tmp_path / "run.sqlite"
    gateway.hold()
    run = asyncio.ensure_future(all_of(producer.map(asking("a"), checkpoint=file)))
    await eventually(lambda: len(gateway.jobs) == 1)
    gateway.stage().refuse(gateway.jobs[0], FailureKind.BUDGET, "there are 0 US dollars left")
    (first,) = await run
    assert isinstance(first.error, BudgetExceeded)
    assert not first.left_out
    gateway.release()
    assert (await all_of(producer.map(asking("a"), checkpoint=file)))[0].ok


async def test_a_job_of_a_run_may_cost_what_is_set_aside_for_it_and_no_more_than_it_says_itself(
    gateway: FakeGateway, producer: Producer
) -> None:
    gateway.prices(worst("0.04"))
    gateway.always(says("x", cost=CENT))
    requests = [*asking("a"), {"model": "fast", "messages": "b", "max_cost": "0.03"}]
    await all_of(producer.map(requests, concurrency=1, max_cost="0.10"))
    assert [one.ticket.max_cost for one in gateway.jobs] == [5 * CENT, 3 * CENT]  # half of what is left, for the first


async def test_while_there_is_plenty_a_job_may_cost_several_attempts(gateway: FakeGateway, producer: Producer) -> None:
    gateway.prices(worst("0.01"))
    await all_of(producer.map(asking("a"), concurrency=4, max_cost=100))
    assert [one.ticket.max_cost for one in gateway.jobs] == [AMPLE * CENT]


async def test_what_an_earlier_run_began_is_taken_up_whatever_was_set_aside_then(
    gateway: FakeGateway, producer: Producer, tmp_path: Path
) -> None:
    file = tmp_path / "run.sqlite"
    gateway.prices(worst("0.01"))
    for most in (None, 1, 5):
        gateway.hold()
        run = asyncio.ensure_future(all_of(producer.map(asking("a"), checkpoint=file, max_cost=most)))
        await eventually(lambda: len(gateway.jobs) == 1)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
    run = asyncio.ensure_future(all_of(producer.map(asking("a"), checkpoint=file, max_cost=2)))
    gateway.release()
    (item,) = await run
    assert item.unwrap().text == "a"
    assert len(gateway.jobs) == 1


async def test_the_callers_own_key_names_the_same_job_whatever_is_left(
    gateway: FakeGateway, producer: Producer
) -> None:
    gateway.prices(worst("0.01"))
    for most in (1, 5):
        (item,) = await all_of(producer.map([{**asking("a")[0], "idempotency_key": "k"}], max_cost=most))
        assert item.ok
    assert len(gateway.jobs) == 1
