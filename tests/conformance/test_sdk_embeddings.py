"""Embeddings as a program sees them, the same over NATS and with the gateway in memory."""

# ruff: noqa: F811 - fixtures are imported by name and asked for by the same

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from job_contracts.chat import Usage
from job_contracts.embeddings import MOST_INPUTS, packed
from job_contracts.failures import FailureKind
from job_contracts.jobs import Job
from producer_sdk import (
    Forbidden,
    IdempotencyConflict,
    InvalidRequest,
    JobCancelled,
    JobExpired,
    JobFailed,
    PenstockError,
    Producer,
    QueueFull,
    Timeout,
    UnknownRoute,
)
from producer_sdk.testing import Reply, embeds, fails, silence
from producer_sdk.testing.script import vector_of
from tests.support.eventually import eventually
from tests.support.houses import House
from tests.support.sdk import house, producer, sdk_broker  # noqa: F401  # fixtures

TEXTS = [f"text {number}" for number in range(10)]


def expected(texts: list[str], length: int = 8) -> list[tuple[float, ...]]:
    return [vector_of(text, length) for text in texts]


# -- one job


async def test_vectors_come_in_the_order_of_the_texts_with_their_story(house: House, producer: Producer) -> None:
    usage = Usage(input=7)
    house.stage.script.append(embeds((0.5, 1.0), (0.25, -1.0), usage=usage, cost=Decimal("0.0002")))
    found = await producer.embed(model="fast", inputs=["a", "b"], dimensions=2, purpose="query", tags={"team": "a"})
    assert found.vectors == [(0.5, 1.0), (0.25, -1.0)]
    assert found.data == (packed((0.5, 1.0)), packed((0.25, -1.0)))
    assert (found.usage, found.cost, found.model, found.dimensions) == (usage, Decimal("0.0002"), "fake-1", 2)
    assert len(found) == 2
    (received,) = house.stage.received
    assert found.jobs == (received.job.id,)
    job = received.job
    assert (job.kind, job.conversation, job.tags) == ("embedding", None, {"team": "a"})
    assert job.embedding is not None
    assert (job.embedding.inputs, job.embedding.dimensions, job.embedding.purpose) == (("a", "b"), 2, "query")
    ticket = received.ticket
    assert (ticket.needs, ticket.max_output, ticket.stream) == (("embeddings",), 1, False)
    assert ticket.input_estimate >= 2


async def test_a_plain_string_is_one_text(house: House, producer: Producer) -> None:
    found = await producer.embed(model="fast", inputs="a river")
    assert found.vectors == expected(["a river"])


async def test_vectors_too_large_for_a_message_come_home(house: House, producer: Producer) -> None:
    found = await producer.embed(model="fast", inputs=TEXTS, dimensions=20_000)
    assert found.vectors == expected(TEXTS, 20_000)
    assert found.results[0].blob is None


async def test_a_submitted_job_is_taken_up_from_anywhere(house: House, producer: Producer) -> None:
    job = await producer.submit_embedding(model="fast", inputs=TEXTS, dimensions=4)
    answer = await producer.attach(job.id).result()
    assert answer.embeddings is not None
    assert list(answer.embeddings.vectors) == expected(TEXTS, 4)
    assert answer.text == ""
    assert answer.finish_reason is None


async def test_a_stream_of_an_embedding_job_has_nothing_but_its_end(house: House, producer: Producer) -> None:
    job = await producer.submit_embedding(model="fast", inputs="a")
    kinds = [event.type async for event in job.stream()]
    assert kinds[-1] == "finished"
    assert "token" not in kinds


# -- several jobs


async def test_many_texts_are_several_jobs_put_together_in_order(house: House, producer: Producer) -> None:
    seen: list[int] = []

    def slowly(job: Job) -> Reply:
        """The first ones take longest, so that they end in another order."""
        seen.append(len(seen))
        return Reply(delay=0.05 / len(seen))

    house.stage.otherwise = slowly
    found = await producer.embed(model="fast", inputs=TEXTS, batch_size=3)
    assert found.vectors == expected(TEXTS)
    assert len(found.jobs) == len(set(found.jobs)) == 4
    assert sorted(len(one.job.embedding.inputs) for one in house.stage.received if one.job.embedding) == [1, 3, 3, 3]
    assert found.usage.input == sum(result.usage.input for result in found.results)


async def test_a_key_is_made_for_each_job_and_the_same_call_runs_once(house: House, producer: Producer) -> None:
    asked: dict[str, Any] = {"model": "fast", "inputs": TEXTS, "batch_size": 4, "idempotency_key": "corpus 7"}
    first = await producer.embed(**asked)
    second = await producer.embed(**asked)
    assert first.jobs == second.jobs
    assert first.data == second.data
    assert len(house.stage.received) == 3
    with pytest.raises(IdempotencyConflict) as caught:
        await producer.embed(**{**asked, "inputs": [*TEXTS[:9], "another"]})
    assert caught.value.inputs == range(8, 10)


async def test_deadline_and_money_are_those_of_the_whole(house: House, producer: Producer) -> None:
    await producer.embed(
        model="fast", inputs=["a" * 300, "b" * 100], batch_size=1, deadline=timedelta(minutes=5), max_cost="0.10"
    )
    first, second = (one.ticket for one in sorted(house.stage.received, key=lambda one: -one.ticket.input_estimate))
    assert first.deadline == second.deadline
    assert first.max_cost is not None
    assert second.max_cost is not None
    assert first.max_cost + second.max_cost <= Decimal("0.10")
    assert first.max_cost + second.max_cost > Decimal("0.0999")
    assert first.max_cost / second.max_cost == pytest.approx(Decimal(3), rel=Decimal("0.05"))


