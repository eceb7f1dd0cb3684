"""What a program sees of the SDK, the same over NATS and with the gateway in memory."""

# ruff: noqa: F811 - fixtures are imported by name and asked for by the same

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from job_contracts.chat import FinishReason, Usage
from job_contracts.failures import FailureKind
from job_contracts.jobs import JobState
from producer_sdk import (
    Answered,
    Closed,
    Forbidden,
    IdempotencyConflict,
    InvalidAnswer,
    InvalidRequest,
    JobCancelled,
    JobDead,
    JobExpired,
    JobFailed,
    JobStream,
    NotFound,
    Producer,
    QueueFull,
    StreamEvent,
    Timeout,
    TooLarge,
    UnknownRoute,
)
from producer_sdk.testing import Reply, calls, fails, says
from tests.support.eventually import eventually
from tests.support.houses import House
from tests.support.sdk import HELLO, house, producer, sdk_broker  # noqa: F401  # fixtures

# -- complete


async def test_complete_returns_the_answer_with_its_story(house: House, producer: Producer) -> None:
    usage = Usage(input=12, output=3, cache_read=4)
    house.stage.script.append(says("Hi there.", usage=usage, cost=Decimal("0.0012"), reasoning="They greet."))
    answer = await producer.complete(**HELLO, tags={"team": "a"}, temperature=0.5)
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("Hi there.", "They greet.", FinishReason.STOP)
    assert (answer.usage, answer.cost, answer.model, answer.provider) == (usage, Decimal("0.0012"), "fake-1", "fake")
    assert [attempt.number for attempt in answer.attempts] == [1]
    assert answer.tags == {"team": "a"}
    (received,) = house.stage.received
    assert received.job.id == answer.job
    assert received.job.chat.settings.temperature == 0.5


async def test_a_tool_call_comes_as_the_model_wrote_it(house: House, producer: Producer) -> None:
    house.stage.script.append(calls("weather", {"city": "Rīga"}))
    answer = await producer.complete(**HELLO, tools=[{"name": "weather", "parameters": {"type": "object"}}])
    (call,) = answer.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Rīga"})
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert house.stage.received[0].ticket.needs == ("tools",)


async def test_an_answer_goes_on_as_a_turn_of_the_next_request(house: House, producer: Producer) -> None:
    house.stage.script.append(calls("weather", {"city": "Rīga"}))
    first = await producer.complete(**HELLO)
    told = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "rain"}
    await producer.complete(model="fast", messages=[{"role": "user", "content": "Hello"}, first.as_turn(), told])
    assert [turn.role for turn in house.stage.received[1].job.chat.messages] == ["user", "assistant", "tool"]


@pytest.mark.parametrize(
    ("kind", "error", "state"),
    [
        (FailureKind.CONTENT_POLICY, JobFailed, JobState.FAILED),
        (FailureKind.RETRIES_EXHAUSTED, JobFailed, JobState.FAILED),
        (FailureKind.POISON, JobDead, JobState.DEAD),
        (FailureKind.EXPIRED, JobExpired, JobState.EXPIRED),
        (FailureKind.CANCELLED, JobCancelled, JobState.CANCELLED),
    ],
)
async def test_a_failed_job_raises_by_its_kind_with_its_record(
    house: House,
    producer: Producer,
    kind: FailureKind,
    error: type[JobFailed],
    state: JobState,
) -> None:
    house.stage.script.append(fails(kind, "no luck"))
    with pytest.raises(error, match="no luck") as caught:
        await producer.complete(**HELLO)
    assert type(caught.value) is error
    assert (caught.value.kind, caught.value.result.state, len(caught.value.attempts)) == (kind, state, 1)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FailureKind.UNKNOWN_ROUTE, UnknownRoute),
        (FailureKind.FORBIDDEN, Forbidden),
        (FailureKind.QUEUE_FULL, QueueFull),
        (FailureKind.IDEMPOTENCY_CONFLICT, IdempotencyConflict),
        (FailureKind.INVALID_JOB, InvalidRequest),
    ],
)
async def test_what_the_gateway_declines_raises_as_a_refusal(
    house: House,
    producer: Producer,
    kind: FailureKind,
    error: type[Exception],
) -> None:
    house.stage.script.append(fails(kind))
    with pytest.raises(error):
        await producer.complete(**HELLO)