async def test_a_job_that_fails_names_its_texts_and_calls_the_others_off(house: House, producer: Producer) -> None:
    def second_fails(job: Job) -> Reply:
        assert job.embedding is not None
        return fails(FailureKind.CONTENT_POLICY, "no") if "text 4" in job.embedding.inputs else silence()

    house.stage.otherwise = second_fails
    with pytest.raises(JobFailed) as caught:
        await producer.embed(model="fast", inputs=TEXTS, batch_size=3)
    error = caught.value
    assert error.inputs == range(3, 6)
    assert str(error).startswith("inputs[3:6]: ")
    assert error.kind is FailureKind.CONTENT_POLICY
    await eventually(lambda: sum(one.cancelled is not None for one in house.stage.received) == 3, says="not cancelled")


async def test_one_call_that_is_cancelled_cancels_its_jobs(house: House, producer: Producer) -> None:
    house.stage.otherwise = lambda _: silence()
    asking = asyncio.create_task(producer.embed(model="fast", inputs=TEXTS, batch_size=5))
    await eventually(lambda: len(house.stage.received) == 2, says="not submitted")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await eventually(lambda: all(one.cancelled is not None for one in house.stage.received), says="not cancelled")


async def test_vectors_of_different_lengths_are_never_put_together(house: House, producer: Producer) -> None:
    house.stage.script.append(embeds((1.0, 2.0), (3.0, 4.0), model="small"))
    house.stage.otherwise = lambda _: embeds((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), model="large")
    with pytest.raises(PenstockError, match="vectors of") as caught:
        await producer.embed(model="fast", inputs=TEXTS[:4], batch_size=2)
    assert caught.value.remedy is not None
    assert "deployments of one model" in caught.value.remedy


async def test_vectors_of_two_models_say_so(house: House, producer: Producer) -> None:
    house.stage.script.append(Reply(model="small"))
    house.stage.otherwise = lambda _: Reply(model="large")
    found = await producer.embed(model="fast", inputs=TEXTS[:4], batch_size=2)
    assert found.model is None
    assert set(found.models) == {"small", "large"}
    assert found.cost is None


async def test_a_call_waits_no_longer_than_it_may(house: House, producer: Producer) -> None:
    house.stage.otherwise = lambda _: silence()
    with pytest.raises(Timeout) as caught:
        await producer.embed(model="fast", inputs=TEXTS, batch_size=5, timeout=0.2)
    assert caught.value.job is not None
    assert caught.value.inputs is not None


async def test_a_full_queue_is_tried_again(house: House, producer: Producer) -> None:
    full = fails(FailureKind.QUEUE_FULL, "full")
    full = full.but(failure=full.failure.model_copy(update={"retry_after": 0.01}) if full.failure else None)
    house.stage.script.append(full)
    found = await producer.embed(model="fast", inputs=TEXTS, batch_size=5)
    assert found.vectors == expected(TEXTS)
    assert len(house.stage.received) == 3
    for_long = full.but(failure=full.failure.model_copy(update={"retry_after": 60.0}) if full.failure else None)
    house.stage.script.extend([full, full])
    house.stage.otherwise = lambda _: for_long
    with pytest.raises(QueueFull):  # at once: there is no room before the time is up
        await producer.embed(model="fast", inputs="a", timeout=5.0)
    assert len(house.stage.received) == 3 + 3


# -- what is wrong


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"inputs": []}, "inputs"),
        ({"inputs": {"text": "a"}}, "inputs"),
        ({"inputs": 7}, "inputs"),
        ({"inputs": ["a", ""]}, "inputs[1]"),
        ({"inputs": ["a", None]}, "inputs[1]"),
        ({"inputs": "a", "dimensions": 0}, "dimensions"),
        ({"inputs": "a", "purpose": "fun"}, "purpose"),
        ({"inputs": "a", "batch_size": 0}, "batch_size"),
        ({"inputs": "a", "batch_size": MOST_INPUTS + 1}, "batch_size"),
        ({"inputs": "a", "temperature": 0.5}, "temperature"),
        ({"inputs": "a", "deadline": -1}, "deadline"),
        ({"inputs": ["a", "b"], "batch_size": 1, "max_cost": "much"}, "max_cost"),
    ],
    ids=str,
)
async def test_a_wrong_request_is_refused_with_its_place_before_anything_is_sent(
    house: House, producer: Producer, wrong: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await producer.embed(model="fast", **wrong)
    assert caught.value.field == field
    assert caught.value.remedy
    assert house.stage.received == []


async def test_more_texts_than_a_job_takes_are_refused_with_what_to_do(house: House, producer: Producer) -> None:
    with pytest.raises(InvalidRequest, match="embed"):
        _ = await producer.submit_embedding(model="fast", inputs=["a"] * (MOST_INPUTS + 1))


async def test_what_the_gateway_refuses_is_told(house: House, producer: Producer) -> None:
    with pytest.raises(UnknownRoute) as caught:
        await producer.embed(model="nowhere", inputs=TEXTS, batch_size=2)
    assert caught.value.inputs == range(2)
    house.stage.script.append(fails(FailureKind.FORBIDDEN, "not you"))
    with pytest.raises(Forbidden):
        await producer.embed(model="fast", inputs="a")


@pytest.mark.parametrize(("kind", "error"), [(FailureKind.CANCELLED, JobCancelled), (FailureKind.EXPIRED, JobExpired)])
async def test_an_end_without_vectors_is_its_error(
    house: House, producer: Producer, kind: FailureKind, error: type[JobFailed]
) -> None:
    house.stage.script.append(fails(kind))
    with pytest.raises(error):
        await producer.embed(model="fast", inputs="a")