async def test_a_timeout_leaves_the_job_alone_and_names_it(house: House, producer: Producer) -> None:
    house.stage.held = True
    with pytest.raises(Timeout) as caught:
        await producer.complete(**HELLO, timeout=0.2)
    await eventually(lambda: house.stage.received)
    assert caught.value.job == house.stage.received[0].job.id
    house.stage.release()
    assert (await producer.attach(caught.value.job).result()).text == "Hello"
    assert house.stage.received[0].cancelled is None


async def test_cancelling_the_waiting_task_cancels_the_job(house: House, producer: Producer) -> None:
    house.stage.held = True
    waiting = asyncio.create_task(producer.complete(**HELLO))
    await eventually(lambda: house.stage.received)
    waiting.cancel()
    await eventually(lambda: house.stage.received[0].cancelled is not None)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_keyed_job_goes_on_when_its_task_is_cancelled(house: House, producer: Producer) -> None:
    house.stage.held = True
    waiting = asyncio.create_task(producer.complete(**HELLO, idempotency_key=f"going-on-{producer._stem}"))
    await eventually(lambda: house.stage.received)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    house.stage.release()
    answer = await producer.complete(**HELLO, idempotency_key=f"going-on-{producer._stem}")
    assert answer.text == "Hello"
    assert [received.cancelled for received in house.stage.received] == [None]


# -- refused before it is sent


async def test_an_unknown_model_is_refused_with_the_nearest_name(house: House, producer: Producer) -> None:
    with pytest.raises(UnknownRoute, match="did you mean 'smart'") as caught:
        await producer.complete(model="smarrt", messages="Hello")
    assert caught.value.field == "model"
    assert house.stage.received == []


async def test_a_route_that_appeared_meanwhile_is_taken(house: House, producer: Producer) -> None:
    await producer.complete(**HELLO)
    house.stage.routes = ("fast", "brand-new")
    exchange = await producer._ready()
    exchange.desk._hello_at -= 2.0
    assert (await producer.complete(model="brand-new", messages="Hello")).text == "Hello"


async def test_a_deadline_in_the_past_is_refused(house: House, producer: Producer) -> None:
    for deadline in (-1, timedelta(seconds=-1), datetime.now(UTC) - timedelta(hours=1)):  # noqa: TID251  # a moment
        with pytest.raises(InvalidRequest) as caught:
            await producer.complete(**HELLO, deadline=deadline)
        assert caught.value.field == "deadline"
    assert house.stage.received == []


async def test_a_body_over_the_limit_is_refused(house: House, producer: Producer) -> None:
    with pytest.raises(TooLarge) as caught:
        await producer.complete(model="fast", messages="x" * (5 * 1024 * 1024))
    assert caught.value.field == "messages"
    assert house.stage.received == []


# -- submit and handles


async def test_a_submitted_job_can_be_asked_about_and_waited_for(house: House, producer: Producer) -> None:
    house.stage.held = True
    job = await producer.submit(**HELLO, lane="batch", priority=2, deadline=60, max_cost="0.05", session="s")
    status = await job.status()
    assert (status.job, status.state, status.lane, status.position) == (job.id, JobState.HELD, "batch", 0)
    receipt = await job.receipt()
    assert (receipt.job, receipt.lane, receipt.position, receipt.route) == (job.id, "batch", 0, "fast")
    assert receipt.deadline is not None
    house.stage.release()
    assert (await job.result()).text == "Hello"
    assert (await job.status()).state is JobState.SUCCEEDED
    ticket = house.stage.received[0].ticket
    assert (ticket.lane, ticket.priority, ticket.max_cost, ticket.session) == ("batch", 2, Decimal("0.05"), "s")


async def test_a_handle_may_be_awaited_by_many(house: House, producer: Producer) -> None:
    house.stage.held = True
    job = await producer.submit(**HELLO)
    waiting = [asyncio.ensure_future(job.result()) for _ in range(5)]
    house.stage.release()
    assert [answer.text for answer in await asyncio.gather(*waiting)] == ["Hello"] * 5
    assert (await job).text == "Hello"


async def test_a_failure_is_a_value_in_the_record(house: House, producer: Producer) -> None:
    house.stage.script.append(fails("bad_request"))
    record = await (await producer.submit(**HELLO)).record()
    assert record.state is JobState.FAILED
    assert record.failure is not None
    assert record.failure.kind is FailureKind.BAD_REQUEST


async def test_a_cancelled_job_is_never_played(house: House, producer: Producer) -> None:
    house.stage.held = True
    job = await producer.submit(**HELLO)
    await job.cancel("changed my mind")
    with pytest.raises(JobCancelled, match="changed my mind"):
        await job.result(5)
    house.stage.release()
    await job.cancel()
    assert house.stage.received[0].attempts == []


async def test_another_producer_attaches_by_id_and_may_cancel(house: House, producer: Producer) -> None:
    house.stage.held = True
    job = await producer.submit(**HELLO)
    async with house.producer() as other:
        attached = other.attach(job.id)
        assert (await attached.status()).state is JobState.HELD
        waiting = asyncio.create_task(attached.result(10))
        await attached.cancel("by another")
        with pytest.raises(JobCancelled, match="by another"):
            await waiting
    with pytest.raises(JobCancelled):
        await job.result(5)


async def test_another_producer_finds_a_result_of_before(house: House, producer: Producer) -> None:
    job = await producer.submit(**HELLO)
    await job.result()
    async with house.producer() as other:
        assert (await other.attach(job.id)).text == "Hello"
        assert (await other.attach(job.id).status()).state is JobState.SUCCEEDED


async def test_another_producer_hears_a_result_to_come(house: House, producer: Producer) -> None:
    house.stage.held = True
    job = await producer.submit(**HELLO)
    async with house.producer() as other:
        waiting = asyncio.create_task(other.attach(job.id).result(10))
        await eventually(lambda: "results" in house.stage.questions)
        house.stage.release()
        assert (await waiting).text == "Hello"


async def test_a_job_that_nobody_knows_is_not_found(producer: Producer) -> None:
    unknown = producer.attach("nobody-knows")
    with pytest.raises(NotFound):
        await unknown.result(5)
    with pytest.raises(NotFound):
        await unknown.status()
    with pytest.raises(NotFound):
        await unknown.cancel()
    with pytest.raises(NotFound):
        async for _ in producer.attach("nobody-knows").stream():
            pass


def test_something_that_is_no_job_id_is_refused_at_once() -> None:
    with pytest.raises(InvalidRequest):
        _ = Producer(project="p").attach("no job.id >")


# -- idempotency


async def test_the_same_key_and_request_run_once(house: House, producer: Producer) -> None:
    key = f"once-{producer._stem}"
    house.stage.held = True
    jobs = [await producer.submit(**HELLO, idempotency_key=key) for _ in range(3)]
    assert len({job.id for job in jobs}) == 1
    house.stage.release()
    assert [(await job).text for job in jobs] == ["Hello"] * 3
    assert len(house.stage.received) == 1


async def test_the_same_key_after_the_end_finds_the_result_of_then(house: House, producer: Producer) -> None:
    key = f"then-{producer._stem}"
    first = await producer.complete(**HELLO, idempotency_key=key, deadline=50)
    async with house.producer() as later:
        again = await later.complete(**HELLO, idempotency_key=key, deadline=70)
    assert again.result == first.result
    assert len(house.stage.received) == 1


async def test_another_request_under_the_key_of_a_job_that_has_ended_is_told_by_its_status(
    house: House, producer: Producer
) -> None:
    key = f"ended-{producer._stem}"
    await producer.complete(**HELLO, idempotency_key=key)
    async with house.producer() as later:
        with pytest.raises(IdempotencyConflict):
            job = await later.submit(model="fast", messages="Something else", idempotency_key=key)
            await job.status()


async def test_another_request_under_a_running_key_is_a_conflict(house: House, producer: Producer) -> None:
    key = f"running-{producer._stem}"
    house.stage.held = True
    job = await producer.submit(**HELLO, idempotency_key=key)
    async with house.producer() as other:
        for who in (other, producer):
            with pytest.raises(IdempotencyConflict) as caught:
                _ = await who.submit(model="fast", messages="Something else", idempotency_key=key)
            assert caught.value.field == "idempotency_key"
            with pytest.raises(IdempotencyConflict):
                await _all_of(who.stream(model="fast", messages="Something else", idempotency_key=key))
    house.stage.release()
    assert (await job).text == "Hello"


async def test_another_request_under_a_finished_key_is_a_conflict(house: House, producer: Producer) -> None:
    key = f"finished-{producer._stem}"
    await producer.complete(**HELLO, idempotency_key=key)
    kept = producer.attach((await producer.submit(**HELLO, idempotency_key=key)).id)
    assert (await kept).text == "Hello"
    async with house.producer() as other:
        for who in (other, producer):
            with pytest.raises(IdempotencyConflict):
                await who.complete(model="fast", messages="Something else", idempotency_key=key)
    assert len(house.stage.received) == 1


async def _all_of(stream: JobStream) -> list[StreamEvent]:
    return [event async for event in stream]


# -- parse


class Invoice(BaseModel):
    """An invoice."""

    number: str
    total: Decimal


async def test_parse_returns_a_validated_value(house: House, producer: Producer) -> None:
    house.stage.script.extend([says('{"number": "A-1", "total": "12.50"}'), says("```json\n[1, 2]\n```")])
    assert await producer.parse(Invoice, **HELLO) == Invoice(number="A-1", total=Decimal("12.50"))
    assert await producer.parse(list[int], **HELLO) == [1, 2]
    wanted = house.stage.received[0].job.chat.settings.response_format
    assert wanted is not None
    assert wanted.type == "json_schema"
    assert (wanted.name, set(wanted.json_schema["properties"])) == ("Invoice", {"number", "total"})


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (says('{"number": "A-1"}'), "total: Field required"),
        (says('{"number": "A-1", "tot', finish_reason=FinishReason.LENGTH), "cut at max_tokens"),
        (says("Sorry?"), "does not fit"),
    ],
)
async def test_an_answer_of_another_form_is_an_error_with_the_text(
    house: House,
    producer: Producer,
    reply: Reply,
    words: str,
) -> None:
    house.stage.script.append(reply)
    with pytest.raises(InvalidAnswer, match=words) as caught:
        await producer.parse(Invoice, **HELLO)
    assert caught.value.text == reply.text
    assert isinstance(caught.value.answer, Answered)


# -- the end


async def test_closing_fails_whoever_waits_and_every_call_after(house: House) -> None:
    producer = house.producer()
    house.stage.held = True
    waiting = asyncio.create_task(producer.complete(**HELLO))
    await eventually(lambda: house.stage.received)
    await producer.close()
    await producer.close()
    with pytest.raises(Closed):
        await waiting
    with pytest.raises(Closed):
        await producer.complete(**HELLO)


@pytest.mark.parametrize("streamed", [False, True])
async def test_closing_between_the_confirmation_and_the_wait_fails_whoever_would_wait(
    house: House, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = house.producer()
    house.stage.held = True
    real = type(producer._transport).store

    async def store(self: Any, subject: str, *parts: Any, **more: Any) -> bool:
        stored = await real(self, subject, *parts, **more)
        await producer.close()  # the confirmation is here, and who submitted has not gone on yet
        return stored

    monkeypatch.setattr(type(producer._transport), "store", store)
    with pytest.raises(Closed):
        async with asyncio.timeout(10):
            if streamed:
                async for _ in producer.stream(**HELLO):
                    pass
            else:
                await producer.complete(**HELLO)


async def test_a_deadline_that_passes_expires_the_job(house: House, producer: Producer) -> None:
    house.stage.held = True
    with pytest.raises(JobExpired):
        await producer.complete(**HELLO, deadline=0.2)
